"""Run a model over one shard of tokens and store what is measured, a file per quantity and site.

The model is loaded once, and one forward pass serves all layers, sites and quantities. Memory does
not grow with the shard. Where vectors are kept, the pass stores no norms of adjustments;
`compute_norms` computes them from the vectors.
"""

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from attnlag.errors import counted
from attnlag.model import loading
from attnlag.model.decoder import decoder_of
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, extraction, formats, passes
from attnlag.quantities.settings import ExtractionSettings
from attnlag.storage import tables
from attnlag.storage.sequences import stored_sequences
from attnlag.storage.writing import room_for_shards


def main(job, settings: ExtractionSettings):
    sites, folder = settings.sites, Path(job.options.folder)
    torch.set_num_threads(job.threads)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    total = record["tokens"]["tokens"]
    quantities = settings.all_quantities()
    lengths = (len(sequence.ids) for sequence in stored_sequences(job.input.tokens))
    model: Any = loading.load_model(
        folder,
        loading.choose_device(job.options.device),
        settings.dtype,
        attention=settings.attention_implementation,
        batch_tokens=job.options.batch_tokens,
        longest=max(lengths, default=0),
        head="surprisal" in settings.quantities,
        fast=settings.fast,
    )
    with tqdm(total=total, unit="token", unit_scale=True, desc=f"{record.names}: tokens") as bar:
        decoder = decoder_of(model, settings.modules, source["name"])
        extractor = extraction.Extractor(
            decoder,
            quantities=quantities,
            sites=sites,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            fast=settings.fast,
            progress=bar.update,
        )
        if decoder.remark:
            log.info(f"{source['name']}: {decoder.remark}")
        layers = len(decoder.blocks)
        paths = catalogue.paths_of(quantities, sites, job.output)
        sizes = {}
        for key, path in paths.items():
            computation = extractor.computations[key]
            computation.expect(tables.row_count([job.input.tokens]))
            sizes[path] = total * formats.bytes_per_token(computation, settings.storage_dtype)
        room = room_for_shards(sizes, record.settings("tokens")["shards"])
        log.info(f"{next(iter(paths.values())).parent}: {room}")
        # A file's bytes do not depend on the quantities and sites beside it.
        recorded = settings.model_dump(exclude={"sites", "quantities"})

        def record_of(quantity, site):
            """Return the record of a file: of activations, or as if made from their file."""
            if quantity == "surprisal":
                return passes.provenance_of(record, quantity, recorded, decoder)
            of_site = recorded | {"site": site or quantity}
            made = passes.provenance_of(record, "activations", of_site, decoder)
            stage = {"vectors": "", "stream": "norms"}.get(quantity, quantity)
            return tables.provenance(made, stage, {}) if stage else made

        sequences = stored_sequences(job.input.tokens)
        extraction.record(sequences, extractor, paths, record_of, settings.storage_dtype)
    padding = 100 * (1 - extractor.tokens / extractor.padded_tokens)
    findings = [f"block input + adjustments = block output within {extractor.identity_error:.1e}"]
    findings += [each.remark for each in extractor.computations.values() if each.remark]
    log.info(
        f"{record.names}: {counted(total, 'token')} x {layers} layers ({', '.join(sites)}) on "
        f"{model.device} ({extractor.computed_by}), {padding:.1f}% "
        f"padding; {'; '.join(findings)}"
    )
