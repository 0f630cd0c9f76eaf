"""Sources of models, and the local folder of each model.

The result is a Hugging Face folder with weights as safetensors, tokenizer, config.json, and two
further files:

- ``source.json``: the identity and the source of the model, with the SHA-256 of every file. It
  contains no clock time and no path of this machine, so equal models give equal bytes.
- ``architecture.txt``: the tree of the model's modules as printed by torch.

Weights are read only from safetensors or GGUF. Pickles and Python files are neither fetched nor
copied, and no code that comes with a model is run.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, amount, as_user_error, counted
from attnlag.model.checks import check_weights, checked_config, context_length, tokenizer_is_in_json
from attnlag.model.folder import (
    IDENTIFYING,
    SOURCE_RECORD,
    digest_of,
    stored_tensors,
    take_files,
)
from attnlag.model.gguf import convert_gguf
from attnlag.model.hub import from_hub
from attnlag.model.language_models import RANGES, hollow_model, initial_range
from attnlag.model.tokenizer_file import check_tokenizer_files
from attnlag.model.wheel import from_package
from attnlag.storage.contents import sha256_of
from attnlag.storage.writing import replaced_whole

log = logging.getLogger("attnlag")

ARCHITECTURE = "architecture.txt"


def fetch_model(
    name: str,
    settings: Mapping[str, Any],
    target: str | Path,
    *,
    layers: int | None = None,
    width: int | None = None,
) -> dict[str, Any]:
    """Create the local folder of a model, whole or not at all, and return its ``source.json``.

    An existing folder is replaced at the end and stays unchanged if anything fails. The settings
    are those of a source in the configuration, checked.

    Raise UserError if the model cannot be fetched, or is not one that attnlag runs; nothing is left
    in the folder.
    """
    try:
        with replaced_whole(target) as folder:
            facts = FETCHERS[settings["source"]](settings, folder)
            return _describe(name, settings, facts, folder, layers=layers, width=width)
    except UserError as error:
        raise UserError([f"model '{name}': {problem}" for problem in error.problems]) from error


def fetch_revision(
    name: str,
    step: int,
    settings: Mapping[str, Any],
    target: str | Path,
    final: Mapping[str, Any],
) -> dict[str, Any]:
    """Create the local folder of an earlier checkpoint, whole or not at all.

    Parameters
    ----------
    name : str
        Name of the model.
    step : int
        Number of steps of training.
    settings : mapping
        Those of a source in the configuration, checked. A tokenizer is not needed.
    target : path
        The folder. An existing one stays unchanged if anything fails.
    final : mapping
        The ``source.json`` of the model.

    Returns
    -------
    dict
        The ``source.json`` of the checkpoint.

    Raises
    ------
    UserError
        If the checkpoint cannot be fetched, or is of another type or size than the model.
    """
    checkpoint = settings["revision"] if "revision" in settings else Path(settings["path"]).name
    try:
        with replaced_whole(target) as folder:
            facts = FETCHERS[settings["source"]](settings, folder, tokenizer=False)
            facts |= {"step": step, "checkpoint": checkpoint}
            record = _describe(name, settings, facts, folder)
            problems = list(_differences(record, final))
            if problems:
                raise UserError(problems)
            return record
    except UserError as error:
        key = f"models.{name}.revisions, step {step}"
        raise UserError([f"{key}: {problem}" for problem in error.problems]) from error


def _differences(record: Mapping[str, Any], final: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps a checkpoint from being one of a model, given the records of both."""
    words = {
        "model_type": "the type {}",
        "layers": "{} layers",
        "width": "a width of {}",
        "vocabulary": "{} tokens",
    }
    for key, text in words.items():
        if record[key] != final[key]:
            found = text.format(record[key])
            expected = text.format(final[key])
            yield f"found {found}, but the model has {expected}"


