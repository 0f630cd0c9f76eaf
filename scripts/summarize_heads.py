#!/usr/bin/env python3
"""Give what each attention head writes and attends to, and the regression of its log norm.

The regressions stand beside their controls, and beside those of layers with and without the tokens
at their floor.
"""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from attnlag.adjustments.columns import HEADS_KEY, SINKS_KEY, layers_in
from attnlag.corpus.documents import group_by_document
from attnlag.pipeline import program
from attnlag.regression import covariates, heads, lags_of_heads, properties
from attnlag.regression.settings import HeadsSettings
from attnlag.report.heads import heads_findings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, HeadsSettings)
parser.add_argument("heads", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--norms", type=Path, required=True, help="norms of the site, likewise")
parser.add_argument("--sinks", type=Path, required=True, help="attention to first tokens, likewise")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument(
    "--random-weights", type=Path, nargs="?", help="heads with random weights, a control (Parquet)"
)
parser.add_argument("--random-weights-norms", type=Path, nargs="?", help="norms of the same tokens")
parser.add_argument("--token-counts", type=Path, nargs="?", help=covariates.FILES["token_counts"])
for name in covariates.SHARDED:
    what = f"{covariates.FILES[name]}, first shard"
    parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="?", help=what)
parser.add_argument("--output", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    paths, norms = tables.shards(args.heads), tables.shards(args.norms)
    sinks = tables.shards(args.sinks)
    parts = heads.table(paths, norms, sinks, drop_first=settings.drop_first)
    lags = lags_of_heads.NOTHING.copy()
    if settings.design is not None:
        lags = fitted(args, paths, norms)
    shared = tables.of_all_shards(tables.read_provenance(paths[0]))
    record = tables.provenance(shared, "heads_table", asdict(settings), "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"], "attention"
    found = pq.read_metadata(paths[0]).metadata[HEADS_KEY].decode()
    sunk = pq.read_metadata(sinks[0]).metadata[SINKS_KEY].decode()
    text = heads_findings(parts, lags, ", ".join(names), settings.regression, found, sunk)
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        parts.insert(place, key, value)
    tables.write_frame(parts, args.output, args.output.with_suffix(".csv"), record)
    study = {"site": "attention", "regression": settings.regression}
    tables.write_study({args.coefficients: lags}, record, **study)
    writing.write_text(text, args.findings)
    layers = len(layers_in(pq.read_schema(paths[0])))
    program.log.info("%s: heads of %d layers", ", ".join(names), layers)


def fitted(args, paths, norms):
    """Return the coefficients of all heads."""
    settings = args.settings
    given = {name: getattr(args, name) for name in covariates.SHARDED}
    files = {name: tables.shards(path) for name, path in given.items() if path}
    shards = []
    for shard, (of_heads, of_layers) in enumerate(zip(paths, norms, strict=True)):
        own = {name: each[shard] for name, each in files.items()}
        classes = None
        if settings.draws and settings.within != "document":
            classes = properties.read_property(settings.within, [own["token_properties"]])
        facts = covariates.read_facts(settings.design, vars(args) | own)
        shards.append(lags_of_heads.Source(of_heads, of_layers, facts, classes))
    random = None
    if args.random_weights:
        documents = set(pq.read_table(args.random_weights, columns=["document"])[0].to_pylist())
        facts = covariates.read_facts(settings.design, vars(args) | files, documents)
        random = lags_of_heads.Source(args.random_weights, args.random_weights_norms, facts)
    group_of = group_by_document(args.corpus) if settings.cluster == "group" else None
    return lags_of_heads.coefficients(shards, settings, random=random, group_of=group_of)


if __name__ == "__main__":
    program.run(main, parser)
