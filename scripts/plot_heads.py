#!/usr/bin/env python3
"""Draw the figures of the attention heads of a model."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.vectors import HeadsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("heads", type=Path, help="the table of heads (Parquet)")
parser.add_argument("coefficients", type=Path, help="their regressions (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = HeadsInputs(args.heads, args.coefficients)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
