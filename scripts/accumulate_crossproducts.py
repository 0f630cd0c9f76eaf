#!/usr/bin/env python3
"""Sum the cross-products of one shard's design, per document and layer.

What the regression needs of the rows is in these sums; they are a few numbers a document, and
shards add up.
"""

import json
from pathlib import Path

import pyarrow.parquet as pq

from attnlag import crossproducts, program, tables
from attnlag.errors import counted

ROWS = 50_000

parser = program.argument_parser(__doc__)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    batches = tables.batches(args.design, ROWS, "cross-products")
    stack = crossproducts.accumulate(batches, pq.read_schema(args.design))
    counts = pq.read_metadata(args.design).metadata[tables.COUNTS_KEY]
    record = tables.provenance(
        tables.read_provenance(args.design),
        "crossproducts",
        args.settings,
        "numpy",
        crossproducts=crossproducts.centre_record(stack),
        counts=json.loads(counts),
    )
    tables.write_table(crossproducts.to_table(stack), args.output, record)
    program.log.info(
        "%s, %s: cross-products of %s in %d layers",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(len(stack.documents), "document"),
        len(stack.layers),
    )


if __name__ == "__main__":
    program.run(main, parser)
