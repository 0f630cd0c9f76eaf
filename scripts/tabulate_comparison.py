#!/usr/bin/env python3
"""Make pages of the comparison's tables that a browser sorts and filters."""

from pathlib import Path

import pandas as pd

from attnlag.pipeline import program
from attnlag.report import html_tables
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("--coefficients", type=Path, required=True, help="of all models (Parquet)")
parser.add_argument("--pairs", type=Path, required=True, help="every two models (Parquet)")
parser.add_argument("--coefficients-page", type=Path, required=True, help="HTML")
parser.add_argument("--pairs-page", type=Path, required=True, help="HTML")


def main(args):
    coefficients = pd.read_parquet(args.coefficients)
    settings = tables.read_provenance(args.coefficients)["stages"]["regression"]
    html_tables.write_page(
        html_tables.with_significance(coefficients, settings["alpha"]),
        args.coefficients_page,
        title="Coefficients of all models",
        note=f"A row for each layer and term; depth is layer / (layers - 1). Marked: p_adjusted < "
        f"{settings['alpha']:g}, corrected over the layers of a model for each term "
        f"({settings['adjust']}).",
    )
    pairs = pd.read_parquet(args.pairs)
    html_tables.write_page(
        pairs,
        args.pairs_page,
        title="Every two models",
        note="How far the coefficients of two models agree over relative depth: Pearson's "
        "correlation with its interval from a bootstrap of documents, and the share of layers "
        "that agree in sign and significance.",
    )
    program.log.info("made pages of %d and %d rows", len(coefficients), len(pairs))


if __name__ == "__main__":
    program.run(main, parser)
