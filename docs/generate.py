"""Write what is generated from the code, or print the keys of a configuration or the columns.

Written are workflow/schemas/config.schema.yaml, with which editors complete and check a
configuration, and which the Snakemake workflow catalog lists; docs/outputs.md, the files of a run;
the notebooks of the lesson; docs/house.svg; and the table of docs/reruns.md. With
--check, nothing is written, and a file that is not up to date is an error. `keys` and `columns`
print what the site has beside that: each key with its default and meaning, and the files with the
meaning of their columns.
"""

import argparse
import inspect
import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from draw_house import house
from write_lesson import notebooks

from attnlag.config.schema import Config
from attnlag.model.settings import SOURCES, ModelSource
from attnlag.pipeline.outputs import OUTPUTS, SHARED, Output
from attnlag.regression.covariates import CATALOGUE
from attnlag.section import IN_WORDS, Section

ROOT = Path(__file__).parents[1]
SIGNS = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
HEADER = """\
# Files and columns

The files of a run, by folder. `{model}`, `{corpus}`, `{site}` and `{regression}` are names in the
configuration, `{pair}` is a site that is changed and observed, or two as in `attention_to_mlp`,
`{shard}` is `0000` and so on, `{scale}` is one of `controls.random_weights.scales`. Every CSV table
is also stored as Parquet, whose metadata record
[what made it](reruns.md#what-made-a-file). [Read the results](reading.md) has examples.
"""
# Files that hold the same as others of other weights, or in words.
TWINS = re.compile(r"untrained(_\{scale\})?\.parquet|untrained/|revisions/|findings\.txt")
# The tables that most readers open first, whose columns stand on the page without columns too.
FIRST_OPENED = ("coefficients.csv", "controls.csv")
FOLDER_OF_FITS = "results/{model}/{corpus}/{site}/{regression}"
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
# Last paragraphs of the page without columns, and of the one with them.
WITHOUT = """
Beside these, `untrained` in a name means with random weights, before training (`_{scale}` at which
scale; without it, the first), `revisions/{step}` an earlier checkpoint, and `findings.txt` the
folder's tables in words. Columns stand below two tables; those of all, and the figures of each
folder, are printed by `.venv/bin/python docs/generate.py columns` in the checkout.
[The gallery](gallery.md) shows the figures.
"""
WITH = """
In columns, NN is a layer, counted from 0, and TERM a regressor: `lag_1`, `lead_1` or a covariate.
Below a file are the columns that it alone has; in parentheses are those that it
[shares](#columns-of-several-files). Tables with *keys* have a row per token. Values that could not
be computed are empty (NaN). Units other than those of the residual stream and of the outcome per
term stand in brackets. Errors and intervals of means are clustered by document.
"""
FIGURES = """\
## Figures

A figure is a file `{name}{size}.{format}`: `{size}` is empty or `_column`
(`figures.sizes`), `{format}` svg, png or pdf. [How to read each](gallery.md).

folder | figures
---|---"""


def schema() -> str:
    """Return the JSON schema of a configuration as YAML.

    The Snakemake workflow catalog lists the ``properties`` in it, and follows no references: each
    section has its keys in place. What has names of the user's choice lists them under a name
    that no configuration can have.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    whole = dialect | Config.model_json_schema()
    kinds = whole["$defs"]
    for section in whole["properties"].values():
        if named := section.get("additionalProperties"):
            section["properties"] = {"<name>": {"properties": keys_of(named, kinds)}}
        else:
            section["properties"] = keys_of(section, kinds)
        section.pop("default", None)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)


def keys_of(part: dict[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a part of the schema has by reference, those of all alternatives."""
    found: dict[str, Any] = {}
    for alternative in [part, *part.get("anyOf", []), *part.get("oneOf", [])]:
        if "$ref" in alternative:
            found |= kinds[alternative["$ref"].rpartition("/")[2]]["properties"]
    keys = {}
    for name, key in found.items():
        listed = {fact: key[fact] for fact in ("type", "description", "default") if fact in key}
        if nested := keys_of(key, kinds):
            listed["properties"] = nested
            listed.pop("default", None)
        keys[name] = listed
    return keys


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the classes of sections in the type of a key."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def lists_of_keys() -> str:
    """Return the lists of keys in Markdown, section by section."""
    parts = []
    for name, field in Config.model_fields.items():
        section = ModelSource if name == "models" else sections_in(field.annotation)[0]
        named = ", for each name" * (get_origin(field.annotation) is dict)
        parts.append(f"### {name}{named}\n\n{list_of_keys(section)}")
        if section is ModelSource:
            shared = {*ModelSource.model_fields, "source"}
            for source, kind in SOURCES.items():
                parts.append(f"### {name}, `source: {source}`\n\n{list_of_keys(kind, shared)}")
        for key, nested in section.model_fields.items():
            for subsection in sections_in(nested.annotation):
                parts.append(f"### {name}, `{key}`\n\n{list_of_keys(subsection)}")
    return "\n\n".join(parts)


