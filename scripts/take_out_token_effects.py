#!/usr/bin/env python3
"""Remove the effects of tokens from one shard's design."""

from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import token_effects
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument("--norms", type=Path, required=True, help="of the same shard")
parser.add_argument("--effects", type=Path, required=True, help="those of all shards (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    rows = token_effects.take_out(args.design, args.norms, args.effects, args.output)
    record = tables.read_provenance(args.output)
    program.log.info(
        "%s, %s: took them out of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(rows, "row"),
    )


if __name__ == "__main__":
    program.run(main, parser)
