"""Reading configuration files: the values that Snakemake runs with, and the line of each key."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

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
    """Read a configuration file; UserError if it cannot be, is not YAML or repeats a key."""
    problem = unreadable(file)
    if problem:
        alike = file_alike(file) if "no such" in problem else ""
        raise UserError(f"{file}: {problem}{alike}")
    content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: found byte 0x{content[error.start]:02x} at offset {error.start}, "
            "expected UTF-8"
        ) from None
    try:
        try:
            # Snakemake tries to read JSON first, which tabs may indent; YAML refuses these.
            values = json.loads(text)
            text = text.expandtabs()
        except ValueError:
            values = yaml.safe_load(text)
        places = list(_places(yaml.compose(text, yaml.SafeLoader), ()))
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(_yaml_problem(file, error)) from None
    lines: dict[KeyPath, int] = {}
    repeated = set()
    problems = []
    for path, line in places:
        # The line of a repeated section also speaks for the keys in it.
        if path[:-1] in repeated:
            repeated.add(path)
        elif path in lines:
            repeated.add(path)
            problem = f"found this key in line {lines[path]} too, expected it once"
            problems.append(f"{file}:{line}: {written(path)}: {problem}")
        else:
            lines[path] = line
    if problems:
        raise UserError(problems)
    return Reading(values, lines)


def _places(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Yield every key and list entry of a file with its line; keys from a merge have none."""
    if isinstance(node, yaml.MappingNode):
        make = yaml.SafeLoader("").construct_object
        for key, item in node.value:
            if not key.tag.endswith(":merge"):
                entry = (*path, part_of_path(make(key, deep=True)))
                yield entry, key.start_mark.line + 1
                yield from _places(item, entry)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*path, number), item.start_mark.line + 1
            yield from _places(item, (*path, number))


def part_of_path(key: Any) -> str | int:
    """Return a key of a mapping as pydantic writes it in the path of an error."""
    if key is None:
        return "null"
    if isinstance(key, int) and key.bit_length() <= 63:
        return key
    return str(key)


def null_named(value: Any) -> Any:
    """Return a value in which null keys are replaced by the text "null"."""
    if isinstance(value, Mapping):
        return {"null" if k is None else k: null_named(item) for k, item in value.items()}
    return value


def written(path: KeyPath) -> str:
    """Return a key path such as ``figures.layers[0]``, with unusual keys in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        word = part if re.fullmatch(r"[\w.-]+", part) else json.dumps(part)
        text += f".{word}" if text else word
    return text


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
