#!/usr/bin/env python3
"""Count characters and tokens by document, by group and over a corpus.

How many characters a token stands for differs between genres and languages, and with it how far
a lag of one token reaches.
"""

from pathlib import Path

import pyarrow.parquet as pq

from attnlag.corpus import tokens
from attnlag.pipeline import program
from attnlag.storage import tables

ROWS = 250

parser = program.argument_parser(__doc__)
parser.add_argument("tokens", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--parquet", type=Path, required=True)
parser.add_argument("--csv", type=Path, required=True)


def main(args):
    columns = ["document", "char_start", "char_end"]
    sequences = (
        batch
        for path in tables.shards(args.tokens)
        for batch in tables.batches(path, ROWS, "summary", columns)
    )
    record = tables.read_provenance(args.tokens)
    bos = record.pop("tokens")["bos"]
    corpus = pq.read_table(args.corpus, columns=["document", "group"])
    summary = tokens.summarize(sequences, corpus.replace_schema_metadata(), bos)
    tables.write_frame(summary, args.parquet, args.csv, record)
    whole = summary.iloc[0]
    program.log.info(
        "%s, %s: %s characters, %s tokens, %.2f characters per token",
        record["model"]["name"],
        record["corpus"]["name"],
        f"{whole.characters:,}",
        f"{whole.tokens:,}",
        whole.characters_per_token,
    )


if __name__ == "__main__":
    program.run(main, parser)
