#!/usr/bin/env python3
"""Draw the figures of the regression of vectors on vectors."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.vectors import VectorsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("fits", type=Path, help="the table (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = VectorsInputs(args.fits)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
