#!/usr/bin/env python3
"""Give what each attention head writes and attends to, and the regression of its log norm.

The regressions stand beside their controls, and beside those of layers with and without the tokens
at their floor. In a large corpus, all but the attention to first tokens is that of a sample of
documents.
"""

import tempfile
from pathlib import Path

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.adjustments.columns import HEADS_KEY, SINKS_KEY, layers_in
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import heads, lags_of_heads
from attnlag.regression.design import covariates, properties
from attnlag.regression.estimation import sampling
from attnlag.regression.settings import HeadsSettings
from attnlag.report.heads import heads_findings
from attnlag.storage import tables, writing


def main(job):
    settings, paths, sinks = job.settings, job.input.heads, job.input.sinks
    sample = sampling.sample_of(paths)
    documents = sample.documents if sample.end else None
    lags = lags_of_heads.NOTHING.copy()
    with tempfile.TemporaryDirectory() as folder:
        of_heads, norms, sequences = of_sample(job, documents, Path(folder))
        parts = heads.table(of_heads, norms, sinks, sequences, drop_first=settings.drop_first)
        if settings.design is not None:
            lags = fitted(job, of_heads, norms, documents)
    parts["sampled"] = documents is not None
    shared = tables.of_all_shards(paths)
    end = sample.end
    record = tables.provenance(shared, "heads_table", settings, "numpy", "scipy", sample_end=end)
    names = record["model"]["name"], record["corpus"]["name"], "attention"
    found = pq.read_metadata(paths[0]).metadata[HEADS_KEY].decode()
    sunk = pq.read_metadata(sinks[0]).metadata[SINKS_KEY].decode()
    name = ", ".join(names)
    if documents is not None:
        name += f", a sample of {counted(len(documents), 'document')}"
    text = heads_findings(parts, lags, name, settings.regression, found, sunk)
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        parts.insert(place, key, value)
    tables.write_frame(parts, job.output.table, job.output.table.with_suffix(".csv"), record)
    study = {"site": "attention", "regression": settings.regression}
    tables.write_study({job.output.coefficients: lags}, record, **study)
    writing.write_text(text, job.output.findings)
    layers = len(layers_in(pq.read_schema(paths[0])))
    program.log.info("%s: heads of %d layers", name, layers)


def of_sample(job, documents, folder):
    """Return the files of norms of heads, of adjustments, and of heads where attention is known.

    If documents are given, the first two hold these alone, and the last those of the attention.
    """
    paths, norms = job.input.heads, job.input.norms
    if documents is None:
        return paths, norms, paths
    known = [pq.read_table(path, columns=["document"])[0].to_pylist() for path in job.input.sinks]
    chosen = {"heads": (paths, documents), "norms": (norms, documents)}
    chosen["sequences"] = paths, sorted(set().union(*known))
    return [sampling.copied(*each, folder / name) for name, each in chosen.items()]


def fitted(job, paths, norms, documents):
    """Return the coefficients of all heads, in some documents if these are given."""
    settings = job.settings
    given = vars(job.input)
    files = {name: given[name] for name in covariates.SHARDED if given[name]}
    shards = []
    for shard, (of_heads, of_layers) in enumerate(zip(paths, norms, strict=True)):
        if documents and not pq.read_metadata(of_heads).num_rows:
            continue
        own = {name: each[shard] for name, each in files.items()}
        classes = None
        if settings.draws and settings.within != "document":
            classes = properties.read_property(
                settings.within, [own["token_properties"]], documents
            )
        facts = covariates.read_facts(settings.design, given | own, documents)
        shards.append(lags_of_heads.Source(of_heads, of_layers, facts, classes))
    random = None
    if job.input.random_weights:
        few = set(pq.read_table(job.input.random_weights, columns=["document"])[0].to_pylist())
        facts = covariates.read_facts(settings.design, given, few)
        random = lags_of_heads.Source(
            job.input.random_weights, job.input.random_weights_norms, facts
        )
    group_of = group_by_document(job.input.corpus) if settings.cluster == "group" else None
    return lags_of_heads.coefficients(shards, settings, random=random, group_of=group_of)


if __name__ == "__main__":
    program.run(main, HeadsSettings)
