"""Errors of pydantic as sentences for the user, each with the key that it is about."""

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from attnlag.config.reading import KeyPath, values_by_path
from attnlag.config.schema import Config
from attnlag.errors import nearest, shown
from attnlag.model.settings import SOURCES, Source
from attnlag.section import IN_WORDS

# Expected values, by the first word of the type of pydantic's error.
EXPECTED = {
    "bool": "true or false",
    "dict": "a mapping, as in {name: {key: value}}",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "a list, as in [a, b]",
    "model": "a mapping, as in {key: value}",
    "path": "text (quotes make a number text)",
    "string": "text (quotes make a number text)",
}
BOUNDS = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}


def key_of(error: Mapping[str, Any], raw: Any) -> KeyPath:
    """Return the key path of an error as written in a configuration.

    Pydantic's path also has the kinds of sources and the types that a value was parsed as.
    """
    parts = error["loc"]
    stated = dict(values_by_path(raw))
    if parts[:1] == ("models",):
        parts = (*parts[:2], *parts[3:])  # A model may have a key like the kind of its source.
    path: KeyPath = ()
    for part in parts:
        if (*path, part) in stated:
            path = (*path, part)
    if error["type"] == "missing":
        return (*path, error["loc"][-1])
    if error["type"].startswith("union_tag"):
        return (*path, "source")
    return (*path, error["ctx"]["key"]) if error["type"] == "impossible" else path


def _type_at(path: KeyPath) -> Any:
    """Return the type of the value at a path from pydantic, which includes kinds of sources."""
    kind: Any = Config
    for part in path:
        kind = _not_null(kind)
        if kind == Source:
            kind = SOURCES[str(part)]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = kind.model_fields[part].annotation
    return kind


def _not_null(kind: Any) -> Any:
    return get_args(kind)[0] if NoneType in get_args(kind) else kind


def sentence_of(error: Mapping[str, Any]) -> str:
    """Return the found and the expected value, in words, for one of pydantic's errors."""
    kind = error["type"]
    context = error.get("ctx", {})
    value = error["input"]
    place = error["loc"]
    word = kind.partition("_")[0]
    valid: list[str] = []
    if kind == "value_error":
        return str(context["error"])
    if kind == "impossible":
        return str(context["sentence"])
    if kind in ("missing", "extra_forbidden", "invalid_key"):
        name = place[-1]
        fields = _not_null(_type_at(place[:-1])).model_fields
        if kind == "missing":
            meaning = fields[name].description or "a value"
            return f"is missing, expected {meaning[0].lower()}{meaning[1:]}"
        return f"unknown key, expected one of {', '.join(fields)}{nearest(str(name), fields)}"
    if kind.startswith("union_tag"):
        valid = list(SOURCES)
        expected = f"one of {', '.join(valid)}"
        if kind == "union_tag_not_found":
            return f"is missing, expected {expected}"
        value = value["source"]
    elif kind == "literal_error":
        expected = re.sub("True|False", lambda word: word[0].lower(), context["expected"])
        expected = expected.replace("'", "")
        valid = re.split(", | or ", expected)
    elif kind == "string_pattern_mismatch":
        expected = IN_WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
    elif BOUNDS.keys() & context.keys():
        expected = " and ".join(f"{BOUNDS[key]} {bound:,.12g}" for key, bound in context.items())
    elif kind == "too_short":
        least = context["min_length"]
        expected = f"at least {'one entry' if least == 1 else f'{least} entries'}"
    elif kind == "string_too_short":
        expected = "text that is not empty"
    elif word in EXPECTED:
        expected = EXPECTED[word]
        section = _type_at(place) if word == "model" else None
        off: list[str] = getattr(section, "null_switches_off", list)() if value is None else []
        if NoneType in get_args(section):
            expected += ", or null"
        elif off:
            expected = f"a mapping, as in {{{': null, '.join(off)}: null}}"
    else:
        return f"found {shown(value)}: {error['msg']}"
    alike = nearest(str(value), valid) if valid else ""
    return f"found {shown(value)}, expected {expected}{alike}"
