#!/usr/bin/env python3
"""Describe the distribution of a number of tokens, such as surprisal, over the whole corpus.

Slopes that differ by the number use its mean, its standard deviation and its thirds.
"""

from pathlib import Path

from attnlag.pipeline import program
from attnlag.regression import moderators, properties
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__)
parser.add_argument("tokens", type=Path, help="first shard of its table; others lie beside it")
parser.add_argument("--number", choices=list(properties.MODERATORS), required=True)
parser.add_argument("--output", type=Path, required=True, help="the distribution (JSON)")


def main(args):
    number = properties.read_moderator(args.number, tables.shards(args.tokens))
    scale = moderators.scale_of(number)
    writing.write_text(scale.to_json() + "\n", args.output)
    program.log.info(
        "%s: mean %.3g, standard deviation %.3g over the tokens of the corpus",
        args.number,
        scale.mean,
        scale.std,
    )


if __name__ == "__main__":
    program.run(main, parser)
