"""Measure in one shard which tokens write adjustments, and what these say about words.

Some documents are run again, one at a time, with an implementation of attention that gives its
weights. The model before any training runs over the same documents.
"""

from pathlib import Path

import attnlag.pipeline.program as program

import torch

from attnlag.errors import counted
from attnlag.interventions import sampling
from attnlag.model.folder import verify_folder
from attnlag.quantities import columns, traced_tables
from attnlag.quantities.settings import TracingSettings
from attnlag.storage import tables


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
        """Return what is traced in the trained model, or with a seed in one before training.

        These are tables by quantity and site, remarks on quantities, and the record of the draw.
        """
        made = {}
        if seed is not None:
            made["draw"] = random_weights.facts_of(settings.scale, source["initial_weights"])
        if not sequences:
            return traced_tables.tables(settings.sites), {}, made
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
        tracer.trace(sequences)
        return tracer.tables(), tracer.remarks(), made

    def write(table, path, remark, made):
        provenance = tables.provenance(record, "traced", recorded, "torch", "transformers") | made
        metadata = {**tables.metadata(provenance), columns.TRACED_KEY: remark.encode()}
        schema = table.schema.with_metadata(metadata)
        with tables.parquet_writer(path, schema, compression="zstd") as writer:
            writer.write_table(table.cast(schema))

    passes = [(None, job.output.sources, job.output.readout)]
    if settings.untrained is not None:
        passes.append((settings.untrained, job.output.random_sources, job.output.random_readout))
    proofs: list[str] = []
    for seed, path_of_sources, paths_of_readout in passes:
        found, remarks, made = traced(seed)
        files = {
            ("readout", site): path
            for site, path in zip(settings.sites, paths_of_readout, strict=True)
        }
        if path_of_sources:
            files["sources", "attention"] = path_of_sources
        if seed is None:
            proofs = list(dict.fromkeys(remarks.values()))
            if path_of_sources:
                found["written", "attention"] = traced_tables.written(found["sources", "attention"])
                files["written", "attention"] = job.output.written
            if job.output.sinks:
                files["sinks", "attention"] = job.output.sinks
        for (quantity, site), path in files.items():
            write(found[quantity, site], path, remarks.get(quantity, ""), made)
    findings = "; ".join([counted(sum(map(len, sequences.values())), "token"), *proofs])
    program.log.info(f"{source['name']}, {record['corpus']['name']}: {findings}")


if __name__ == "__main__":
    program.run(main, TracingSettings)
