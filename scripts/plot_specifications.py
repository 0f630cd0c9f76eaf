#!/usr/bin/env python3
"""Draw the figures of all regressions of a site side by side."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs import SpecificationsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument(
    "--coefficients",
    type=Path,
    nargs="+",
    required=True,
    help="the tidy table of each regression, in the order of the panels (Parquet)",
)
parser.add_argument(
    "--output", type=Path, nargs="+", required=True, help="files named by their figures"
)


def main(args):
    inputs = SpecificationsInputs(args.coefficients)
    drawn = files.draw_figures(inputs, args.output)
    regressions = ", ".join(table["regression"].iloc[0] for table in inputs.regressions)
    program.log.info("%s: drew %s of %s", inputs.name, ", ".join(drawn), regressions)


if __name__ == "__main__":
    program.run(main, parser)
