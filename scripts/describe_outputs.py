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

This page lists the files of a run by folder. `python scripts/describe_outputs.py` generates it, and
the tests compare it with the files of real runs. `{model}`, `{corpus}`, `{site}` and `{regression}`
are names in the configuration, `{pair}` is a site that is changed and observed, or two sites as in
`attention_to_mlp`, `{shard}` is `0000` and so on, and `{draw}` is 1 and so on. In names of columns,
NN stands for a layer, counted from 0, and TERM for a regressor: `lag_1`, `lead_1` or a covariate.

Tables with *keys* have a row per token, all in the same order. Every CSV table is also stored as
Parquet, with the same columns and all digits. The metadata of a Parquet file contain, under
`attnlag`, a JSON text that records what made it. Values that could not be computed are empty (NaN).
Vectors and norms are in units of the residual stream, estimates in those of the outcome (log norm)
per unit of the term, as are their errors and intervals; other units stand in brackets. [Read the
results](reading.md) has examples.
"""
FIGURES = """\
## Figures

A figure is a file `{name}{size}.{format}`: `{size}` is empty for a page, and `_column` or `_slide`
if `figures.sizes` asks for these; `{format}` is svg, png or pdf. [The gallery](gallery.md) explains
them.

folder | figures
---|---"""
GROUPS = """
## Columns of several files

Tables of files name these groups, or single columns of them.
"""


def names_of(names: str) -> str:
    """Return names of columns as code."""
    return ", ".join(f"`{name}`" for name in names.split(", "))


def defined(columns: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the lines of a list of the columns that have a meaning here."""
    yield from (f"- {names_of(name)}: {meaning}" for name, meaning in columns.items() if meaning)
    yield ""


def listed(folder: str, outputs: list[Output]) -> Iterator[str]:
    """Yield the section of a folder: its files, and the columns that are theirs alone."""
    yield from [f"## `{folder}/`\n", "file | contents | shared columns", "---|---|---"]
    for output in outputs:
        shared = [
            f"[{name}](#{name.replace(' ', '-')})" if name in SHARED else names_of(name)
            for name, meaning in output.columns.items()
            if not meaning
        ]
        contents = output.meaning[0].upper() + output.meaning[1:]
        yield " | ".join([f"`{output.name}`", contents, *[", ".join(shared)] * bool(shared)])
    yield ""
    for output in outputs:
        if any(output.columns.values()):
            yield from [f"### `{output.name}`\n", *defined(output.columns)]


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
        lines += [f"### {group}\n", *defined(columns)]
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / PAGE: page()})
