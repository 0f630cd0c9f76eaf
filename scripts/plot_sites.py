#!/usr/bin/env python3
"""Draw the figures of all sites of a model side by side."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.regressions import CoefficientsInputs, SitesInputs
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("--sites", nargs="+", required=True, help="the sites, in their order")
parser.add_argument("--norms", type=Path, nargs="+", required=True, help="first shard per site")
parser.add_argument("--coefficients", type=Path, nargs="+", required=True, help="a table per site")
parser.add_argument("--fits", type=Path, nargs="+", required=True, help="likewise")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    studies = list(map(CoefficientsInputs, args.coefficients, args.fits))
    inputs = SitesInputs(args.sites, list(map(tables.shards, args.norms)), studies)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
