"""Run an earlier checkpoint of a model over some documents, as a control.

Norms of adjustments and of the stream are stored, and predictions where they are measured of the
final weights.
"""

from functools import partial
from pathlib import Path

import torch

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model import loading
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, extraction, provenance
from attnlag.quantities.settings import RevisionSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensOfDocuments


def main(job, settings: RevisionSettings):
    torch.set_num_threads(job.threads)
    run = settings.extraction
    folder = Path(job.options.folder)
    source = verify_folder(folder, "step")
    upstream = tables.shared_provenance(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    sample = TokensOfDocuments(job.input.tokens, documents)
    quantities = catalogue.measured_names(run.keep, run.quantities)
    decoder = loading.load_decoder(
        folder,
        run,
        device=job.options.device,
        modules=run.modules,
        batch_tokens=job.options.batch_tokens,
        longest=sample.longest,
        head=catalogue.need_head(quantities),
    )
    name = f"{upstream.names}, step {source['step']}"
    with extraction.progress_bar(name, sample.tokens) as bar:
        extractor = extraction.Extractor.from_settings(
            decoder,
            run,
            quantities,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            progress=bar.update,
        )
        files = extraction.QuantityFiles(
            paths=catalogue.paths_of(quantities, run.sites, job.output),
            record_of=partial(provenance.record_of_revision, upstream, settings, decoder, source),
        )
        extraction.measure_into_files(sample.sequences, extractor, files)
    log.info(f"{name}: {counted(len(documents), 'document')}, {extractor.summary()}")
