#!/usr/bin/env python3
"""Draw the norms of one site against the surprisal of the tokens."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.norms import SurprisalInputs
from attnlag.figures.settings import SurprisalFiguresSettings
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, SurprisalFiguresSettings)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--surprisal", type=Path, required=True, help="likewise")
parser.add_argument("--properties", type=Path, required=True, help="of tokens, likewise")
parser.add_argument("--site", required=True, help="the sublayer, for the labels")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    norms, surprisal, properties = map(tables.shards, (args.norms, args.surprisal, args.properties))
    drop_first = args.settings.drop_first
    inputs = SurprisalInputs(norms, surprisal, properties, args.site, drop_first)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
