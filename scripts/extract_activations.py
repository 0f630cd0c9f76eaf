"""Run a model over one shard of tokens, and store what is measured: a file per quantity.

Vectors are adjustments: what attention, or another site, adds to the residual stream of a token.
What depends on the site, such as vectors, has a file per site. The model is loaded once, and one
forward pass serves all layers, sites and quantities. Memory does not grow with the shard. Where
vectors are kept, the pass stores no norms of adjustments; `compute_norms` computes them from the
vectors.
"""

from pathlib import Path

import torch

from attnlag.model import loading
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, extraction, provenance
from attnlag.quantities.settings import ExtractionSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensFile
from attnlag.storage.writing import room_for_shards


def main(job, settings: ExtractionSettings):
    torch.set_num_threads(job.threads)
    shard = TokensFile(job.input.tokens)
    upstream = tables.read_provenance(shard.path)
    quantities = catalogue.measured_names(settings.keep, settings.quantities)
    decoder = decoder_for_shard(job, settings, shard, quantities)
    paths = catalogue.paths_of(quantities, settings.sites, job.output)

    def record_of(quantity, site):
        return provenance.record_of_shard(upstream, settings, decoder, quantity, site)

    files = extraction.QuantityFiles(paths, record_of, settings.storage_dtype)
    with extraction.progress_bar(upstream.names, upstream.tokens) as bar:
        extractor = extraction.Extractor.from_settings(
            decoder,
            settings,
            quantities,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            progress=bar.update,
        )
        # The geometry draws random pairs of tokens among all sequences of the shard.
        extractor.expect_sequences(shard.count)
        check_room_on_disk(files, extractor, upstream)
        extraction.measure_into_files(shard.sequences, extractor, files)
    log.info(f"{upstream.names}: {extractor.summary()}")


def decoder_for_shard(job, settings, shard, quantities):
    """Return the model for the sequences of a shard, with its head if a quantity needs it."""
    decoder = loading.load_decoder(
        Path(job.options.folder),
        settings,
        device=job.options.device,
        modules=settings.modules,
        batch_tokens=job.options.batch_tokens,
        longest=shard.longest,
        head=catalogue.need_head(quantities),
    )
    if decoder.remark:
        log.info(f"{decoder.name}: {decoder.remark}")
    return decoder


def check_room_on_disk(files, extractor, upstream):
    """State what all shards will write and what room there is; too little is a UserError."""
    sizes = files.bytes_at_most(extractor, upstream.tokens)
    log.info(room_for_shards(sizes, upstream.settings("tokens")["shards"]))
