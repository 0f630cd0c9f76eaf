"""Read the files of a corpus into one Parquet table: document, text and group.

This stage reports mistakes in the data, all at once, before any model is loaded.
"""

import json

from attnlag.corpus import documents
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import counted
from attnlag.pipeline.program import log


def main(job, settings: CorpusSettings):
    name = job.names.corpus
    # Documents are read while they are written, one at a time.
    read = documents.read_documents(job.input.files, settings)
    dataset = None
    for source in job.input.source:  # of a data set of the hub
        dataset = json.loads(source.read_text(encoding="utf-8"))
    tally = documents.write_corpus(read, settings, name, job.output.corpus, dataset)
    log.info(f"{name}: {tally.summary}")
    if tally.notice:
        log.warning(f"{name}: {tally.notice}")
    if tally.documents < job.options.clusters_needed:
        lost = "the half-panel correction"
        if tally.documents == 1:
            lost = f"document effects and {lost}"
        log.warning(
            f"{name}: {counted(tally.documents, 'document')}: too few to cluster errors by "
            f"({job.options.clusters_needed} are needed), so they are HAC errors within sequences "
            f"(Newey-West), without {lost}; intervals say nothing about other texts"
        )
