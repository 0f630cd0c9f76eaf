#!/usr/bin/env python3
"""Regress the vectors of tokens on preceding vectors, and measure how well they are predicted.

The fits come from the cross-products of all shards; the vectors are read again for the error of
each document, which the intervals need.
"""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import vector_fits, vector_pairs
from attnlag.regression.settings import VectorsSettings
from attnlag.report.vectors import vector_findings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, VectorsSettings)
parser.add_argument("products", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--activations", type=Path, required=True, help="likewise")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--random-weights", type=Path, nargs="*", default=[], help="vectors of these")
parser.add_argument("--site", required=True, help="what the vectors are of")
parser.add_argument("--threads", type=int, help="layers side by side (default: all cores)")
parser.add_argument("--output", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    products = tables.shards(args.products)
    record = tables.provenance(
        tables.of_all_shards(tables.read_provenance(products[0])),
        "vectors",
        asdict(settings),
        "numpy",
        "scipy",
    )
    documents = pq.read_table(args.corpus, columns=["document"])["document"].to_pylist()
    table = vector_fits.table_of(
        products,
        tables.shards(args.activations),
        next(iter(args.random_weights), None),
        vector_pairs.folds_of_documents(documents, settings.products.folds),
        settings,
        program.usable_threads(args.threads),
    )
    keys = record["model"]["name"], record["corpus"]["name"], args.site
    for place, (name, key) in enumerate(zip(("model", "corpus", "site"), keys, strict=True)):
        table.insert(place, name, key)
    tables.write_frame(table, args.output, args.output.with_suffix(".csv"), record)
    words = vector_findings(
        table, name=", ".join(keys), alpha=settings.alpha, lags=settings.products.lags
    )
    writing.write_text(words, args.findings)
    program.log.info(
        "%s: R² of vectors in %s", ", ".join(keys), counted(table["layer"].nunique(), "layer")
    )


if __name__ == "__main__":
    program.run(main, parser)
