"""Measure in one shard which tokens write adjustments, and what these say about words.

Some documents are run again, one at a time, with an implementation of attention that gives its
weights. The model before any training runs over the same documents.
"""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import attnlag.pipeline.program as program

import pyarrow as pa
import torch

from attnlag.errors import counted
from attnlag.interventions import sampling
from attnlag.model.folder import verify_folder
from attnlag.quantities import columns, traced_tables
from attnlag.quantities.settings import TracingSettings
from attnlag.storage import tables

# What is traced in a shard without documents.
NOTHING = SimpleNamespace(
    sources=[], sinks=[], readout=defaultdict(list), sources_remark="", readout_remark=""
)


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.model import loading, random_weights, trying
    from attnlag.quantities import tracing

    settings, folder = job.settings, Path(job.options.folder)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    device = loading.choose_device(job.options.device)
    torch.set_num_threads(job.threads)
    recorded = settings.model_dump() | {"used": {}}

    def traced(seed):
        """Return what is traced in the trained model, or with a seed in one before training."""
        if seed is None:
            model = loading.load_model(folder, device, settings.dtype, head=True)
        else:
            loading.check_room_to_draw(folder, settings.document_tokens)
            precision = loading.choose_dtype(folder, device, settings.dtype)
            named = {"modules": settings.modules, "name": source["name"]}
            (draw,) = random_weights.draws(folder, [settings.scale], seed, **named)
            model = draw.model.to(device, precision).eval()
        recorded["used"] = loading.device_and_dtype(model)
        tracer = tracing.Tracer(model, settings.sites, settings.modules, source["name"])
        if mixers := trying.mixers_of(tracer.blocks):
            record["model"]["mixers"] = mixers
        for (document, window), ids in sequences.items():
            tracer.trace(document, window, ids)
        return tracer

    def write(tables_of_sequences, path, schema, metadata, **draw):
        table = pa.concat_tables([schema.empty_table(), *tables_of_sequences])
        table = table.unify_dictionaries()
        provenance = tables.provenance(record, "traced", recorded, "torch", "transformers") | draw
        schema = table.schema.with_metadata({**tables.metadata(provenance), **metadata})
        with tables.parquet_writer(path, schema, compression="zstd") as writer:
            writer.write_table(table.cast(schema))
        return table

    passes = [(None, job.output.sources, job.output.readout)]
    if settings.untrained is not None:
        passes.append((settings.untrained, job.output.random_sources, job.output.random_readout))
    proofs: list[str] = []
    for seed, path_of_sources, paths_of_readout in passes:
        tracer = traced(seed) if sequences else NOTHING
        draw: dict[str, dict] = {}
        if seed is not None:
            initial = source["initial_weights"]
            draw["draw"] = random_weights.facts_of(settings.scale, initial) | {"left_out": ""}
        if path_of_sources:
            metadata = {columns.TRACED_KEY: tracer.sources_remark.encode()}
            table = write(tracer.sources, path_of_sources, traced_tables.SOURCES, metadata, **draw)
            if seed is None:
                written = traced_tables.written(table)
                write([written], job.output.written, written.schema, {})
                if job.output.sinks:
                    schema = tracer.sinks[0].schema if tracer.sinks else columns.schema(0)
                    write(tracer.sinks, job.output.sinks, schema, metadata)
        metadata = {columns.TRACED_KEY: tracer.readout_remark.encode()}
        for site, path in zip(settings.sites, paths_of_readout, strict=True):
            write(tracer.readout[site], path, traced_tables.READOUT, metadata, **draw)
        if seed is None:
            proofs = [proof for proof in (tracer.sources_remark, tracer.readout_remark) if proof]
    findings = "; ".join([counted(sum(map(len, sequences.values())), "token"), *proofs])
    program.log.info(f"{source['name']}, {record['corpus']['name']}: {findings}")


if __name__ == "__main__":
    program.run(main, TracingSettings)
