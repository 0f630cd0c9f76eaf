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


def main(job):
    def batches(*columns):
        for path in job.input.tokens:
            yield from tables.batches(path, ROWS, "tokens", list(columns))

    record, page = tables.read_provenance(job.input.tokens[0]), job.output.token_summary
    # Statistics of one shard would not describe the corpus.
    bos = record.pop("tokens")["bos"]
    corpus = pq.read_table(job.input.corpus, columns=["document", "group"])
    columns = ("document", "char_start", "char_end", "special_in_text")
    summary = tokens.summarize(batches(*columns), corpus.replace_schema_metadata(), bos)
    tables.write_frame(summary, page, record)
    counts, made = tokens.token_counts(batches("input_ids")), tables.provenance
    tables.write_table(counts, job.output.counts, made(record, "token_counts", {}, "numpy"))
    name = record.names
    said = html_tables.write_token_summary(summary, page.with_suffix(".html"), name)
    program.log.info(f"{name}: {said}, {counts.num_rows} different ones")


if __name__ == "__main__":
    program.run(main)
