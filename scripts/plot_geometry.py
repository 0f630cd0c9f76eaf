#!/usr/bin/env python3
"""Draw the figures of where the adjustments of one site point."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.vectors import GeometryInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("means", type=Path, help="the table of means (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = GeometryInputs(args.means)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
