"""Read the files of a corpus into one Parquet table: document, text and group.

All later stages read this table, so they do not depend on the format of the files. This stage also
reports mistakes in the data, all at once and each with its file and line, before any model is
loaded.
"""

import attnlag.pipeline.program as program

from attnlag.corpus import documents
from attnlag.corpus.settings import CorpusSettings
from attnlag.pipeline import few_documents
from attnlag.storage import tables


def main(job):
    """Read, check and write one corpus, some documents at a time."""
    settings, name, tally = job.settings, job.names.corpus, documents.Tally()
    schema = documents.schema_of(settings)
    read = tally.counting(documents.read_documents(job.input.files, settings))
    tables.write_parts(
        (documents.corpus_table(batch, schema) for batch in documents.in_batches(read)),
        schema,
        job.output.corpus,
        lambda: documents.corpus_record(name, tally, settings),
    )
    program.log.info(documents.corpus_summary(name, tally))
    few = few_documents.notice(tally.documents, job.options.covariance)
    for notice in filter(None, (tally.notice, few)):
        program.log.warning(f"{name}: {notice}")


if __name__ == "__main__":
    program.run(main, CorpusSettings)
