#!/usr/bin/env python3
"""Draw the figures of the effects of interventions on one site, observed at one site."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.vectors import EffectsInputs
from attnlag.pipeline import program

parser = program.argument_parser(__doc__)
parser.add_argument("elasticities", type=Path, help="the table (Parquet); others lie beside it")
parser.add_argument("--source", required=True, help="the site that is changed")
parser.add_argument("--target", required=True, help="the site that is observed")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = EffectsInputs(args.elasticities, args.source, args.target)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