def _from_path(settings: Mapping[str, Any], folder: Path, tokenizer: bool = True) -> dict[str, Any]:
    """Fill ``folder`` from a folder on this machine or from a GGUF file."""
    path = Path(settings["path"])
    if path.suffix == ".gguf":
        log.info("converting %s (%s)", path, amount(path.stat().st_size))
        return {"revision": None, **convert_gguf(path, folder)}
    # Real copies, because the user may edit the original files.
    take_files(path, folder, str(path), tokenizer=tokenizer)
    return {"revision": None}


FETCHERS: dict[str, Callable[..., dict[str, Any]]] = {
    "hub": from_hub,
    "path": _from_path,
    "package": from_package,
}


def _describe(
    name: str,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    folder: Path,
    **stated: int | None,
) -> dict[str, Any]:
    """Check the files in ``folder``, write the two further files, and return the record."""
    check_tokenizer_files(folder)
    tensors = list(stored_tensors(folder))
    config = checked_config(folder, len(tensors), **stated)
    with as_user_error("transformers cannot build the model of config.json"):
        model = hollow_model(config)
    check_weights(folder, tensors)
    parameters = model.num_parameters()
    initial_weights = state_initializer_range(folder, config, settings.get("initializer_range"))
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    # This file is not part of the model and must not change the model's digest.
    (folder / ARCHITECTURE).write_text(
        f"{counted(parameters, 'parameter')}; the paths of modules begin inside "
        f"({model.base_model_prefix})\n\n{model}\n",
        encoding="utf-8",
    )
    text = config.get_text_config()
    record = {
        "name": name,
        **{key: settings[key] for key in IDENTIFYING if settings.get(key) is not None},
        **{key: value for key, value in facts.items() if key != "license" or value},
        "layers": text.num_hidden_layers,
        "width": text.hidden_size,
        "context_length": context_length(text),
        "vocabulary": getattr(text, "vocab_size", None),
        "model_type": config.model_type,
        "parameters": parameters,
        "initial_weights": initial_weights,
        "tokenizer_is_in_json": tokenizer_is_in_json(folder),
        "files": files,
        "digest": digest_of({file: entry["sha256"] for file, entry in files.items()}),
    }
    serialised = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / SOURCE_RECORD).write_text(serialised + "\n", encoding="utf-8")
    weights = 0
    for file, entry in files.items():
        if file.endswith(".safetensors"):
            weights += entry["bytes"]
    quantised = ""
    if "bits" in record:
        quantised = f", from {record['bits']}-bit weights ({record['quantization']})"
    log.info(
        f"{name}: {type(model).__name__}, {counted(text.num_hidden_layers, 'layer')}, "
        f"width {text.hidden_size}, {counted(parameters, 'parameter')}, {amount(weights)}"
        f"{quantised}"
    )
    return record


def state_initializer_range(folder: Path, config: Any, stated: float | None) -> dict[str, Any]:
    """Return the scale of a model's initial weights; write it to config.json if it is stated.

    The record says whether it is ``stated`` by the entry in the configuration, from the model's
    own ``config``, or ``assumed``, being what transformers fills in.

    Raise UserError if config.json states another one, or if this type of model has none.
    """
    text = config.get_text_config()
    assumed = initial_range(text)
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    # A multimodal model has a config of its text model inside its own.
    inside = (values[key] for key, value in vars(config).items() if value is text and key in values)
    text_values = next(inside, values)
    own = next((text_values[key] for key in RANGES if key in text_values), None)
    if stated is None:
        return {"initializer_range": assumed, "from": "assumed" if own is None else "config"}
    if own is not None and own != stated:
        raise UserError(
            f"initializer_range is stated to be {stated:g}, but its config.json has {own:g}"
        )
    if assumed is None:
        raise UserError(
            f"initializer_range is stated to be {stated:g}, but models of the type "
            f"'{config.model_type}' have none"
        )
    if own is not None:
        return {"initializer_range": stated, "from": "config"}
    text_values[next(key for key in RANGES if hasattr(text, key))] = stated
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"initializer_range": stated, "from": "stated"}
