"""Checks of a model's configuration and of the headers of its weights."""

import json
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, as_user_error, counted, nearest
from attnlag.model.language_models import config_of, quiet_transformers, stored_model
from attnlag.model.tokenizer_file import tokenizer_problems

# Name, kind of numbers and shape of a stored tensor.
Stored = tuple[str, str, list[int]]

# Names of the context length in the configurations of transformers.
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")

# Kinds of numbers that a model runs in, and of masks in old checkpoints, which no model loads.
FLOATS = ("F64", "F32", "F16", "BF16")
MASKS = ("BOOL", "U8", "I32", "I64")

# Tensors of old checkpoints that models compute by themselves: masks, positions and angles. The
# mask of attention is named like a bias; it has four dimensions.
COMPUTED = re.compile(
    r".*\b(masked_bias|causal_mask|position_ids|inv_freq|(cos|sin)_cached|num_batches_tracked)"
)
MASK = re.compile(r".*\b(attn|attention)\.bias")


def checked_config(
    folder: Path, tensors: int, layers: int | None = None, width: int | None = None
) -> Any:
    """Return the config of a model if attnlag can measure it and it is as stated.

    Raise UserError if attnlag cannot run such a model, or if it is not as stated.
    """
    import transformers

    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        model_type = raw.get("model_type")
    except (ValueError, AttributeError, RecursionError):
        raise UserError("config.json is not a JSON object") from None
    if not isinstance(model_type, str):
        raise UserError("config.json has no model_type, expected one that transformers knows")
    problems = list(_settings_refused(raw, tensors))
    if problems:
        raise UserError(f"config.json {problem}" for problem in problems)
    types = transformers.CONFIG_MAPPING
    if model_type not in types:
        code = " (attnlag does not run the code of its repository)" if "auto_map" in raw else ""
        raise UserError(
            f"config.json has model_type {model_type!r}, which transformers "
            f"{transformers.__version__} does not know{code}{nearest(model_type, list(types))}"
        )
    with as_user_error("transformers cannot read config.json"):
        config = config_of(folder)
    text = config.get_text_config()
    problems = []
    stated = ("layers", "num_hidden_layers", layers), ("width", "hidden_size", width)
    for key, attribute, expected in stated:
        size = getattr(text, attribute, None)
        if size is None:
            problems.append(f"config.json states no {attribute}")
        elif expected is not None and expected != size:
            problems.append(f"{key} is stated to be {expected}, but the model has {size}")
        elif size == 0:
            problems.append(f"config.json states 0 for {attribute}, expected at least 1")
    if problems:
        raise UserError(problems)
    return config


def context_length(text: Any) -> int | None:
    """Return the context length of the text part of a config in tokens; None if unlimited."""
    for key in CONTEXT_KEYS:
        length = getattr(text, key, None)
        if isinstance(length, int) and length > 0:
            return length
    return None


def _settings_refused(config: Any, tensors: int) -> Iterator[str]:
    """Yield the values of a config, at any depth, that must not reach transformers, in words.

    transformers fetches the code of an attention implementation from any repository that a config
    names ("kernels"), and it creates layers one by one before it compares them with the weights.
    """
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.strip("_") in ("attn_implementation", "experts_implementation"):
            for name in value.values() if isinstance(value, dict) else [value]:
                if "/" in str(name):
                    yield (
                        f"has {key} {name!r}, code of a repository, which attnlag does not run; "
                        "expected none"
                    )
        elif re.fullmatch(r"(n|num)_(\w+_)?layers?", key):
            if isinstance(value, int) and value > tensors:
                yield (
                    f"states {value:,} layers ({key}), but the weights are "
                    f"{counted(tensors, 'tensor')}"
                )
        else:
            yield from _settings_refused(value, tensors)


def check_weights(folder: Path, tensors: Sequence[Stored]) -> None:
    """Raise UserError if a tensor of the model is missing, unknown, of another shape or quantised.

    transformers would fill missing tensors with random numbers, and leave out those that the config
    does not state, such as a bias. A missing head is an error only where it is run.
    """
    from transformers import AutoModel

    with as_user_error("transformers cannot load the weights"):
        # Its own mapping of names is used; torch's meta device needs no memory.
        model, loading = stored_model(
            AutoModel, folder, device_map={"": "meta"}, ignore_mismatched_sizes=True
        )
    problems = []
    missing = sorted(loading["missing_keys"])
    if missing:
        names = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        problems.append(
            f"the weights lack {counted(len(missing), 'tensor')} of {type(model).__name__} "
            f"({names}), expected a complete model"
        )
    for name, shape, expected in sorted(loading["mismatched_keys"]):
        problems.append(
            f"the tensor {name} has the shape {_shape(shape)}, expected {_shape(expected)} from "
            "config.json"
        )
    # transformers knows the scales of quantised models.
    if not getattr(model.config, "quantization_config", None):
        problems += _of_other_kinds(tensors, dict(model.named_parameters()))
        masks = {name for name, _, shape in tensors if MASK.fullmatch(name) and len(shape) == 4}
        left = sorted(
            name
            for name in loading["unexpected_keys"]
            if _is_inside(name, model) and not COMPUTED.fullmatch(name) and name not in masks
        )
        if left:
            others = f" and {counted(len(left) - 1, 'other tensor')}" if left[1:] else ""
            problems.append(
                f"the weights have {left[0]}{others}, for which {type(model).__name__} has no "
                "place; expected a config.json that states what the weights are"
            )
    if problems:
        raise UserError(problems)


def _is_inside(name: str, model: Any) -> bool:
    """Return whether a tensor belongs to a base model, and not to a head beside it."""
    path = name.removeprefix(f"{model.base_model_prefix}.").split(".")
    return hasattr(model, path[0]) or path[0] != name.split(".")[0]


def _of_other_kinds(tensors: Iterable[Stored], parameters: Container[str]) -> Iterator[str]:
    """Yield the kinds of numbers that transformers would cast without their scale, in words."""
    names: dict[str, list[str]] = {}
    for name, kind, _ in tensors:
        steps = name.split(".")
        loaded = any(".".join(steps[start:]) in parameters for start in range(len(steps)))
        if kind not in FLOATS and (loaded or kind not in MASKS):
            names.setdefault(kind, []).append(name)
    for kind, refused in sorted(names.items()):
        yield (
            f"the weights hold {counted(len(refused), 'tensor')} as {kind}, {refused[0]} the "
            "first; expected F32, BF16, F16 or F64"
        )


def tokenizer_is_in_json(folder: Path) -> bool:
    """Return whether tokenizer.json holds the complete tokenizer that transformers uses.

    For some models transformers builds another one from the vocabulary.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers(), tokenizer_problems("transformers cannot load the tokenizer"):
            usual = AutoTokenizer.from_pretrained(folder, **options)
            from_json = PreTrainedTokenizerFast.from_pretrained(folder, **options)
            return (
                usual.is_fast
                and usual.backend_tokenizer.to_str() == from_json.backend_tokenizer.to_str()
                and usual.bos_token_id == from_json.bos_token_id
            )
    # Files may be broken in many ways; tokenization reports those that matter.
    except UserError:
        return False


def _shape(lengths: Iterable[int]) -> str:
    return " × ".join(map(str, lengths)) or "of a single number"
