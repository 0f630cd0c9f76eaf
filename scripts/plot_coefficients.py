#!/usr/bin/env python3
"""Draw the coefficients of a regression by layer, with their confidence bands and R²."""

import json
from functools import partial
from pathlib import Path

import pandas as pd

from attnlag.figures import coefficients_by_layer, drawing, files
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("--coefficients", type=Path, required=True, help="the tidy table (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument(
    "--joint", type=Path, nargs="?", help="makes the bands joint over the layers (JSON)"
)
parser.add_argument(
    "--null",
    type=Path,
    nargs="?",
    help="the tidy table of a permuted regression with the same terms, to draw behind (Parquet)",
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    coefficients = pd.read_parquet(args.coefficients).query("subset == 'all'")
    fits = pd.read_parquet(args.fits)
    # How the table was made is on record in it: a second copy of the settings could differ.
    settings = tables.read_provenance(args.coefficients)["stages"]["regression"]
    joint = json.loads(args.joint.read_text(encoding="utf-8")) if args.joint else None
    name = drawing.study(fits)
    draw = partial(
        coefficients_by_layer.coefficients_by_layer,
        coefficients,
        fits,
        title=f"{coefficients_by_layer.of_coefficients(coefficients, settings['alpha'])}: {name}",
        alpha=settings["alpha"],
        adjust=settings["adjust"],
        critical_values=joint["critical_values"] if joint else None,
        null=pd.read_parquet(args.null).query("subset == 'all'") if args.null else None,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew the coefficients of %d layers", name, len(fits))


if __name__ == "__main__":
    program.run(main, parser)
