"""Folders of models on this machine, as far as their configuration tells."""

import contextlib
import glob
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnlag.escaping import name_problem

# Names in the record of a model and in the configurations of transformers.
SIZES = {
    "layers": ("layers", "num_hidden_layers", "n_layer", "num_layers"),
    "width": ("width", "hidden_size", "n_embd", "d_model"),
    "vocabulary": ("vocabulary", "vocab_size"),
}


def json_object(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, None if there is none."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None


def sizes_in(record: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of layers, the width and the vocabulary that a record states."""
    sizes = {}
    for size, keys in SIZES.items():
        for key in reversed(keys):
            if isinstance(record.get(key), int):
                # The first of several counts.
                sizes[size] = record[key]
    return sizes


def sizes_of_folder(folder: Path) -> dict[str, int]:
    """Return the sizes that the config.json of a folder states."""
    record = json_object(folder / "config.json") or {}
    text = record.get("text_config")  # Multimodal models have a separate text config.
    return sizes_in(text if isinstance(text, dict) else record)


def below(path: Path) -> str:
    """Return the folder to which a path is relative, in words; nothing if it is absolute."""
    if path.is_absolute():
        return ""
    return f" in '{Path.cwd()}', where snakemake runs"


def elsewhere(pattern: str | Path, folders: Iterable[Path]) -> str:
    """Return where a path or glob is that is relative to the folder of a configuration file.

    It is words that follow `below`, nothing if it is in none of the ``folders``.
    """
    if Path(pattern).is_absolute():
        return ""
    for folder in folders:
        there = Path(os.path.relpath(folder / pattern))
        if there != Path(pattern) and glob.glob(str(there), recursive=True):
            return (
                f", but in '{folder.resolve()}', the folder of the configuration: run snakemake "
                f"there, or write '{there}'"
            )
    return ""


def folder_problem(path: Path, expected: str, folders: Iterable[Path] = ()) -> str | None:
    """Return the problem of the folder of a model, without reading its weights.

    ``folders`` are those of the configuration files, in which users may expect it.
    """
    try:
        if not path.exists():
            place = elsewhere(path, folders) or f", {expected}"
            return f"found no folder '{path}'{below(path)}{place}"
        problem = name_problem(path)
        if problem:
            return problem
        if path.is_file():
            return f"'{path}' is a file, {expected}"
        if not (path / "config.json").is_file():
            return f"the folder '{path}' has no config.json, {expected}"
    except OSError as error:
        return f"'{path}' cannot be read: {error.strerror}"
    if json_object(path / "config.json") is None:
        return f"'{path / 'config.json'}' holds no JSON object, {expected}"
    return None
