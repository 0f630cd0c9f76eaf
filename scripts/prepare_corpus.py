"""Read the files of a corpus into one Parquet table: document, text and group.

All later stages read this table, so they do not depend on the format of the files. This stage also
reports mistakes in the data, all at once and each with its file and line, before any model is
loaded.
"""

import attnlag.pipeline.program as program

from attnlag.corpus.documents import (
    Tally,
    corpus_record,
    corpus_summary,
    corpus_table,
    in_batches,
    read_documents,
    schema_of,
)
from attnlag.corpus.settings import CorpusSettings
from attnlag.pipeline import few_documents
from attnlag.storage import tables


def main(job):
    """Read, check and write one corpus, some documents at a time."""
    settings = job.settings
    tally = Tally()
    schema = schema_of(settings)
    documents = tally.counting(read_documents(job.input.files, settings))
    tables.write_parts(
        (corpus_table(batch, schema) for batch in in_batches(documents)),
        schema,
        job.output.corpus,
        lambda: corpus_record(job.names.corpus, tally, settings),
    )
    program.log.info("%s", corpus_summary(job.names.corpus, tally))
    if tally.notice:
        program.log.warning("%s: %s", job.names.corpus, tally.notice)
    if notice := few_documents.notice(tally.documents, job.options.covariance):
        program.log.warning("%s: %s", job.names.corpus, notice)


if __name__ == "__main__":
    program.run(main, CorpusSettings)
