#!/usr/bin/env python3
"""Sum the cross-products of one shard's design, per document and layer.

What the regression needs of the rows is in these sums; they are a few numbers a document, and
shards add up. One batch of rows is in memory at a time.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attnlag import crossproducts, program, tables
from attnlag.errors import counted

ROWS = 200_000

parser = program.argument_parser(__doc__)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = {"halves": False, **args.settings}
    schema = pq.read_schema(args.design)
    layers, terms = crossproducts.terms_of(schema)
    halves, p = 2 if settings["halves"] else 1, 1 + len(terms)
    # Without pre-buffering one batch is in memory, not the whole file.
    first = next(pq.ParquetFile(args.design, pre_buffer=False).iter_batches(ROWS), None)
    centre = np.zeros((len(layers), p))
    if first is not None and first.num_rows:
        centre = crossproducts.centre_of(first, schema)
    rows = None
    if settings["halves"]:
        names = tables.batches(args.design, ROWS, "documents", columns=["document"])
        rows = crossproducts.rows_of_documents(names)
    blocks = crossproducts.accumulate(
        tables.batches(args.design, ROWS, "cross-products"), schema, centre, rows
    )
    record = tables.provenance(
        tables.read_provenance(args.design),
        "crossproducts",
        settings,
        "numpy",
        crossproducts={
            "terms": terms,
            "layers": layers,
            "halves": halves,
            "centre": centre.tolist(),
        },
        counts=json.loads(pq.read_metadata(args.design).metadata[tables.COUNTS_KEY]),
    )
    totals = crossproducts.Totals.empty(len(layers), p, halves)
    kept = crossproducts.schema_of(crossproducts.packed_size(p), halves)
    with tables.parquet_writer(
        args.output, kept.with_metadata(tables.metadata(record)), compression="zstd"
    ) as writer:
        for block in blocks:
            writer.write_table(crossproducts.to_table(block, layers))
            totals.add(block.products)
        # The sums over documents are known only now, when the schema is written already.
        writer.add_key_value_metadata({crossproducts.TOTALS_KEY: totals.to_json()})
    program.log.info(
        "%s, %s: cross-products of %s in %d layers",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(totals.clusters, "document"),
        len(layers),
    )


if __name__ == "__main__":
    program.run(main, parser)
