#!/usr/bin/env python3
"""Draw the figures of the norms of one site."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs.norms import NormsInputs
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, NormsFiguresSettings)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--stream", type=Path, required=True, help="norms of the stream, likewise")
parser.add_argument("--tokens", type=Path, required=True, help="likewise")
parser.add_argument("--properties", type=Path, required=True, help="of tokens, likewise")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--site", required=True, help="the sublayer, for the labels")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="files of figures")


def main(args):
    norms, stream, tokens, properties = map(
        tables.shards, (args.norms, args.stream, args.tokens, args.properties)
    )
    inputs = NormsInputs(norms, stream, tokens, properties, args.corpus, args.site, args.settings)
    program.log.info("%s: drew %s", inputs.name, files.draw_figures(inputs, args.output))


if __name__ == "__main__":
    program.run(main, parser)
