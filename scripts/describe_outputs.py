"""Write docs/outputs.md: every file that a run makes, and what its columns mean.

With --check, nothing is written: a page that is not up to date is named, and the exit status is 1.
"""

from attnlag.pipeline.generated_pages import write_or_check
from attnlag.pipeline.outputs import OUTPUTS

PAGE = "docs/outputs.md"
HEADER = """\
# Files and columns

This page lists the files that a run writes. `python scripts/describe_outputs.py` generates it,
and the tests compare it with the files of real runs. `{model}`, `{corpus}`, `{site}` and
`{regression}` are names in the configuration, `{pair}` is a site that is changed and observed, or
two sites as in `attention_to_mlp`, `{shard}` is `0000` and so on, and `{format}` is svg or png.
`{size}` is empty for a page, and `_column` or `_slide` if `figures.sizes` asks for these. In column
names, NN stands for a layer, counted from 0, and TERM for a regressor:
`lag_1`, `lead_1` or a covariate.

Every CSV table is also stored as Parquet, with the same columns and all digits. The metadata of
a Parquet file contain, under `attnlag`, a JSON text that records what made it. Values that
could not be computed are empty (NaN). [Read the results](reading.md) has examples.
"""


def page() -> str:
    """Return the page in Markdown."""
    lines = [HEADER]
    # Figures of several programs may share a name.
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
