"""Give what each attention head writes and attends to, and the regression of its log norm.

In a large corpus, all but the attention to first tokens is that of a sample of documents.
"""

import tempfile
from pathlib import Path

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.quantities import head_shares
from attnlag.quantities.columns import HEADS_KEY, TRACED_KEY, layers_in
from attnlag.regression.beyond import lags_of_parts
from attnlag.regression.estimation import samples
from attnlag.regression.settings import HeadsSettings
from attnlag.storage import tables


def main(job):
    settings, sample = job.settings, samples.Sample(job.input.heads)
    documents = sample.documents if sample.end else None
    group_of = group_by_document(job.input.corpus) if settings.cluster == "group" else None
    lags = lags_of_parts.NO_LAGS.copy()
    with tempfile.TemporaryDirectory() as folder:
        of_heads, norms, with_sinks = job.input.heads, job.input.norms, job.input.heads
        if documents is not None:
            in_sinks: set[str] = set()
            for path in job.input.sinks:
                in_sinks.update(pq.read_table(path, columns=["document"])["document"].to_pylist())
            of_heads = samples.copied(job.input.heads, documents, Path(folder, "heads"))
            norms = samples.copied(job.input.norms, documents, Path(folder, "norms"))
            with_sinks = samples.copied(job.input.heads, sorted(in_sinks), Path(folder, "sinks"))
        table = head_shares.table(
            of_heads, norms, job.input.sinks, with_sinks, drop_first=settings.drop_first
        )
        if settings.design is not None:
            lags = lags_of_parts.of_files(
                of_heads, norms, vars(job.input), documents, settings, group_of=group_of
            )
    table["sampled"] = documents is not None
    shared = tables.of_all_shards(job.input.heads)
    proof = pq.read_metadata(job.input.heads[0]).metadata[HEADS_KEY].decode()
    traced = None
    if job.input.sinks:
        traced = pq.read_metadata(job.input.sinks[0]).metadata[TRACED_KEY].decode()
    record = tables.provenance(
        shared,
        "heads_table",
        settings,
        "numpy",
        "scipy",
        sample_end=sample.end,
        sampled=len(documents or ()),
        proof=proof,
        traced=traced,
    )
    names = {"site": "attention", "regression": settings.regression}
    tables.write_results({job.output.head_coefficients: lags}, record, **names)
    name = tables.write_results({job.output.heads: table}, record, site="attention")
    layers = len(layers_in(pq.read_schema(job.input.heads[0])))
    program.log.info(f"{name}: heads of {counted(layers, 'layer')}")


if __name__ == "__main__":
    program.run(main, HeadsSettings)
