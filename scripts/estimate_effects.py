"""Measure in one shard how changes of adjustments move the norms of later ones.

The derivative comes from reverse mode, all sources of a target at once; finite interventions change
one adjustment at a time and run the model again.
"""

from pathlib import Path

import torch

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.interventions import effects, sampling
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import loading
from attnlag.pipeline.program import log
from attnlag.quantities import provenance
from attnlag.storage import tables


def main(job, settings: EffectsSettings):
    torch.set_num_threads(job.threads)
    upstream = tables.read_provenance(job.input.tokens)
    sequences = sampling.first_tokens(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    decoder = None
    # A shard may have none of the documents; its table has no rows.
    if sequences:
        decoder = loading.load_decoder(
            Path(job.options.folder),
            settings,
            device=job.options.device,
            modules=settings.modules,
            batch_tokens=job.options.batch_tokens,
        )
    table = effects.estimate(
        decoder,
        sequences,
        settings,
        batch_tokens=job.options.batch_tokens,
        threads=job.threads,
        # Finite interventions take a pass each, so they are made in fewer documents.
        documents_to_change=first_of_groups(job.input.corpus, settings.finite_documents),
    )
    record = provenance.provenance_of(upstream, "effects", settings, decoder)
    tables.write_table(table, job.output.effects, record)
    # Sequences have the document and its window as keys.
    documents = counted(len({document for document, _ in sequences}), "document")
    tokens = counted(sum(map(len, sequences.values())), "token")
    log.info(f"{upstream.names}: effects in {documents} ({tokens})")
