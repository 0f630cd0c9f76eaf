#!/usr/bin/env python3
"""Solve the effects of tokens on every column of a design, over all shards."""

from dataclasses import asdict
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
    effects = args.settings.effects
    table, absorbed = token_effects.solved(designs, tables.shards(args.norms), effects)
    record = tables.of_all_shards(tables.read_provenance(designs[0]))
    record = tables.provenance(
        record, "token_effects", asdict(args.settings), "numpy", "scipy", absorbed=absorbed
    )
    tables.write_table(table, args.output, record)
    program.log.info(
        "%s, %s: solved %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(table.num_rows, "effect"),
    )


if __name__ == "__main__":
    program.run(main, parser)
