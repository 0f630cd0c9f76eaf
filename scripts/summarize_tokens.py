#!/usr/bin/env python3
"""Count characters and tokens of a corpus, and how often each token occurs.

The number of characters per token differs between genres and languages, and so does the amount of
text that a lag of one token spans. A regression may hold the frequency of a token fixed.
"""

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.corpus import tokens
from attnlag.report import html_tables
from attnlag.storage import tables

# Sequences in memory at a time.
ROWS = 250
# A page of more rows than these is slow to open.
MOST_ROWS = 5000


def main(job):
    def batches(*columns):
        for path in job.input.tokens:
            yield from tables.batches(path, ROWS, "tokens", list(columns))

    record = tables.read_provenance(job.input.tokens[0])
    # Statistics of one shard would not describe the corpus.
    bos = record.pop("tokens")["bos"]
    corpus = pq.read_table(
        job.input.corpus, columns=["document", "group"]
    ).replace_schema_metadata()
    columns = ("document", "char_start", "char_end", "special_in_text")
    summary = tokens.summarize(batches(*columns), corpus, bos)
    tables.write_frame(summary, job.output.summary, job.output.summary.with_suffix(".csv"), record)
    counts = tokens.token_counts(batches("input_ids"))
    tables.write_table(
        counts, job.output.counts, tables.provenance(record, "token_counts", {}, "numpy")
    )

    name = f"{record['model']['name']}, {record['corpus']['name']}"
    whole = summary.iloc[0]
    found = (
        f"{whole.characters:,} characters, {whole.tokens:,} tokens, "
        f"{whole.characters_per_token:.2f} characters per token"
    )
    left = f" The first {MOST_ROWS:,} of {len(summary):,} rows." if len(summary) > MOST_ROWS else ""
    html_tables.write_page(
        summary.head(MOST_ROWS),
        job.output.summary.with_suffix(".html"),
        title=f"Corpus: {name}",
        note=f"{whole.documents:,} documents, {found}; below, the corpus, its groups and its "
        f"documents.{left}",
    )
    program.log.info("%s: %s, %d different ones", name, found, counts.num_rows)


if __name__ == "__main__":
    program.run(main)
