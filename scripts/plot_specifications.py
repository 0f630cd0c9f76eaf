#!/usr/bin/env python3
"""Draw the figures of all regressions of a site side by side."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.regressions import Coefficients, SpecificationsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument(
    "--coefficients", type=Path, nargs="+", required=True, help="tables, in the order of the panels"
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = SpecificationsInputs([Coefficients(path) for path in args.coefficients])
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
