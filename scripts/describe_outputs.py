"""Write docs/outputs.md: every file that a run makes, and what its columns mean.

With --check, nothing is written: a page that is not up to date is named, and the exit status is 1.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from attnlag.pipeline.generated_pages import write_or_check
from attnlag.pipeline.outputs import OUTPUTS, SHARED, Output

PAGE = "docs/outputs.md"
HEADER = """\
# Files and columns

The files of a run, by folder. `{model}`, `{corpus}`, `{site}` and `{regression}` are names in the
configuration, `{pair}` is a site that is changed and observed, or two as in `attention_to_mlp`,
`{shard}` is `0000` and so on, `{draw}` is 1 and so on. In columns, NN is a layer, counted from 0,
and TERM a regressor: `lag_1`, `lead_1` or a covariate. Below a file are the columns that it alone
has; in parentheses are those that it [shares](#columns-of-several-files).

Tables with *keys* have a row per token. Every CSV table is also stored as Parquet, whose metadata
record [what made it](reproducibility.md#what-made-a-file). Values that could not be computed are
empty (NaN). Units other than those of the residual stream and of the outcome per term stand in
brackets. *Before training* means with random weights; errors and intervals of means are clustered
by document. [Read the results](reading.md) has examples.

`python scripts/describe_outputs.py` generates this page; tests compare it with real runs.
"""
FIGURES = """\
## Figures

A figure is a file `{name}{size}.{format}`: `{size}` is empty, `_column` or `_slide`
(`figures.sizes`), `{format}` svg, png or pdf. [How to read each](gallery.md).

folder | figures
---|---"""
GROUPS = """
## Columns of several files
"""


def names_of(names: str) -> str:
    """Return names of columns as code."""
    return ", ".join(f"`{name}`" for name in names.split(", "))


def defined(columns: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the lines of a list of the columns that have a meaning here."""
    yield from (f"- {names_of(name)}: {meaning}" for name, meaning in columns.items() if meaning)


def listed(folder: str, outputs: list[Output]) -> Iterator[str]:
    """Yield the section of a folder: its files, each with the columns that are its alone."""
    yield f"## `{folder}/`\n"
    for output in outputs:
        shared = [
            f"[{name}](#{name.replace(' ', '-')})" if name in SHARED else names_of(name)
            for name, meaning in output.columns.items()
            if not meaning
        ]
        yield f"- `{output.name}`: {output.meaning}" + f" ({', '.join(shared)})" * bool(shared)
        yield from (f"    {line}" for line in defined(output.columns))
    yield ""


def page() -> str:
    """Return the page in Markdown."""
    files: dict[str, list[Output]] = defaultdict(list)
    figures: dict[str, dict[str, None]] = defaultdict(dict)  # programs may share a name
    for output in OUTPUTS:
        if output.figure:
            figures[output.folder][f"`{output.figure.name}`"] = None
        else:
            files[output.folder].append(output)
    lines = [HEADER, *(line for folder, group in files.items() for line in listed(folder, group))]
    lines += [FIGURES, *(f"`{folder}/` | {', '.join(names)}" for folder, names in figures.items())]
    lines.append(GROUPS)
    for group, columns in SHARED.items():
        lines += [f"### {group}\n", *defined(columns), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / PAGE: page()})
