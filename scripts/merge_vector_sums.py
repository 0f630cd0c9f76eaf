#!/usr/bin/env python3
"""Add up the sums of the vectors of one site over all shards, for the means of its layers."""

from pathlib import Path

from attnlag.adjustments import directions
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("sums", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--output", type=Path, required=True, help="the sums over all (Parquet)")


def main(args):
    paths = tables.shards(args.sums)
    record = tables.of_all_shards(tables.read_provenance(args.sums))
    tables.write_table(directions.read_sums(paths).table(), args.output, record)
    program.log.info(
        "%s, %s: sums of vectors from %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(len(paths), "shard"),
    )


if __name__ == "__main__":
    program.run(main, parser)