def list_of_keys(section: type[Section], without: Collection[str] = ()) -> str:
    """Return the keys of one section as a list: key and default, allowed values, meaning."""
    description = section.model_json_schema()
    properties = description["properties"]
    # A key that must be given comes first; what all sources share comes last.
    order = sorted(properties, key=lambda key: key not in description.get("required", []))
    rows = []
    for key in (key for key in order if key not in without):
        field = properties[key]
        values, required = values_allowed(field), "default" not in field
        entry = key if required else f"{key}: {in_yaml(field['default'])}"
        if not required and field["default"] is None:
            values = values.removesuffix(" or `null`")
        rows.append(f"- `{entry}` ({values}{'; required' * required}): {field['description']}")
    return f"{inspect.getdoc(section)}\n\n" + "\n".join(rows)


def values_allowed(field: dict[str, Any]) -> str:
    """Return the allowed values of a key in words, from its JSON schema."""
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(map(values_allowed, field[several]))
    if "$ref" in field:
        return "a mapping"
    if "const" in field:
        return f"`{in_yaml(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{in_yaml(choice)}`" for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {values_allowed(field['items'])}"
    if field["type"] == "object":
        return f"mapping of name to {values_allowed(field['additionalProperties'])}"
    if "pattern" in field:
        return IN_WORDS[field["pattern"]]
    if field.get("format") == "path":
        return "path"
    words = {"null": "`null`", "boolean": "true or false", "integer": "whole number"}
    words |= {"number": "number", "string": "text"}
    bounds = [f"{sign} {field[key]:,.0f}" for key, sign in SIGNS.items() if key in field]
    return f"{words[field['type']]} {', '.join(bounds)}".rstrip()


def in_yaml(setting: Any) -> str:
    """Return a value as it is written in YAML, in one line."""
    if isinstance(setting, list):
        return f"[{', '.join(map(in_yaml, setting))}]"
    if isinstance(setting, dict):
        return f"{{{', '.join(f'{key}: {in_yaml(entry)}' for key, entry in setting.items())}}}"
    return setting if isinstance(setting, str) else json.dumps(setting)


def table_of_covariates() -> str:
    """Return the table of covariates: terms, meaning, what holds under permutation and effects."""
    rows = [
        "covariate | terms | what it is | moves with its token | one value in a document",
        "---|---|---|---|---",
    ]
    for name, entry in CATALOGUE.items():
        terms = ", ".join(f"`{term}`" for term in entry.terms)
        flags = entry.permuted_with_token, entry.constant_in_document
        answers = " | ".join("yes" if flag else "no" for flag in flags)
        rows.append(f"`{name}` | {terms} | {entry.description} | {answers}")
    return "\n".join(rows)


def all_keys() -> str:
    """Return the keys of a configuration and the covariates in Markdown."""
    return f"{lists_of_keys()}\n\n## All covariates\n\n{table_of_covariates()}\n"


def names_of_columns(names: str) -> str:
    """Return names of columns as code."""
    return ", ".join(f"`{name}`" for name in names.split(", "))


