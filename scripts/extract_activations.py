"""Run a model over one shard of tokens and store its adjustments, in one file per site.

The model is loaded once, and one forward pass serves all layers, sites and other quantities.
Memory does not grow with the shard.
"""

from pathlib import Path
from typing import Any

import attnlag.pipeline.program as program

import torch
from tqdm import tqdm

from attnlag.adjustments.outcomes import OF_A_PASS
from attnlag.adjustments.settings import ExtractionSettings
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables
from attnlag.storage.sequences import longest_sequence
from attnlag.storage.writing import room_for_shards


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import extraction, geometry, layout, recording, surprisal
    from attnlag.model import loading, trying
    from attnlag.model.hooks import STREAM

    settings, sites, folder = job.settings, job.settings.sites, Path(job.options.folder)
    torch.set_num_threads(job.threads)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    total = record["tokens"]["tokens"]
    name = f"{source['name']}, {record['corpus']['name']}"
    model: Any = loading.load_model(
        folder,
        loading.choose_device(job.options.device),
        settings.dtype,
        attention=settings.attention_implementation,
        batch_tokens=job.options.batch_tokens,
        longest=longest_sequence(job.input.tokens),
        head=settings.surprisal,
    )
    predictions = surprisal.Predictions(model, source["name"]) if settings.surprisal else None
    with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
        adjustments = extraction.Adjustments(
            model.base_model,
            sites=sites,
            modules=settings.modules,
            name=source["name"],
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            keep=settings.keep,
            fast=settings.fast,
            progress=bar.update,
            predictions=predictions,
            with_geometry=settings.geometry,
            with_heads=settings.heads,
        )
        if adjustments.remark:
            program.log.info(f"{source['name']}: {adjustments.remark}")
        if mixers := trying.mixers_of(adjustments.blocks):
            # Tables and figures of this model say so.
            record["model"]["mixers"] = mixers
        layers = len(adjustments.blocks)
        if settings.geometry:
            adjustments.sample = geometry.PairSample(
                tables.row_count([job.input.tokens]), layers, adjustments.width, [*sites, STREAM]
            )
        with_vectors, numbers = settings.keep == "vectors", layers * total
        per_number = adjustments.width * layout.STORED_BYTES[settings.storage_dtype]
        sizes = dict.fromkeys(job.output.sites, numbers * (per_number if with_vectors else 4))
        sizes |= dict.fromkeys(job.output.geometry, numbers * 4 * len(OF_A_PASS))
        sizes[job.output.stream] = numbers * 4
        room = room_for_shards(sizes, record.settings("tokens")["shards"])
        program.log.info(f"{job.output.sites[0].parent}: {room}")
        # A file's bytes do not depend on the sites beside it.
        recorded = settings.model_dump(exclude={"sites", "surprisal", "geometry", "heads"})
        recorded["used"] = loading.device_and_dtype(model)

        def record_of(values):
            """Return the record of a file, given the name of its values."""
            versions = "torch", "transformers"
            if values == surprisal.PREDICTIONS:
                return tables.provenance(record, values, recorded, *versions)
            site, _, kind = values.partition(": ")
            of_site = tables.provenance(record, "activations", recorded | {"site": site}, *versions)
            if with_vectors and site in sites and not kind:
                return of_site
            return tables.provenance(of_site, kind or "norms", {})

        files = recording.files_of(settings, job.output, sites)
        if settings.surprisal:
            files[surprisal.PREDICTIONS] = job.output.surprisal
        recording.record(job.input.tokens, adjustments, files, record_of, settings.storage_dtype)
    padding = 100 * (1 - adjustments.tokens / adjustments.cells)
    findings = f"block input + adjustments = block output within {adjustments.identity_error:.1e}"
    if settings.heads:
        findings += f"; {adjustments.heads_remark}"
    program.log.info(
        f"{name}: {counted(total, 'token')} x {layers} layers ({', '.join(sites)}) on "
        f"{model.device} (fast: {adjustments.fast}, {adjustments.computed_by}), {padding:.1f}% "
        f"padding; {findings}"
    )


if __name__ == "__main__":
    program.run(main, ExtractionSettings)
