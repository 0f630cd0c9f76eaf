#!/usr/bin/env python3
"""Draw the coefficient of lag 1 of every regression by layer, a panel each."""

from functools import partial
from pathlib import Path

import pandas as pd

from attnlag.figures import files, specifications_by_layer
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument(
    "--coefficients",
    type=Path,
    nargs="+",
    required=True,
    help="the tidy table of each regression, in the order of the panels (Parquet)",
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    regressions = [pd.read_parquet(path).query("subset == 'all'") for path in args.coefficients]
    # The same for all regressions, and on record in each table.
    settings = tables.read_provenance(args.coefficients[0])["stages"]["regression"]
    name = ", ".join(regressions[0].loc[regressions[0].index[0], ["model", "corpus", "site"]])
    terms = {
        table["regression"].iloc[0]: specifications_by_layer.term_shown(table)
        for table in regressions
    }
    draw = partial(
        specifications_by_layer.specifications_by_layer,
        regressions,
        title=f"{specifications_by_layer.of_specifications(regressions, terms)}: {name}",
        alpha=settings["alpha"],
        adjust=settings["adjust"],
    )
    files.save_in_sizes(draw, args.output)
    drawn = ", ".join(table["regression"].iloc[0] for table in regressions)
    program.log.info("%s: drew %s side by side", name, drawn)


if __name__ == "__main__":
    program.run(main, parser)
