#!/usr/bin/env python3
"""Give what each attention head writes and attends to, and the regression of its log norm.

The regressions stand beside their controls, and beside those of layers with and without the tokens
at their floor.
"""

from dataclasses import asdict

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.adjustments.columns import HEADS_KEY, SINKS_KEY, layers_in
from attnlag.corpus.documents import group_by_document
from attnlag.regression.beyond import heads, lags_of_heads
from attnlag.regression.design import covariates, properties
from attnlag.regression.settings import HeadsSettings
from attnlag.report.heads import heads_findings
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    paths, norms = job.input.heads, job.input.norms
    sinks = job.input.sinks
    parts = heads.table(paths, norms, sinks, drop_first=settings.drop_first)
    lags = lags_of_heads.NOTHING.copy()
    if settings.design is not None:
        lags = fitted(job, paths, norms)
    shared = tables.of_all_shards(paths)
    record = tables.provenance(shared, "heads_table", asdict(settings), "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"], "attention"
    found = pq.read_metadata(paths[0]).metadata[HEADS_KEY].decode()
    sunk = pq.read_metadata(sinks[0]).metadata[SINKS_KEY].decode()
    text = heads_findings(parts, lags, ", ".join(names), settings.regression, found, sunk)
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        parts.insert(place, key, value)
    tables.write_frame(parts, job.output.table, job.output.table.with_suffix(".csv"), record)
    study = {"site": "attention", "regression": settings.regression}
    tables.write_study({job.output.coefficients: lags}, record, **study)
    writing.write_text(text, job.output.findings)
    layers = len(layers_in(pq.read_schema(paths[0])))
    program.log.info("%s: heads of %d layers", ", ".join(names), layers)


def fitted(job, paths, norms):
    """Return the coefficients of all heads."""
    settings = job.settings
    given = vars(job.input)
    files = {name: given[name] for name in covariates.SHARDED if given[name]}
    shards = []
    for shard, (of_heads, of_layers) in enumerate(zip(paths, norms, strict=True)):
        own = {name: each[shard] for name, each in files.items()}
        classes = None
        if settings.draws and settings.within != "document":
            classes = properties.read_property(settings.within, [own["token_properties"]])
        facts = covariates.read_facts(settings.design, given | own)
        shards.append(lags_of_heads.Source(of_heads, of_layers, facts, classes))
    random = None
    if job.input.random_weights:
        documents = set(
            pq.read_table(job.input.random_weights, columns=["document"])[0].to_pylist()
        )
        facts = covariates.read_facts(settings.design, given, documents)
        random = lags_of_heads.Source(
            job.input.random_weights, job.input.random_weights_norms, facts
        )
    group_of = group_by_document(job.input.corpus) if settings.cluster == "group" else None
    return lags_of_heads.coefficients(shards, settings, random=random, group_of=group_of)


if __name__ == "__main__":
    program.run(main, HeadsSettings)