def list_of_columns(columns: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the lines of a list of the columns that have a meaning here."""
    for names, meaning in columns.items():
        if meaning:
            yield f"- {names_of_columns(names)}: {meaning}"


def columns_in_full(output: Output) -> dict[str, str]:
    """Return the meanings of a table's columns by their names, those of shared columns too.

    The names of the study are left out.
    """
    found: dict[str, str] = {}
    for name, meaning in output.columns.items():
        if meaning:
            found[name] = meaning
        elif name in SHARED:
            found |= SHARED[name] if name != "study" else {}
        else:
            found[name] = next(shared[name] for shared in SHARED.values() if name in shared)
    return found


def list_of_files(outputs: list[Output]) -> Iterator[str]:
    """Yield the files of a folder, and one item for those that every shard has.

    A column of several tables is listed with the first of them.
    """
    by_shard = [output.name for output in outputs if output.name.endswith("/{shard}.parquet")]
    listed: dict[str, str] = {}
    for output in outputs:
        if output.name not in by_shard:
            yield f"- `{output.name}`: {output.meaning}"
        if output.folder == FOLDER_OF_FITS and output.name in FIRST_OPENED:
            columns = columns_in_full(output)
            new = {name: columns[name] for name in columns if name not in listed}
            yield from (f"    {line}" for line in list_of_columns(new))
            listed |= new
    if by_shard:
        folders = ", ".join(f"`{name.removesuffix('{shard}.parquet')}`" for name in by_shard)
        yield f"- a file per shard: {folders}"
    yield ""


def list_of_files_and_columns(outputs: list[Output]) -> Iterator[str]:
    """Yield the files of a folder, each with the columns that are its alone."""
    for output in outputs:
        shared = [
            f"[{name}](#{name.replace(' ', '-')})" if name in SHARED else names_of_columns(name)
            for name, meaning in output.columns.items()
            if not meaning
        ]
        line = f"- `{output.name}`: {output.meaning}"
        if shared:
            line += f" ({', '.join(shared)})"
        yield line
        yield from (f"    {line}" for line in list_of_columns(output.columns))
    yield ""


def page_of_outputs(columns: bool) -> str:
    """Return the page of the files of a run, with or without their columns."""
    files: dict[str, list[Output]] = defaultdict(list)
    figures: dict[str, dict[str, None]] = defaultdict(dict)  # stages may share a name
    for output in OUTPUTS:
        if output.figure:
            figures[output.folder][f"`{output.figure}`"] = None
        elif columns or not TWINS.search(output.name):
            files[output.folder].append(output)
    lines = [HEADER + (WITH if columns else WITHOUT)]
    for folder, outputs in files.items():
        listed = list_of_files_and_columns(outputs) if columns else list_of_files(outputs)
        lines += [f"## `{folder}/`\n", *listed]
    if columns:
        rows = (f"`{folder}/` | {', '.join(names)}" for folder, names in figures.items())
        lines += [FIGURES, *rows]
        lines.append("\n## Columns of several files\n")
        for group, shared in SHARED.items():
            lines += [f"### {group}\n", *list_of_columns(shared), ""]
    return "\n".join(lines).rstrip() + "\n"


def page_of_reruns() -> str:
    """Return the page with its table anew, from the jobs that a test plans for each change.

    Changes that run the same jobs share a row.
    """
    lines = (ROOT / "tests/workflow/reruns.txt").read_text(encoding="utf-8").splitlines()
    changes_by_jobs: dict[str, list[str]] = defaultdict(list)
    for change, jobs in zip(lines[::2], lines[1::2], strict=True):
        first, _, following = jobs.strip().partition(" > ")
        names = [name.split()[0] for name in first.split(", ")]
        drawing = [name for name in names if name.startswith("plot_")]
        if len(drawing) > 2:
            names = [*(name for name in names if name not in drawing), "plot_*"]
        words = ", ".join(name if name == "nothing" else f"`{name}`" for name in names)
        # The check of fits is part of every run.
        if following.replace("check_fits 1", ""):
            words += " …"
        changes_by_jobs[words].append(change)
    rows = [f"{'<br>'.join(changes)} | {words}" for words, changes in changes_by_jobs.items()]
    page = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
    start = page.index("what you change | ")
    head = "\n".join(page[start:].splitlines()[:2])
    return page[:start] + "\n".join([head, *rows]) + page[page.index("\n\n", start) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("printed", nargs="?", choices=["keys", "columns"], help="write nothing")
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    if arguments.printed:
        text = all_keys() if arguments.printed == "keys" else page_of_outputs(columns=True)
        print(LINK.sub(r"\1", text), end="")
        return
    pages = {
        "workflow/schemas/config.schema.yaml": schema(),
        "docs/outputs.md": page_of_outputs(columns=False),
        **notebooks(ROOT),
        "docs/house.svg": house(),
        "docs/reruns.md": page_of_reruns(),
    }
    for name, text in pages.items():
        if (ROOT / name).exists() and (ROOT / name).read_text(encoding="utf-8") == text:
            continue
        if arguments.check:
            sys.exit(
                f"error: {name}: not up to date, expected what 'python docs/generate.py' writes"
            )
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
