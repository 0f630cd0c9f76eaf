"""Read the files of a corpus into one Parquet table: document, text and group.

This stage reports mistakes in the data, all at once, before any model is loaded.
"""

import attnlag.pipeline.program as program

from attnlag.corpus import documents
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import counted
from attnlag.storage import tables


def main(job):
    settings, name, tally = job.settings, job.names.corpus, documents.Tally()
    schema = documents.schema_of(settings)
    counted_documents = tally.counting(documents.read_documents(job.input.files, settings))
    batches = documents.in_batches(counted_documents)
    tables.write_parts(
        (documents.corpus_table(batch, schema) for batch in batches),
        schema,
        job.output.corpus,
        lambda: documents.corpus_record(name, tally, settings),
    )
    program.log.info(documents.corpus_summary(name, tally))
    if tally.notice:
        program.log.warning(f"{name}: {tally.notice}")
    if tally.documents < job.options.clusters_needed:
        lost = "document effects and " * (tally.documents == 1)
        program.log.warning(
            f"{name}: {counted(tally.documents, 'document')}: too few to cluster errors by "
            f"({job.options.clusters_needed} are needed), so they are HAC errors within sequences "
            f"(Newey-West), without {lost}the half-panel correction; intervals say nothing about "
            "other texts"
        )


if __name__ == "__main__":
    program.run(main, CorpusSettings)
