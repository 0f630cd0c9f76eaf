"""Run a model with weights as before any training over some documents, as a control.

The weights are drawn at several scales. At the first, all is measured that is measured of the
trained model, except surprisal; at the others, norms alone.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model import initial_weights, language_models, loading
from attnlag.model.decoder import decoder_of
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, centred, columns, extraction, passes
from attnlag.quantities.settings import UntrainedSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensOfDocuments


def main(job, settings: UntrainedSettings):
    run = settings.extraction
    output = job.output
    folder = Path(job.options.folder)
    sites = run.sites
    torch.set_num_threads(job.threads)
    source = verify_folder(folder, "initial_weights")
    record = tables.shared_provenance(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    sample = TokensOfDocuments(job.input.tokens, documents)
    device = loading.choose_device(job.options.device)
    precision = loading.choose_dtype(folder, device, run.dtype)
    loading.check_room_to_draw(folder, job.options.batch_tokens, sample.longest)
    name = f"{record.names}, random weights"

    def record_of(draw, decoder, quantity, site):
        """Return the record of a file of one draw."""
        recorded = settings.model_dump() | {"site": site or quantity}
        made = passes.provenance_of(record, "untrained", recorded, decoder)
        return made | {"draw": draw.facts(source["initial_weights"])}

    measured = dict.fromkeys(["norms", *run.all_quantities()])
    measured.pop("vectors", None)
    norms = [*(("norms", site) for site in sites), ("stream", "")]
    further = len(settings.scales) - 1
    files_of_draws = [catalogue.paths_of(measured, sites, output)]
    for number in range(further):
        paths = [*output.scales[number::further], output.scales_stream[number]]
        files_of_draws.append(dict(zip(norms, paths, strict=True)))
    config = language_models.config_of(folder)
    draws = initial_weights.draws(
        language_models.with_fused_gelu(config) if run.fast else config,
        settings.scales,
        settings.seed,
        attention=run.attention_implementation,
        modules=run.modules,
        name=source["name"],
    )
    total = sample.tokens * len(settings.scales)
    made_at: list[str] = []
    decoder: Any = None
    with (
        TemporaryDirectory() as place,
        extraction.progress_bar(name, total) as bar,
    ):
        # Centred cosines come from stored vectors, as those of the trained model do.
        if output.centred_cosines:
            for site in sites:
                files_of_draws[0]["vectors", site] = Path(place, f"{site}.parquet")
        for draw, files in zip(draws, files_of_draws, strict=True):
            if draw.left_out:
                log.info(f"{name}: scale {draw.scale} is left out: {draw.left_out}")
                layers = range(len(decoder.blocks)) if run.layers is None else run.layers
                empty = columns.schema(layers).empty_table()
                for key, path in files.items():
                    tables.write_table(empty, path, record_of(draw, decoder, *key))
                continue
            model = draw.model.base_model.to(device, precision).eval()
            made_at.append(draw.scale)
            decoder = decoder_of(model, run.modules, source["name"])
            extractor = extraction.Extractor(
                decoder,
                quantities=list(dict.fromkeys(quantity for quantity, _ in files)),
                sites=sites,
                layers=run.layers,
                batch_tokens=job.options.batch_tokens,
                threads=job.threads,
                fast=run.fast,
                progress=bar.update,
            )
            quantity_files = extraction.QuantityFiles(
                files, partial(record_of, draw, decoder), run.storage_dtype
            )
            extraction.record(sample.sequences, extractor, quantity_files)
            for number, site in enumerate(sites):
                if ("vectors", site) in files:
                    cosines, distances = centred.cosines_of(files["vectors", site])
                    made = record_of(draw, decoder, "centred_cosines", site)
                    tables.write_table(cosines, output.centred_cosines[number], made)
                    tables.write_table(distances, output.distances[number], made)
    log.info(
        f"{name}: {counted(sample.tokens, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(len(decoder.blocks), 'layer')}, at the {'scales' if made_at[1:] else 'scale'} "
        f"{', '.join(made_at)}"
    )
