"""Write docs/outputs.md: every file that a run makes, and what its columns mean.

With --check, nothing is written: a page that is not up to date is named, and the exit status is 1.
"""

from attnlag.pipeline.generated_pages import write_or_check
from attnlag.pipeline.outputs import OUTPUTS

PAGE = "docs/outputs.md"
HEADER = """\
# Files and columns

What a run writes, as `python scripts/describe_outputs.py` writes this page and `make lint` checks
it; the tests hold it against the files of real runs. `{model}`, `{corpus}`, `{site}` and
`{regression}` are names of the configuration, `{shard}` is `0000` and so on, `{format}` svg or png,
`{size}` nothing for a page, `_column` or `_slide` where `figures.sizes` asks for them.
In the names of columns, NN stands for a layer, counted from 0, and TERM for a regressor: `lag_1`,
`lead_1`, a covariate.

Every table that is there as CSV is there as Parquet too, with the same columns and all digits. A
Parquet file has in its metadata, under `attnlag`, a JSON text that says what made it. What no
number could be computed for is empty (NaN). [How to read them](reading.md) has examples.
"""


def page() -> str:
    """Return the page, in Markdown."""
    lines = [HEADER]
    # A regression and a null have a figure of one name.
    for output in {output.path: output for output in OUTPUTS}.values():
        lines += [f"## `{output.path}`\n", f"{output.meaning[0].upper()}{output.meaning[1:]}.\n"]
        if output.columns:
            kind = "key" if output.path.endswith(".json") else "column"
            lines += [f"| {kind} | unit | meaning |", "|---|---|---|"]
            lines += [f"| `{n}` | {unit} | {said} |" for n, (unit, said) in output.columns.items()]
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / PAGE: page()})
