#!/usr/bin/env python3
"""Draw the lag coefficients of all models over relative depth, with their confidence bands."""

from functools import partial
from pathlib import Path

import pandas as pd

from attnlag.figures import coefficients_by_depth, files
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("coefficients", type=Path, help="the table of all models (Parquet)")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    coefficients = pd.read_parquet(args.coefficients)
    chosen = coefficients[
        (coefficients["subset"] == "all")
        & (coefficients["site"] == args.site)
        & (coefficients["regression"] == args.regression)
    ]
    # How the regressions were fitted is on record in the table, once for all of them.
    settings = tables.read_provenance(args.coefficients)["stages"]["regression"]
    finding = coefficients_by_depth.of_comparison(chosen, settings["alpha"])
    draw = partial(
        coefficients_by_depth.coefficients_by_depth,
        chosen,
        title=f"{finding}: {args.site}, {args.regression}",
        alpha=settings["alpha"],
        adjust=settings["adjust"],
    )
    files.save_in_sizes(draw, args.output)
    models = ", ".join(chosen["model"].unique())
    program.log.info("%s, %s: drew %s", args.site, args.regression, models)


if __name__ == "__main__":
    program.run(main, parser)
