#!/usr/bin/env python3
"""Draw the figures of the effects of interventions."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs import EffectsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("--elasticities", type=Path, required=True, help="the table (Parquet)")
parser.add_argument("--transmitted", type=Path, required=True, help="that of their sums (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = EffectsInputs(args.elasticities, args.transmitted)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
