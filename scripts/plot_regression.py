#!/usr/bin/env python3
"""Draw the figures of one regression: coefficients, fits, residuals, groups of documents."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.regressions import RegressionInputs
from attnlag.figures.settings import PanelsSettings
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, PanelsSettings)
parser.add_argument("--coefficients", type=Path, required=True, help="the tidy table (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument("--groups", type=Path, required=True, help="the tidy table of the groups")
parser.add_argument("--influence", type=Path, required=True, help="influential documents (Parquet)")
parser.add_argument("--residuals", type=Path, required=True, help="sums over the residuals")
parser.add_argument("--design", type=Path, required=True, help="first shard; others lie beside it")
parser.add_argument("--joint", type=Path, nargs="?", help="for bands joint over the layers (JSON)")
parser.add_argument("--controls", type=Path, nargs="?", help="the table of the controls")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    inputs = RegressionInputs(
        *(args.coefficients, args.fits, args.joint, args.controls),
        groups_file=args.groups,
        influence_file=args.influence,
        residuals_file=args.residuals,
        design=tables.shards(args.design),
        layers=args.settings.layers,
    )
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
