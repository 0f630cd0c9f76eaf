"""Reading configuration files: the values that Snakemake runs with, and the line of each key."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from attnlag.errors import UserError, nearest, unreadable

# The path ("figures", "layers", 0) stands for figures.layers[0].
KeyPath = tuple[str | int, ...]


class Reading(NamedTuple):
    """The content of a file."""

    # The values as Snakemake reads them: YAML 1.1, in which ``off`` and ``yes`` are booleans.
    values: Any
    lines: dict[KeyPath, int]  # line of each key and list entry

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of its section if the key comes from a merge (``<<``)."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_yaml(file: Path) -> Reading:
    """Read a configuration file; one that cannot be read or is not YAML is a UserError."""
    if problem := unreadable(file):
        raise UserError(f"{file}: {problem}{file_alike(file) if 'no such' in problem else ''}")
    content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: found byte 0x{content[error.start]:02x} at offset {error.start}, "
            "expected UTF-8"
        ) from None
    # ruamel.yaml provides lines, but its values differ from those of PyYAML, which Snakemake uses.
    try:
        values = _values(text)
        tree = YAML().load(text)
    except (yaml.YAMLError, YAMLError, ValueError) as error:
        raise UserError(_yaml_problem(file, error)) from None
    reading = Reading(values, {})
    _note_lines(tree, (), reading)
    return reading


def _values(text: str) -> Any:
    """Return the values of a configuration, which Snakemake first tries to read as JSON."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return yaml.safe_load(text)


def _note_lines(tree: Any, path: KeyPath, reading: Reading) -> None:
    """Record the lines of a mapping or list of ruamel.yaml and of everything in it."""
    if not isinstance(tree, (CommentedMap, CommentedSeq)):
        return
    marks = tree.lc.data or {}  # Keys from a merge have no lines.
    entries = tree.items() if isinstance(tree, CommentedMap) else enumerate(tree)
    for key, item in entries:
        path_of_item = (*path, part_of_path(key))
        if key in marks:
            reading.lines[path_of_item] = marks[key][0] + 1
        _note_lines(item, path_of_item, reading)


def part_of_path(key: Any) -> str | int:
    """Return a key of a mapping as pydantic writes it in the path of an error."""
    if isinstance(key, int) and key.bit_length() > 63:
        return str(key)
    return "null" if key is None else key if isinstance(key, (str, int)) else str(key)


def null_named(value: Any) -> Any:
    """Return a value in which null keys are replaced by the text "null"."""
    if isinstance(value, Mapping):
        return {"null" if k is None else k: null_named(item) for k, item in value.items()}
    return value


def values_by_path(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every key path of a configuration with its value, sections before their keys."""
    yield path, value
    entries = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(entries, Mapping):
        for key, item in entries.items():
            yield from values_by_path(item, (*path, part_of_path(key)))


def _yaml_problem(file: Path, error: Exception) -> str:
    """Return a line that states where and why a file is not valid YAML."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"{file}: no YAML: {' '.join(str(error).split())}"
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    reason = " ".join(" ".join(filter(None, parts)).split())
    if r"'\t'" in reason:
        reason += "; expected spaces in place of a tab"
    elif "scanning an alias" in reason:
        reason += "; expected quotes around a text that begins with '*'"
    return f"{file}:{mark.line + 1}: no YAML at column {mark.column + 1}: {reason}"


def file_alike(file: Path) -> str:
    """Return ``"; did you mean 'x'?"`` for the file in the same folder with the nearest name."""
    with contextlib.suppress(OSError):
        return nearest(file.name, [path.name for path in file.parent.iterdir() if path.is_file()])
    return ""
