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
    upstream = tables.read_provenance(job.input.tokens)
    sequences = sampling.first_tokens(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    # A shard may have none of the documents. Then no model is loaded, and tables have no rows.
    decoder = trained_decoder(job, settings) if sequences else None
    record = provenance.provenance_of(upstream, "traced", settings, decoder)
    paths = catalogue.paths_of(
        ["sources", "source_parts", "sinks", "readout"], settings.sites, job.output
    )
    remarks = tracing.trace_into_files(decoder, settings.sites, sequences, paths, record)
    if settings.seed_of_weights is not None:
        trace_untrained(job, settings, upstream, sequences)
    tokens = sum(map(len, sequences.values()))
    # Several quantities may share a check.
    checks = list(dict.fromkeys(remarks.values()))
    log.info(f"{upstream.names}: {'; '.join([counted(tokens, 'token'), *checks])}")


def trace_untrained(job, settings, upstream, sequences):
    """Trace the model with initial weights of one scale, and write its tables."""
    decoder = untrained_decoder(job, settings) if sequences else None
    record = provenance.provenance_of(upstream, "traced", settings, decoder)
    source = verify_folder(Path(job.options.folder), "initial_weights")
    record["draw"] = initial_weights.facts_of(settings.scale, source["initial_weights"])
    paths = catalogue.paths_of(
        ["sources", "readout"], settings.sites, job.output, prefix="untrained_"
    )
    tracing.trace_into_files(decoder, settings.sites, sequences, paths, record)


def trained_decoder(job, settings):
    """Return the model with its head, run in plain torch."""
    return loading.load_decoder(
        Path(job.options.folder),
        tracing.in_plain_torch(settings),
        device=job.options.device,
        modules=settings.modules,
        head=True,
    )


def untrained_decoder(job, settings):
    """Return the model with initial weights of one scale, run in the same way."""
    (draw,) = initial_weights.untrained_decoders(
        Path(job.options.folder),
        tracing.in_plain_torch(settings),
        scales=[settings.scale],
        seed=settings.seed_of_weights,
        device=job.options.device,
        modules=settings.modules,
        # For the estimate of memory alone: sequences run one at a time.
        batch_tokens=settings.document_tokens,
        head=True,
    )
    return draw.decoder
