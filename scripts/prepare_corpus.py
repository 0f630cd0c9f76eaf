"""Read the files of a corpus into one Parquet table: document, text and group.

This stage reports mistakes in the data, all at once, before any model is loaded.
"""

import attnlag.pipeline.program as program

from attnlag.corpus import documents
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import counted


def main(job):
    name = job.names.corpus
    read = documents.read_documents(job.input.files, job.settings)
    tally = documents.write_corpus(read, job.settings, name, job.output.corpus)
    program.log.info(f"{name}: {tally.summary}")
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
