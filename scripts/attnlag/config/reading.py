"""Reading configuration files: YAML with line numbers, limits, and key paths."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from attnlag.config.schema import shown
from attnlag.errors import UserError, nearest, unreadable

EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping, as in {name: {key: value}}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, as in [a, b]",
    "model_attributes_type": "a mapping, as in {key: value}",
    "model_type": "a mapping, as in {key: value}",
    "path_type": "text (quotes make a number text)",
    "string_too_short": "text that is not empty",
    "string_type": "text (quotes make a number text)",
}
# A configuration that is larger is another file, or aliases of aliases.
LARGEST_FILE = 1_000_000

MOST_VALUES = 100_000

# ("figures", "layers", 0) is figures.layers[0].
KeyPath = tuple[str | int, ...]


def _part(key: Any) -> str | int:
    """Return a key of a mapping as pydantic writes it in the path of an error."""
    return "null" if key is None else key if isinstance(key, (str, int)) else str(key)


def null_named(value: Any) -> Any:
    """Return a value with keys that are null called "null": a regression of the null is."""
    if isinstance(value, Mapping):
        return {"null" if k is None else k: null_named(item) for k, item in value.items()}
    return value


def written_key(path: KeyPath) -> str:
    """Return a key path as ``figures.layers[0]``."""
    text = ""
    for part in path:
        # A line end in a key would make two lines of one problem.
        word = part if re.fullmatch(r"[\w.-]+", str(part)) else json.dumps(part)
        text += f"[{part}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


def values_by_path(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every key path of a configuration with its value, sections before their keys."""
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from values_by_path(item, (*path, _part(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from values_by_path(item, (*path, index))


def section_of(part: Any, whole: Any) -> KeyPath | None:
    """Return the keys that lead to a part of a configuration; None where it is no part of it."""
    return next((path for path, value in values_by_path(whole) if value is part), None)


def read_yaml(file: Path) -> tuple[Any, dict[KeyPath, int], list[tuple[int, str]]]:
    """Return the values of a YAML file, the line of each key path, and which keys are given twice.

    Raises
    ------
    UserError
        If it cannot be read, or is no YAML.
    """
    text = _text_of(file)
    lines: dict[KeyPath, int] = {}
    repeated: list[tuple[int, str]] = []

    def constructed(node: yaml.ScalarNode) -> Any:
        try:
            return loader.construct_object(node)
        except ValueError as error:  # as of the 45th day of a month
            line = node.start_mark.line + 1
            raise UserError(f"{file}:{line}: found {shown(node.value)}: {error}") from None

    def walk(node: yaml.Node | None, path: KeyPath) -> None:
        if isinstance(node, yaml.MappingNode):
            first_lines: dict[Any, int] = {}
            for key_node, value_node in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":  # <<: *anchor
                    continue
                line = key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode):
                    raise UserError(
                        f"{file}:{line}: found a list or a mapping as a key, expected text"
                    )
                key = constructed(key_node)
                here = (*path, _part(key))
                if key in first_lines:
                    # YAML silently takes the last one.
                    first = first_lines[key]
                    sentence = f"given twice, expected once; the first is in line {first}"
                    repeated.append((line, f"{written_key(here)}: {sentence}"))
                first_lines.setdefault(key, line)
                lines[here] = line
                walk(value_node, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.start_mark.line + 1
                walk(item, (*path, index))
        elif isinstance(node, yaml.ScalarNode):
            constructed(node)

    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is not None and _size(root, {}) > MOST_VALUES:
            raise UserError(
                f"{file}: found more than {MOST_VALUES:,} values, each alias counted as all that "
                "it stands for; expected fewer"
            )
        walk(root, ())
        values = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, RecursionError) as error:
        # Snakemake takes a file for JSON first. There, tabs are fine.
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text), {}, []
        raise UserError(_yaml_problem(file, error)) from None
    return values, lines, repeated


def _text_of(file: Path) -> str:
    """Return the text of a configuration; as much of it as is read in seconds."""
    if problem := unreadable(file):
        raise UserError(f"{file}: {problem}{file_alike(file) if 'no such' in problem else ''}")
    with file.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UserError(f"{file}: found more than {LARGEST_FILE:,} bytes, expected fewer")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: found byte 0x{content[error.start]:02x} at offset {error.start}, "
            "expected UTF-8"
        ) from None


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return how many values a node has, each alias counted as all that it stands for."""
    if node not in sizes:
        sizes[node] = MOST_VALUES  # What has itself as a part has no end.
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        sizes[node] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[node]


def _yaml_problem(file: Path, error: Exception) -> str:
    """Return in one line where a file is no YAML, and why."""
    if isinstance(error, RecursionError):
        return f"{file}: nested too deeply, expected {EXPECTED['model_type']}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{file}: found the character {chr(error.character)!a}, expected none such in YAML"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{file}: no YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark or error.context_mark
    place = f":{mark.line + 1}" if mark else ""
    column = f" at column {mark.column + 1}" if mark else ""
    reason = " ".join(" ".join(filter(None, (error.context, error.problem))).split())
    tab = "; expected spaces in place of a tab" if r"'\t'" in reason else ""
    return f"{file}{place}: no YAML{column}: {reason}{tab}"


def file_alike(file: Path) -> str:
    """Return ``"; did you mean 'x'?"`` for the file of the same folder with the nearest name."""
    with contextlib.suppress(OSError):
        return nearest(file.name, [path.name for path in file.parent.iterdir() if path.is_file()])
    return ""
