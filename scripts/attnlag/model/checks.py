"""Checks of a model before it is used: its configuration and the headers of its weights."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlag.errors import UserError, counted, nearest
from attnlag.model.gguf import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def checked_config(
    folder: Path, tensors: int, layers: int | None = None, width: int | None = None
) -> Any:
    """Return the model's config once it is known to be one that attnlag can measure.

    Parameters
    ----------
    folder : Path
        Where config.json is.
    tensors : int
        Number of tensors in the weights files.
    layers, width : int or None
        What the model must have, if that is known.

    Raises
    ------
    UserError
        The config is unreadable, needs code of its own, is of no decoder-only model, states more
        layers than there are tensors, or has other layers or another width than it must have.
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
    if problems := list(_settings_refused(raw, tensors)):
        raise UserError(f"config.json {problem}" for problem in problems)
    known = transformers.CONFIG_MAPPING
    if model_type not in known:
        if "auto_map" in raw:
            raise UserError(
                f"config.json (model_type {model_type!r}) needs Python code from the model's own "
                "repository (auto_map), which attnlag does not run; expected a type that "
                f"transformers {transformers.__version__} has built in"
            )
        raise UserError(
            f"config.json has model_type {model_type!r}, which transformers "
            f"{transformers.__version__} does not know{nearest(model_type, list(known))}"
        )
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    # Configs check themselves with exceptions of several libraries.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"transformers cannot read config.json: {reason}") from error

    if config.is_encoder_decoder:
        raise UserError(
            f"a {config.model_type} model has an encoder and a decoder; expected a decoder-only "
            "language model"
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    ):
        raise UserError(
            f"a {config.model_type} model attends to later tokens too; expected a decoder-only "
            "language model"
        )
    text = config.get_text_config()
    problems = []
    for key, attribute, stated in (
        ("layers", "num_hidden_layers", layers),
        ("width", "hidden_size", width),
    ):
        found = getattr(text, attribute, None)
        if found is None:
            problems.append(f"config.json states no {attribute}")
        elif stated is not None and stated != found:
            problems.append(f"{key} is stated to be {stated}, but the model has {found}")
    if problems:
        raise UserError(problems)
    return config


def _settings_refused(config: Any, tensors: int) -> Iterator[str]:
    """Yield what must not reach transformers of a config, in words, at any depth of it.

    It gets the code of an implementation of attention from any repository that a config names
    ("kernels"), and it makes layers one by one, before there are weights to compare them with.
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


def check_safetensors(folder: Path) -> tuple[int, list[str]]:
    """Check each weights file by itself.

    Returns
    -------
    tensors : int
        The number of tensors in all files.
    problems : list of str
        A line for each file with numbers that are not finite.

    Raises
    ------
    UserError
        A file has no tensors, or its header does not read or fit the length of the file.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    tensors = 0
    unreadable, problems = [], []
    for path in sorted(folder.glob("*.safetensors")):
        spoilt = []
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                for name in names:
                    tensor = file.get_tensor(name)
                    # A sum reads memory once; it may overflow where all numbers are finite.
                    if tensor.is_floating_point() and tensor.itemsize > 1:
                        total = tensor.sum(dtype=torch.float32)
                        if not total.isfinite() and not tensor.isfinite().all():
                            spoilt.append(name)
        except SafetensorError as error:
            unreadable.append(f"{path.name} is no readable safetensors file: {error}")
            continue
        tensors += len(names)
        if not names:
            unreadable.append(f"{path.name} holds no tensors")
        if spoilt:
            more = f" and {counted(len(spoilt) - 1, 'other tensor')}" if len(spoilt) > 1 else ""
            layer = re.search(r"\.(\d+)\.", spoilt[0])
            where = f" (layer {layer[1]})" if layer else ""
            problems.append(
                f"{path.name}: found NaN or infinite weights in {spoilt[0]}{where}{more}, expected "
                "finite numbers"
            )
    if unreadable:
        raise UserError(unreadable)
    return tensors, problems


def check_weights(folder: Path) -> None:
    """Check that the weights are those of the model: none missing, none of another shape.

    transformers would fill what is missing with random numbers. What it maps the tensors' names
    to, it is asked itself: it goes through the files, but leaves the weights on torch's meta
    device, which has no memory. The head is not looked at: it is never run.

    Raises
    ------
    UserError
        They are not, or transformers cannot load them.
    """
    from transformers import AutoModel

    try:
        with quiet_transformers():
            model, loading = AutoModel.from_pretrained(
                folder,
                device_map={"": "meta"},
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    # Quantised checkpoints fail in as many ways as there are kinds of them.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"transformers cannot load the weights ({type(error).__name__}: {reason})"
        ) from error
    problems = []
    if missing := sorted(loading["missing_keys"]):
        names = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        problems.append(
            f"the weights lack {counted(len(missing), 'tensor')} of {type(model).__name__} "
            f"({names}), expected a complete model"
        )
    for name, found, expected in sorted(loading["mismatched_keys"]):
        problems.append(
            f"the tensor {name} has the shape {_shape(found)}, expected {_shape(expected)} from "
            "config.json"
        )
    if problems:
        raise UserError(problems)


def _shape(lengths: Iterable[int]) -> str:
    return " × ".join(map(str, lengths)) or "of a single number"


def hollow_model(config: Any) -> "PreTrainedModel":
    """Return the model of a config with shapes but no numbers, which takes no memory."""
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"transformers has no causal language model for {config.model_type}, expected a "
            "decoder-only language model"
        )
    try:
        with quiet_transformers(), torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    # Sizes that do not go together fail where they meet first.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"transformers cannot build the model of config.json: {reason}") from error
