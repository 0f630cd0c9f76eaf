#!/usr/bin/env python3
"""Sum the cross-products of one shard's design, per document and layer.

What the regression needs of the rows is in these sums; they are a few numbers a document, and
shards add up. One batch of rows is in memory at a time.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attnlag.adjustments import columns
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import crossproducts
from attnlag.regression.settings import CrossproductsSettings
from attnlag.storage import tables

ROWS = 16_384

parser = program.argument_parser(__doc__, CrossproductsSettings)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = args.settings
    schema = pq.read_schema(args.design)
    layers, terms = crossproducts.layers_and_terms(schema)
    halves = 2 if settings.halves else 1
    # Without pre-buffering one batch is in memory, not the whole file.
    first = next(pq.ParquetFile(args.design, pre_buffer=False).iter_batches(ROWS), None)
    centre = np.zeros((len(layers), 1 + len(terms)))
    if first is not None and first.num_rows:
        centre = crossproducts.centre_of(first, schema)
    rows = None
    if settings.halves:
        names = tables.batches(args.design, ROWS, "documents", columns=["document"])
        rows = crossproducts.rows_of_documents(names)
    needed = [name for name in schema.names if name not in columns.KEYS or name == "document"]
    batches = tables.batches(args.design, ROWS, "cross-products", columns=needed)
    products = crossproducts.products_by_document(batches, schema, centre, rows)
    record = tables.provenance(
        tables.read_provenance(args.design),
        "crossproducts",
        asdict(settings),
        "numpy",
        counts=json.loads(pq.read_metadata(args.design).metadata[tables.COUNTS_KEY]),
    )
    totals = crossproducts.write(
        products, args.output, record, terms=terms, layers=layers, centre=centre, halves=halves
    )
    program.log.info(
        "%s, %s: cross-products of %s in %d layers",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(totals.clusters, "document"),
        len(layers),
    )


if __name__ == "__main__":
    program.run(main, parser)
