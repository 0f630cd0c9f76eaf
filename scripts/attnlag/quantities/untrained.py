"""Measuring a model with weights as before any training, at several scales of these weights.

At the first scale, everything that is measured of the trained model is measured, except
predictions; at the others, only the norms of adjustments and the stream.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attnlag.model.initial_weights import UntrainedDecoder
from attnlag.quantities import catalogue, centred, extraction, provenance
from attnlag.quantities.settings import UntrainedSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensOfDocuments

log = logging.getLogger("attnlag")


def measure_draws(
    draws: Iterable[UntrainedDecoder],
    sample: TokensOfDocuments,
    settings: UntrainedSettings,
    upstream: tables.Record,
    output: Any,
    *,
    batch_tokens: int,
    threads: int,
    progress: Callable[[int], object],
) -> list[str]:
    """Measure some documents with each draw of the weights, and write the files of its scale.

    Parameters
    ----------
    draws : iterable of UntrainedDecoder
        The models, one scale after the other; the first is never left out.
    sample : TokensOfDocuments
        The tokens of the documents.
    settings : UntrainedSettings
        What is measured, and at which scales.
    upstream : Record
        The provenance of the tokens.
    output : object
        Paths by the names that they have in the rule ``extract_untrained``.
    batch_tokens, threads, progress
        As of `extraction.Extractor`.

    Returns
    -------
    list of str
        The scales that were measured. The files of a scale that is left out have no rows.
    """
    run = settings.extraction
    name = f"{upstream.names}, random weights"
    decoder: Any = None
    measured = []
    with TemporaryDirectory() as folder:
        for draw in draws:
            # That of an earlier scale tells the layers of one that is left out.
            decoder = draw.decoder or decoder
            paths = files_at(draw.scale, settings, output, Path(folder))
            record_of = partial(provenance.record_of_draw, upstream, settings, draw.facts, decoder)
            files = extraction.QuantityFiles(paths, record_of, run.storage_dtype)
            if draw.left_out:
                log.info(f"{name}: scale {draw.scale} is left out: {draw.left_out}")
                extraction.write_empty(run.layers or range(len(decoder.blocks)), files)
                continue
            extractor = extraction.Extractor.from_settings(
                decoder,
                run,
                list(dict.fromkeys(quantity for quantity, _ in paths)),
                batch_tokens=batch_tokens,
                threads=threads,
                progress=progress,
            )
            extraction.measure_into_files(sample.sequences, extractor, files)
            write_centred(files, run.sites, output)
            measured.append(draw.scale)
    return measured


def files_at(
    scale: str, settings: UntrainedSettings, output: Any, folder: Path
) -> dict[tuple[str, str], Path]:
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


def write_centred(files: extraction.QuantityFiles, sites: list[str], output: Any) -> None:
    """Write the centred cosines of the vectors of a scale, where it has any."""
    for number, site in enumerate(sites):
        if ("vectors", site) in files.paths:
            cosines, distances = centred.cosines_of(files.paths["vectors", site])
            made = files.record_of("centred_cosines", site)
            tables.write_table(cosines, output.centred_cosines[number], made)
            tables.write_table(distances, output.distances[number], made)
