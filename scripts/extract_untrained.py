"""Run a model with weights as before any training over some documents, as a control.

The weights are drawn at several scales. At the first, everything that is measured of the trained
model is measured, except predictions; at the others, only the norms of adjustments and the stream.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model import initial_weights
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, centred, extraction, provenance
from attnlag.quantities.settings import UntrainedSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensOfDocuments


def main(job, settings: UntrainedSettings):
    torch.set_num_threads(job.threads)
    record = tables.shared_provenance(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    sample = TokensOfDocuments(job.input.tokens, documents)
    name = f"{record.names}, random weights"
    decoder: Any = None
    measured = []
    total = sample.tokens * len(settings.scales)
    with TemporaryDirectory() as folder, extraction.progress_bar(name, total) as bar:
        for draw in drawn_models(job, settings, sample):
            # The first draw is never left out.
            decoder = draw.decoder or decoder
            paths = files_at(draw.scale, settings, job.output, Path(folder))
            record_of = partial(provenance.record_of_draw, record, settings, draw.facts, decoder)
            files = extraction.QuantityFiles(paths, record_of, settings.extraction.storage_dtype)
            if draw.left_out:
                log.info(f"{name}: scale {draw.scale} is left out: {draw.left_out}")
                layers = settings.extraction.layers or range(len(decoder.blocks))
                extraction.write_empty(layers, files)
            else:
                measure(job, settings.extraction, decoder, sample, files, bar)
                write_centred(files, settings.extraction.sites, job.output)
                measured.append(draw.scale)
    at = "scale" if len(measured) == 1 else "scales"
    log.info(
        f"{name}: {counted(sample.tokens, 'token')} of {counted(len(documents), 'document')} x "
        f"{counted(len(decoder.blocks), 'layer')}, at the {at} {', '.join(measured)}"
    )


def drawn_models(job, settings, sample):
    """Return the models with the weights of each scale, one after the other."""
    return initial_weights.untrained_decoders(
        Path(job.options.folder),
        settings.extraction,
        scales=settings.scales,
        seed=settings.seed,
        device=job.options.device,
        modules=settings.extraction.modules,
        batch_tokens=job.options.batch_tokens,
        longest=sample.longest,
    )


def measure(job, run, decoder, sample, files, bar):
    """Measure in the sample what the files are of, and write them."""
    extractor = extraction.Extractor.from_settings(
        decoder,
        run,
        list(dict.fromkeys(quantity for quantity, _ in files.paths)),
        batch_tokens=job.options.batch_tokens,
        threads=job.threads,
        progress=bar.update,
    )
    extraction.measure_into_files(sample.sequences, extractor, files)


def files_at(scale, settings, output, folder):
    """Return the files of a scale by quantity and site; ``folder`` takes those of no output."""
    run = settings.extraction
    # Files of a scale have its name; sites are in their order.
    norms = [path for path in output.norms if path.stem == f"untrained_{scale}"]
    (stream,) = [path for path in output.stream if path.stem == f"untrained_{scale}"]
    files = {("norms", site): path for site, path in zip(run.sites, norms, strict=True)}
    files["stream", ""] = stream
    if scale != settings.scales[0]:
        return files
    files |= catalogue.paths_of(run.quantities, run.sites, output)
    if output.centred_cosines:
        # Centred cosines come from stored vectors, as those of the trained model do.
        for site in run.sites:
            files["vectors", site] = folder / f"{site}.parquet"
    return files


def write_centred(files, sites, output):
    """Write the centred cosines of the vectors of a scale, where it has any."""
    for number, site in enumerate(sites):
        if ("vectors", site) in files.paths:
            cosines, distances = centred.cosines_of(files.paths["vectors", site])
            made = files.record_of("centred_cosines", site)
            tables.write_table(cosines, output.centred_cosines[number], made)
            tables.write_table(distances, output.distances[number], made)
