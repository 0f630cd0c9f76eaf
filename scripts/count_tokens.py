#!/usr/bin/env python3
"""Count how often each token of the vocabulary occurs in a corpus.

A regression may hold the frequency of a token fixed: rare tokens differ from common ones
whatever stands before them.
"""

from pathlib import Path

from attnlag.corpus import tokens
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.storage import tables

ROWS = 250

parser = program.argument_parser(__doc__)
parser.add_argument("tokens", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    batches = (
        batch
        for path in tables.shards(args.tokens)
        for batch in tables.batches(path, ROWS, "tokens", columns=["input_ids"])
    )
    counts = tokens.token_counts(batches)
    record = tables.read_provenance(args.tokens)
    # How one shard was cut into sequences says nothing of the corpus.
    record.pop("tokens")
    tables.write_table(counts, args.output, tables.provenance(record, "token_counts", {}, "numpy"))
    program.log.info(
        "%s, %s: %s, %d different ones",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(int(counts["count"].to_numpy().sum()), "token"),
        counts.num_rows,
    )


if __name__ == "__main__":
    program.run(main, parser)
