"""Count characters and tokens of a corpus, and how often each token occurs."""

import pyarrow.parquet as pq

from attnlag.corpus import tokens
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.storage import tables


def main(job):
    def batches(*columns):
        for path in job.input.tokens:
            # Each row is a sequence.
            yield from tables.batches(path, 250, "tokens", list(columns))

    record = tables.read_provenance(job.input.tokens[0])
    # Statistics of one shard would not describe the corpus.
    bos = record.pop("tokens")["bos"]
    corpus = pq.read_table(job.input.corpus, columns=["document", "group"])
    columns = ("document", "char_start", "char_end", "special_in_text")
    summary = tokens.summarize(batches(*columns), corpus.replace_schema_metadata(), bos)
    tables.write_frame(summary, job.output.token_summary, record)
    counts = tokens.token_counts(batches("input_ids"))
    record_of_counts = tables.provenance(record, "token_counts", {}, "numpy")
    tables.write_table(counts, job.output.token_counts, record_of_counts)
    total = summary.iloc[0]
    log.info(
        f"{record.names}: {total.characters:,} characters, {counted(int(total.tokens), 'token')}, "
        f"{total.characters_per_token:.2f} characters per token, {counts.num_rows:,} different"
    )
