"""Measure in one shard which tokens write adjustments, and what these say about words.

Some documents are run again, one at a time, with an implementation of attention that gives its
weights. The model before any training runs over the same documents.
"""

import json
from pathlib import Path
from typing import Any

import attnlag.pipeline.program as program

import pyarrow as pa
import torch

from attnlag.adjustments import columns, traced_tables
from attnlag.adjustments.settings import TracingSettings
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import tracing
    from attnlag.interventions import sampling
    from attnlag.model import loading, random_weights, trying

    settings, folder = job.settings, Path(job.options.folder)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.tokens)
    sequences = sampling.beginnings(
        job.input.tokens, job.input.corpus, settings.documents, settings.document_tokens
    )
    device = loading.choose_device(job.options.device)
    torch.set_num_threads(program.usable_threads(job.threads))
    used: dict[str, str] = {}

    def traced(draw):
        """Return the tracer of the trained model, or with ``draw`` of one before training."""
        if draw is None:
            model: Any = loading.load_model(folder, device, settings.dtype, head=True)
        else:
            precision = loading.choose_dtype(folder, device, settings.dtype)
            model = random_weights.drawn_model(folder, draw).to(device, precision).eval()
        used.update(device=device.type, dtype=str(model.dtype).removeprefix("torch."))
        tracer = tracing.Tracer(model, settings.sites, settings.modules, source["name"])
        if mixers := trying.mixers_of(tracer.blocks):
            record["model"]["mixers"] = mixers
        for (document, window), ids in sequences.items():
            tracer.trace(document, window, ids)
        return tracer

    def write(parts, path, schema, said, **beside):
        stated = settings.model_dump() | {"used": used}
        made = tables.provenance(record, "traced", stated, "torch", "transformers") | beside
        whole = pa.concat_tables([schema.empty_table(), *parts]).unify_dictionaries()
        whole = whole.replace_schema_metadata({**tables.metadata(made), **said})
        with tables.parquet_writer(path, whole.schema, compression="zstd") as writer:
            writer.write_table(whole)
        return whole

    output, found = vars(job.output), []
    for draw in dict.fromkeys([None, settings.untrained]):
        tracer = traced(draw) if sequences else None
        of, beside = ("", {}) if draw is None else ("random_", {"draw": draw})
        if output["sources"]:
            said = {
                columns.TRACED_KEY: (tracer.sources_remark if tracer else "").encode(),
                columns.PAIRS_KEY: json.dumps(tracer.random_pairs() if tracer else {}).encode(),
            }
            parts = tracer.sources if tracer else []
            path = output[f"{of}sources"]
            whole = write(parts, path, traced_tables.SOURCES, said, **beside)
            if draw is None:
                written = traced_tables.written(whole)
                write([written], output["written"], written.schema, {})
        for site, path in zip(settings.sites, output[f"{of}readout"], strict=True):
            said = {columns.TRACED_KEY: (tracer.readout_remark if tracer else "").encode()}
            parts = tracer.readout[site] if tracer else []
            write(parts, path, traced_tables.READOUT, said, **beside)
        if tracer and draw is None:
            found = [tracer.sources_remark, tracer.readout_remark]
    words = "; ".join([counted(sum(map(len, sequences.values())), "token"), *found])
    program.log.info(f"{source['name']}, {record['corpus']['name']}: {words}")


if __name__ == "__main__":
    program.run(main, TracingSettings)
