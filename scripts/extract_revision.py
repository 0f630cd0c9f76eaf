"""Run an earlier checkpoint of a model over some documents, as a control.

Norms of adjustments and of the stream are stored, and predictions where they are measured of the
final weights.
"""

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from attnlag.corpus.documents import first_of_groups, group_by_document
from attnlag.errors import counted
from attnlag.model import loading
from attnlag.model.decoder import decoder_of
from attnlag.model.folder import digest_of, verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, extraction, passes
from attnlag.quantities.settings import RevisionSettings
from attnlag.storage import tables
from attnlag.storage.sequences import stored_sequences


def main(job, settings: RevisionSettings):
    run = settings.extraction
    folder = Path(job.options.folder)
    torch.set_num_threads(job.threads)
    source = verify_folder(folder, "step")
    files = source["files"].items()
    digests = {name: entry["sha256"] for name, entry in files if name.endswith(".safetensors")}
    weights = digest_of(digests)
    record = tables.of_all_shards(job.input.tokens)
    documents = set(group_by_document(job.input.corpus))
    if settings.documents != "all":
        documents = set(first_of_groups(job.input.corpus, settings.documents))
    sequences = []
    for path in job.input.tokens:
        for sequence in stored_sequences(path):
            if sequence.document in documents:
                sequences.append(sequence)
    lengths = [len(sequence.ids) for sequence in sequences]
    model: Any = loading.load_model(
        folder,
        loading.choose_device(job.options.device),
        run.dtype,
        attention=run.attention_implementation,
        batch_tokens=job.options.batch_tokens,
        longest=max(lengths, default=0),
        head="surprisal" in run.quantities,
        fast=run.fast,
    )
    quantities = ["norms", "stream", *run.quantities]
    name = f"{record.names}, step {source['step']}"
    total = sum(lengths)
    with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
        decoder = decoder_of(model, run.modules, source["name"])
        extractor = extraction.Extractor(
            decoder,
            quantities=quantities,
            sites=run.sites,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            fast=run.fast,
            progress=bar.update,
        )

        def record_of(quantity, site):
            """Return the record of a file."""
            recorded = settings.model_dump() | {"site": site or quantity}
            made = passes.provenance_of(record, "revision", recorded, decoder)
            checkpoint = {"step": source["step"], "revision": source["checkpoint"]}
            return made | {"checkpoint": checkpoint | {"weights": weights}}

        paths = catalogue.paths_of(quantities, run.sites, job.output)
        extraction.record(sequences, extractor, paths, record_of)
    log.info(
        f"{name}: {counted(total, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(len(decoder.blocks), 'layer')}; block input + adjustments = block output within "
        f"{extractor.identity_error:.1e}"
    )
