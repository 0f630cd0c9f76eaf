#!/usr/bin/env python3
"""Solve the effects of tokens on every column of a design, over all shards."""

from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import token_effects
from attnlag.regression.settings import TokenEffectsSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, TokenEffectsSettings)
parser.add_argument("design", type=Path, help="first shard; the others lie beside it")
parser.add_argument("--norms", type=Path, required=True, help="likewise")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    designs = tables.shards(args.design)
    norms = tables.shards(args.norms)
    effects = token_effects.solve(designs, norms, args.settings.effects, args.output)
    record = tables.read_provenance(args.output)
    program.log.info(
        "%s, %s: solved %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(effects, "effect"),
    )


if __name__ == "__main__":
    program.run(main, parser)
