"""Run a model with weights as before any training over some documents, as a control.

The weights are drawn at several scales. At the first, everything that is measured of the trained
model is measured, except predictions; at the others, only the norms of adjustments and the stream.
"""

from pathlib import Path

import torch

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model import initial_weights
from attnlag.pipeline.program import log
from attnlag.quantities import extraction, untrained
from attnlag.quantities.settings import UntrainedSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokensOfDocuments


def main(job, settings: UntrainedSettings):
    torch.set_num_threads(job.threads)
    upstream = tables.shared_provenance(job.input.tokens)
    documents = first_of_groups(job.input.corpus, settings.documents)
    sample = TokensOfDocuments(job.input.tokens, documents)
    # One model is in memory at a time: each is drawn when its turn comes.
    draws = initial_weights.untrained_decoders(
        Path(job.options.folder),
        settings.extraction,
        scales=settings.scales,
        seed=settings.seed,
        device=job.options.device,
        modules=settings.extraction.modules,
        batch_tokens=job.options.batch_tokens,
        longest=sample.longest,
    )
    name = f"{upstream.names}, random weights"
    total = sample.tokens * len(settings.scales)
    with extraction.progress_bar(name, total) as bar:
        scales = untrained.measure_draws(
            draws,
            sample,
            settings,
            upstream,
            job.output,
            batch_tokens=job.options.batch_tokens,
            threads=job.threads,
            progress=bar.update,
        )
    at = "scale" if len(scales) == 1 else "scales"
    log.info(
        f"{name}: {counted(sample.tokens, 'token')} of {counted(len(documents), 'document')}, "
        f"at the {at} {', '.join(scales)}"
    )
