#!/usr/bin/env python3
"""Sum the cross-products of one shard's design with slopes for each class of tokens.

The sums include the level of each class, and each lag and lead times the indicator of each class.
For a number, such as surprisal, the classes are thirds of all tokens of the corpus, and the sums
also include the number and its products with lags and leads. One batch of rows is in memory at a
time.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import classes, crossproducts, moderators, properties
from attnlag.regression.settings import ClassProductsSettings
from attnlag.storage import tables

# Each lag is there once for each class.
ROWS = 4096

parser = program.argument_parser(__doc__, ClassProductsSettings)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument(
    "--token-properties", type=Path, required=True, help="table of the property, of the same shard"
)
# The workflow passes no path if the property is no number.
parser.add_argument("--scale", type=Path, nargs="?", help="distribution of a number (JSON)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = args.settings
    schema = pq.read_schema(args.design)
    scale = None
    if args.scale:
        number = properties.read_moderator(settings.property, [args.token_properties])
        scale = moderators.Scale.from_json(args.scale.read_text(encoding="utf-8"))
        facts = moderators.terciles(number, scale)
        schema = moderators.schema_of(schema)
    else:
        facts = properties.read_property(settings.property, [args.token_properties])
    schema = classes.schema_of(schema, properties.classes_of(settings.property))

    def batches():
        rows = tables.batches(args.design, ROWS, "cross-products by class")
        if scale is not None:
            rows = moderators.expanded(rows, number, scale, settings.offset)
        return classes.expanded(rows, facts, settings.offset)

    layers, terms = crossproducts.layers_and_terms(schema)
    first = next(batches(), None)
    centre = np.zeros((len(layers), 1 + len(terms)))
    if first is not None and first.num_rows:
        centre = crossproducts.centre_of(first, schema)
    rows = None
    if settings.halves:
        names = tables.batches(args.design, ROWS, "documents", columns=["document"])
        rows = crossproducts.rows_of_documents(names)
    record = tables.provenance(
        tables.read_provenance(args.design),
        "class_crossproducts",
        {**asdict(settings), "scale": scale and asdict(scale)},
        "numpy",
        counts=json.loads(pq.read_metadata(args.design).metadata[tables.COUNTS_KEY]),
    )
    totals = crossproducts.write(
        crossproducts.products_by_document(batches(), schema, centre, rows),
        args.output,
        record,
        terms=terms,
        layers=layers,
        centre=centre,
        halves=2 if settings.halves else 1,
    )
    program.log.info(
        "%s, %s: cross-products of %s by %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(totals.clusters, "document"),
        settings.property,
    )


if __name__ == "__main__":
    program.run(main, parser)
