"""Write the files that are generated from the classes of the configuration.

These are the JSON schema in workflow/schemas/, with which editors complete and check a
configuration, and the lists of keys in config/README.md, between two marks. With --check,
nothing is written: files that are not up to date are named, and the exit status is 1.
"""

import inspect
import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from attnlag.adjustments.settings import RandomWeights
from attnlag.config.schema import Config, classes_of, is_named
from attnlag.corpus.settings import Tagger
from attnlag.model.settings import SOURCES, ModelSource, ModulePaths
from attnlag.pipeline.generated_pages import write_or_check
from attnlag.regression.design import covariates
from attnlag.regression.settings import Permutation
from attnlag.section import IN_WORDS, Section

SCHEMA = "workflow/schemas/config.schema.json"
README = "config/README.md"
# Sections that are a key of a section.
WITHIN: dict[str, list[type[Section]]] = {
    "corpora": [Tagger],
    "controls": [Permutation, RandomWeights],
}
SIGNS = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
BEGIN, END = "<!-- keys -->", "<!-- /keys -->"
BEGIN_COVARIATES, END_COVARIATES = "<!-- covariates -->", "<!-- /covariates -->"


def schema() -> str:
    """Return the JSON schema of a configuration as text."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def lists() -> str:
    """Return the lists of keys in Markdown, section by section."""
    parts = []
    for name in Config.model_fields:
        keys_of = f"### {name}{', for each name' if is_named(name) else ''}"
        if name == "models":
            parts.append(f"{keys_of}\n\n{listed(ModelSource)}")
            known = {*ModelSource.model_fields, "source"}
            for source, kind in SOURCES.items():
                parts.append(f"### {name}, `source: {source}`\n\n{listed(kind, without=known)}")
            parts.append(f"### {name}, `modules`\n\n{listed(ModulePaths)}")
        else:
            (section,) = classes_of(name)
            parts.append(f"{keys_of}\n\n{listed(section)}")
        for section in WITHIN.get(name, []):
            key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", section.__name__).lower()
            parts.append(f"### {name}, `{key}`\n\n{listed(section)}")
    return "\n\n".join(parts)


def listed(section: type[Section], without: Collection[str] = ()) -> str:
    """Return the keys of one section as a list: key and default, allowed values, meaning."""
    description = section.model_json_schema()
    properties = description["properties"]
    # A key that must be given comes first; what all sources share comes last.
    order = sorted(properties, key=lambda key: key not in description.get("required", []))
    rows = []
    for key in (key for key in order if key not in without):
        field = properties[key]
        values, required = value(field), "default" not in field
        entry = key if required else f"{key}: {plain(field['default'])}"
        if not required and field["default"] is None:
            values = values.removesuffix(" or `null`")
        rows.append(f"- `{entry}` ({values}{'; required' * required}): {field['description']}")
    return f"{inspect.getdoc(section)}\n\n" + "\n".join(rows)


def covariates_table() -> str:
    """Return the table of covariates: terms, meaning, what holds under permutation and effects."""
    rows = [
        "covariate | terms | what it is | moves with its token | one value in a document",
        "---|---|---|---|---",
    ]
    for name, entry in covariates.CATALOGUE.items():
        terms = ", ".join(f"`{term}`" for term in entry.terms)
        facts = ["yes" if fact else "no" for fact in (entry.moves, entry.constant_in_document)]
        rows.append(f"`{name}` | {terms} | {entry.description} | {' | '.join(facts)}")
    return "\n".join(rows)


def value(field: dict[str, Any]) -> str:
    """Return the allowed values of a key in words, from its JSON schema."""
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(value(choice) for choice in field[several])
    if "$ref" in field:
        return "a mapping"
    if "const" in field:
        return f"`{plain(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{plain(choice)}`" for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {value(field['items'])}"
    if field["type"] == "object":
        return f"mapping of name to {value(field['additionalProperties'])}"
    if field["type"] == "null":
        return "`null`"
    if field["type"] == "boolean":
        return "true or false"
    words = {"integer": "whole number", "number": "number", "string": "text"}[field["type"]]
    if "pattern" in field:
        return IN_WORDS[field["pattern"]]
    if field.get("format") == "path":
        return "path"
    bounds = [f"{sign} {field[key]:,.0f}" for key, sign in SIGNS.items() if key in field]
    return f"{words} {', '.join(bounds)}".rstrip()


def plain(setting: Any) -> str:
    """Return a value as it is written in YAML, in one line."""
    if isinstance(setting, list):
        return f"[{', '.join(map(plain, setting))}]"
    if isinstance(setting, dict):
        return f"{{{', '.join(f'{key}: {plain(of)}' for key, of in setting.items())}}}"
    return setting if isinstance(setting, str) else json.dumps(setting)


def up_to_date(root: Path) -> dict[Path, str]:
    """Return the content of each generated file, by path."""
    readme = (root / README).read_text(encoding="utf-8")
    for begin, content, end in (
        (BEGIN, lists(), END),
        (BEGIN_COVARIATES, covariates_table(), END_COVARIATES),
    ):
        before, _, rest = readme.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            sys.exit(f"error: {root / README}: found no '{begin}' with '{end}' after it")
        readme = f"{before}{begin}\n\n{content}\n\n{end}{after}"
    return {root / SCHEMA: schema(), root / README: readme}


if __name__ == "__main__":
    write_or_check(__doc__, up_to_date)
