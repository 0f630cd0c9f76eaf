#!/usr/bin/env python3
"""Count characters and tokens of a corpus, and how often each token occurs.

The number of characters per token differs between genres and languages, and so does the amount of
text that a lag of one token spans. A regression may hold the frequency of a token fixed.
"""

from pathlib import Path

import pyarrow.parquet as pq

from attnlag.corpus import tokens
from attnlag.pipeline import program
from attnlag.report import html_tables
from attnlag.storage import tables

# Sequences in memory at a time.
ROWS = 250
# A page of more rows than these is slow to open.
MOST_ROWS = 5000

parser = program.argument_parser(__doc__)
parser.add_argument("tokens", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--summary", type=Path, required=True, help="Parquet; CSV and HTML beside it")
parser.add_argument("--counts", type=Path, required=True, help="count of each token (Parquet)")


def main(args):
    def batches(*columns):
        for path in tables.shards(args.tokens):
            yield from tables.batches(path, ROWS, "tokens", list(columns))

    record = tables.read_provenance(args.tokens)
    # How one shard was cut into sequences says nothing of the corpus.
    bos = record.pop("tokens")["bos"]
    corpus = pq.read_table(args.corpus, columns=["document", "group"]).replace_schema_metadata()
    columns = ("document", "char_start", "char_end", "special_in_text")
    summary = tokens.summarize(batches(*columns), corpus, bos)
    tables.write_frame(summary, args.summary, args.summary.with_suffix(".csv"), record)
    counts = tokens.token_counts(batches("input_ids"))
    tables.write_table(counts, args.counts, tables.provenance(record, "token_counts", {}, "numpy"))

    name = f"{record['model']['name']}, {record['corpus']['name']}"
    whole = summary.iloc[0]
    found = (
        f"{whole.characters:,} characters, {whole.tokens:,} tokens, "
        f"{whole.characters_per_token:.2f} characters per token"
    )
    left = f" The first {MOST_ROWS:,} of {len(summary):,} rows." if len(summary) > MOST_ROWS else ""
    html_tables.write_page(
        summary.head(MOST_ROWS),
        args.summary.with_suffix(".html"),
        title=f"Corpus: {name}",
        note=f"{whole.documents:,} documents, {found}; below, the corpus, its groups and its "
        f"documents.{left}",
    )
    program.log.info("%s: %s, %d different ones", name, found, counts.num_rows)


if __name__ == "__main__":
    program.run(main, parser)
