"""Measure in one shard which tokens write adjustments, and what these say about words.

Some documents are run again, one at a time, with an implementation of attention that gives its
weights. The model before any training runs over the same documents.
"""

from pathlib import Path
from types import SimpleNamespace

import torch

from attnlag.errors import counted
from attnlag.interventions import sampling
from attnlag.model import initial_weights, loading
from attnlag.model.decoder import decoder_of
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.quantities import catalogue, passes, traced_tables, tracing
from attnlag.quantities.settings import TracingSettings
from attnlag.storage import tables


def main(job, settings: TracingSettings):
    folder = Path(job.options.folder)
    needed = ["initial_weights"] if job.output.random_readout else []
    source = verify_folder(folder, *needed)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    device = loading.choose_device(job.options.device)
    torch.set_num_threads(job.threads)

    def model_of(seed):
        """Return the trained model, or with a seed one before training."""
        if seed is None:
            return loading.load_model(folder, device, settings.dtype, head=True)
        loading.check_room_to_draw(folder, settings.document_tokens)
        precision = loading.choose_dtype(folder, device, settings.dtype)
        named = {"modules": settings.modules, "name": source["name"]}
        (draw,) = initial_weights.draws(folder, [settings.scale], seed, **named)
        return draw.model.to(device, precision).eval()

    decoder, checks = None, []
    random = {"sources": job.output.random_sources, "readout": job.output.random_readout}
    untrained = SimpleNamespace(**random, source_parts=[], sinks=[])
    for seed, output in ((None, job.output), (settings.untrained, untrained)):
        files = catalogue.paths_of(vars(untrained), settings.sites, output)
        found, remarks = traced_tables.tables(settings.sites), {}
        if files and sequences:
            model = model_of(seed)
            decoder = decoder_of(model, settings.modules, source["name"])
            tracer = tracing.Tracer(decoder, settings.sites)
            tracer.trace(sequences)
            found, remarks = tracer.tables(), tracer.remarks()
        found["source_parts", "attention"] = traced_tables.written(found["sources", "attention"])
        made = passes.provenance_of(record, "traced", settings.model_dump(), decoder)
        if seed is None:
            checks = list(dict.fromkeys(remarks.values()))
        else:
            made["draw"] = initial_weights.facts_of(settings.scale, source["initial_weights"])
        for (quantity, site), path in files.items():
            # The check, or why there are no rows.
            remark = {"check": remarks[quantity]} if quantity in remarks else {}
            tables.write_table(found[quantity, site], path, made | remark)
    findings = "; ".join([counted(sum(map(len, sequences.values())), "token"), *checks])
    log.info(f"{record.names}: {findings}")
