#!/usr/bin/env python3
"""Draw the norms of every layer: a sample of tokens as points, beside histograms.

One layer is in memory at a time, and of a large corpus a sample of its tokens, so that neither
layers nor shards add to it.
"""

from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.figures import drawing, files, norms_by_layer
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, NormsFiguresSettings)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--site", default="attention", help="the sublayer, for the labels")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    drop_first = args.settings.drop_first
    paths = tables.shards(args.norms)
    tokens = tables.row_count(paths)
    rows = drawing.rows_shown(tokens)
    first = tables.values_of(paths, "position", rows) < drop_first
    layers = [
        norms_by_layer.layer_norms(
            columns.layer_number(layer),
            log_norms(tables.values_of(paths, layer, rows)),
            first,
        )
        for layer in tqdm(
            columns.layers_in(pq.read_schema(args.norms)), desc="layers", unit="layer", delay=2
        )
    ]
    numbers = [part.layer for part in layers]
    record = tables.read_provenance(args.norms)
    name = f"{record['model']['name']}, {record['corpus']['name']}, {args.site}"
    draw = partial(
        norms_by_layer.norms_by_layer,
        layers,
        title=f"{norms_by_layer.of_norms([part.median for part in layers], numbers)}: {name}",
        tokens=tokens,
        site=args.site,
        drop_first=drop_first,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew the norms of %d layers", name, len(layers))


if __name__ == "__main__":
    program.run(main, parser)
