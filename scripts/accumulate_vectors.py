#!/usr/bin/env python3
"""Sum the products of one shard's vectors with the preceding vectors, per layer and fold."""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import vector_pairs, vector_products
from attnlag.regression.settings import VectorProductsSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, VectorProductsSettings)
parser.add_argument("activations", type=Path, help="the adjustments (Parquet)")
parser.add_argument("--first", type=Path, required=True, help="those of the first shard")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--threads", type=int, help="layers side by side (default: all cores)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = args.settings
    record = tables.provenance(
        tables.read_provenance(args.activations), "vector_products", asdict(settings), "numpy"
    )
    documents = pq.read_table(args.corpus, columns=["document"])["document"].to_pylist()
    found = vector_products.products(
        args.activations,
        args.first,
        vector_pairs.folds_of_documents(documents, settings.folds),
        settings,
        program.usable_threads(args.threads),
    )
    layers = vector_products.write(args.output, found, record)
    program.log.info(
        "%s, %s: products of the vectors of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(len(layers), "layer"),
    )


if __name__ == "__main__":
    program.run(main, parser)
