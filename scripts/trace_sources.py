"""Measure in one shard which tokens write adjustments, and what these say about words.

Some documents are run again, one at a time, with an implementation of attention that gives its
weights. The model before any training runs them too, if that control is asked for.
"""

from pathlib import Path

import torch

from attnlag.errors import counted
from attnlag.interventions import sampling
from attnlag.model import initial_weights, loading
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, provenance, tracing
from attnlag.quantities.settings import TracingSettings
from attnlag.storage import tables


def main(job, settings: TracingSettings):
    torch.set_num_threads(job.threads)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    decoder = None
    # A shard may have none of the documents; its tables have no rows.
    if sequences:
        decoder = loading.load_decoder(
            Path(job.options.folder),
            tracing.running_of(settings),
            device=job.options.device,
            modules=settings.modules,
            head=True,
        )
    made = provenance.provenance_of(record, "traced", settings, decoder)
    paths = catalogue.paths_of(
        ["sources", "source_parts", "sinks", "readout"], settings.sites, job.output
    )
    remarks = tracing.trace_into_files(decoder, settings.sites, sequences, paths, made)
    if settings.seed_of_weights is not None:
        trace_untrained(job, settings, record, sequences)
    tokens = sum(map(len, sequences.values()))
    checks = list(dict.fromkeys(remarks.values()))
    log.info(f"{record.names}: {'; '.join([counted(tokens, 'token'), *checks])}")


def trace_untrained(job, settings, record, sequences):
    """Trace the model with initial weights of one scale, and write its tables."""
    folder = Path(job.options.folder)
    decoder = None
    if sequences:
        (draw,) = initial_weights.untrained_decoders(
            folder,
            tracing.running_of(settings),
            scales=[settings.scale],
            seed=settings.seed_of_weights,
            device=job.options.device,
            modules=settings.modules,
            batch_tokens=settings.document_tokens,
            head=True,
        )
        decoder = draw.decoder
    made = provenance.provenance_of(record, "traced", settings, decoder)
    source = verify_folder(folder, "initial_weights")
    made["draw"] = initial_weights.facts_of(settings.scale, source["initial_weights"])
    paths = catalogue.paths_of(
        ["sources", "readout"], settings.sites, job.output, prefix="untrained_"
    )
    tracing.trace_into_files(decoder, settings.sites, sequences, paths, made)
