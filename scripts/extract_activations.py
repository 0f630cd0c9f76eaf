"""Run a model over one shard of tokens and store its adjustments, in one file per site.

The model is loaded once, and one forward pass serves all layers and sites. Rows are written in
corpus order, one row group at a time, so that memory does not grow with the shard. With ``keep:
norms``, the vectors are reduced to their L2 norms and never stored. The residual stream that each
block receives is stored as norms only. On request, the same pass gives the directions of the
adjustments, the norms of attention heads and the surprisal of each token; the attention of heads to
first tokens comes from another pass, over the beginnings of some sequences.
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
from attnlag.storage.writing import room_for_shards


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import extraction, geometry, heads, layout, recording, sinks, surprisal
    from attnlag.model import loading, trying
    from attnlag.model.hooks import STREAM

    settings, folder = job.settings, Path(job.options.folder)
    wanted = settings.sites
    threads = program.usable_threads(job.threads)
    torch.set_num_threads(threads)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    total = record["tokens"]["tokens"]
    vectors, stored = settings.keep == "vectors", settings.storage_dtype or "float32"
    # A file's bytes do not depend on the sites beside it.
    beside = ("sites", "surprisal", "geometry", "heads")
    recorded = {key: value for key, value in settings.model_dump().items() if key not in beside}
    device = loading.choose_device(job.options.device)
    model: Any = loading.load_model(
        folder,
        device,
        settings.dtype,
        attention=settings.attention_implementation,
        batch_tokens=job.options.batch_tokens,
        head=settings.surprisal,
    )
    # Both may be "auto" in the settings.
    recorded["used"] = {"device": device.type, "dtype": str(model.dtype).removeprefix("torch.")}
    predictions = surprisal.Predictions(model, source["name"]) if settings.surprisal else None
    model = model.base_model if settings.surprisal else model
    name = f"{source['name']}, {record['corpus']['name']}"
    with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
        adjustments = extraction.Adjustments(
            model,
            sites=wanted,
            modules=settings.modules,
            name=source["name"],
            batch_tokens=job.options.batch_tokens,
            threads=threads,
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
        turns = {geometry.name_of(site): site for site in wanted if settings.geometry}
        outputs = dict(zip([*wanted, STREAM], [*job.output.sites, job.output.stream], strict=True))
        outputs |= dict(zip(turns, job.output.geometry, strict=True))
        if settings.heads:
            outputs[heads.NAME] = job.output.heads
        if predictions is not None:
            outputs[surprisal.PREDICTIONS] = job.output.surprisal[0]
        if turns:
            sequences = tables.row_count([job.input.tokens])
            names = [*wanted, STREAM]
            adjustments.sample = geometry.PairSample(sequences, layers, adjustments.width, names)
        number = layout.STORED_BYTES[stored]
        row = layers * (adjustments.width * number if vectors else 4) * total
        sizes = dict.fromkeys(job.output.sites, row)
        # Numbers per token are negligible beside vectors.
        if not vectors:
            sizes |= {job.output.stream: row}
            sizes |= dict.fromkeys(job.output.geometry, row * len(OF_A_PASS))
        found = room_for_shards(sizes, record.settings("tokens")["shards"])
        program.log.info(f"{job.output.sites[0].parent}: {found}")

        def record_of(name):
            versions = "torch", "transformers"
            if name == surprisal.PREDICTIONS:
                return tables.provenance(record, name, recorded, *versions)
            site = "attention" if name == heads.NAME else turns.get(name, name)
            of_site = tables.provenance(record, "activations", recorded | {"site": site}, *versions)
            if vectors and name in wanted:
                return of_site
            kind = "heads" if name == heads.NAME else "geometry" if name in turns else "norms"
            return tables.provenance(of_site, kind, {})

        recording.record(job.input.tokens, adjustments, outputs, record_of, stored)
    sunk = ""
    if settings.heads:
        made = tables.provenance(record, "activations", recorded | {"site": "attention"}, "torch")
        made = tables.provenance(made, "sinks", {})
        sunk = sinks.write(job.input.tokens, adjustments, job.output.sinks, made)
    padding = 100 * (1 - adjustments.tokens / adjustments.cells)
    of_heads = f"; {adjustments.heads_remark}; {sunk}" if settings.heads else ""
    program.log.info(
        f"{name}: {counted(total, 'token')} x {layers} layers ({', '.join(wanted)}) on {device} "
        f"(fast: {adjustments.fast}, {adjustments.computed_by}), {padding:.1f}% padding; block "
        f"input + adjustments = block output within {adjustments.identity_error:.1e}{of_heads}"
    )


if __name__ == "__main__":
    program.run(main, ExtractionSettings)
