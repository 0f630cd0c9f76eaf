#!/usr/bin/env python3
"""Make a page of a regression's coefficients that a browser sorts and filters."""

from pathlib import Path

import pandas as pd

from attnlag.pipeline import program
from attnlag.report import html_tables
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("coefficients", type=Path, help="the tidy table (Parquet)")
parser.add_argument("--output", type=Path, required=True, help="HTML")


def main(args):
    coefficients = pd.read_parquet(args.coefficients)
    settings = tables.read_provenance(args.coefficients)["stages"]["regression"]
    keys = ["model", "corpus", "site", "regression"]
    name = ", ".join(coefficients.iloc[0][keys])
    # The same in every row; the title has them.
    frame = coefficients.drop(columns=[*keys, "subset"])
    html_tables.write_page(
        html_tables.with_significance(frame, settings["alpha"]),
        args.output,
        title=f"Coefficients: {name}",
        note=f"A row for each layer and term. Marked: p_adjusted < {settings['alpha']:g}, "
        f"corrected over the layers for each term ({settings['adjust']}). Numbers to "
        f"{html_tables.DIGITS} digits; coefficients.csv has them all. Coefficients of lags within "
        "one layer are predictive associations, not causes.",
    )
    program.log.info("%s: made a page of %d rows", name, len(frame))


if __name__ == "__main__":
    program.run(main, parser)
