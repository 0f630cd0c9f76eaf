#!/usr/bin/env python3
"""Draw the figures of a regression of permuted documents, which has coefficients alone."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs import CoefficientsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("--coefficients", type=Path, required=True, help="the tidy table (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = CoefficientsInputs(args.coefficients, args.fits)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
