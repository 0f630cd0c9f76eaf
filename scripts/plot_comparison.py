#!/usr/bin/env python3
"""Draw the figures of a comparison of models, of one site and regression."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.regressions import ComparisonInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("coefficients", type=Path, help="the table of all models (Parquet)")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = ComparisonInputs(args.coefficients, args.site, args.regression)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
