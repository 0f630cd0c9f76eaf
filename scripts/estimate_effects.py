"""Measure in one shard how changes of adjustments move the sizes of later ones.

The derivative comes from reverse mode, all sources of a target at once; finite interventions change
one adjustment at a time and run the model again.
"""

from pathlib import Path

from attnlag.errors import counted
from attnlag.interventions import effects, sampling
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import loading
from attnlag.model.decoder import decoder_of
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import passes
from attnlag.storage import tables


def main(job, settings: EffectsSettings):
    folder = Path(job.options.folder)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    tokens = sum(map(len, sequences.values()))
    table, decoder = effects.table([], settings.sign_draws), None
    if sequences:
        model = loading.load_model(
            folder,
            loading.choose_device(job.options.device),
            settings.dtype,
            attention=settings.attention_implementation,
            batch_tokens=job.options.batch_tokens,
            fast=settings.fast,
        )
        decoder = decoder_of(model, settings.modules, source["name"])
        table = effects.estimate(
            decoder,
            sequences,
            settings,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            changed_documents=sampling.chosen_documents(
                job.input.corpus, settings.finite_documents
            ),
        )
    made = passes.provenance_of(record, "effects", settings.model_dump(), decoder)
    tables.write_table(table, job.output.effects, made)
    documents = counted(len({document for document, _ in sequences}), "document")
    log.info(f"{record.names}: effects in {documents} of {counted(tokens, 'token')}")
