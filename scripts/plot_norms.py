#!/usr/bin/env python3
"""Draw the norms of every layer: a sample of tokens as points, beside histograms of all.

One layer is in memory at a time, so that neither layers nor shards add to it.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag import figures, layout, program, tables
from attnlag.norms import log_norms

parser = program.argument_parser(__doc__)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--site", default="attention", help="the sublayer, for the labels")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    drop_first = {"drop_first": 1, **args.settings}["drop_first"]
    # Without pre-buffering, the columns that are not asked for are not read ahead.
    files = [pq.ParquetFile(path, pre_buffer=False) for path in tables.shards(args.norms)]

    def column(name):
        return np.concatenate([file.read([name])[name].to_numpy() for file in files])

    first = column("position") < drop_first
    layers = [
        figures.layer_norms(int(layer.removeprefix("layer_")), log_norms(column(layer)), first)
        for layer in tqdm(
            layout.layers_in(files[0].schema_arrow), desc="layers", unit="layer", delay=2
        )
    ]
    record = tables.read_provenance(args.norms)
    name = f"{record['model']['name']}, {record['corpus']['name']}, {args.site}"
    figure = figures.norms_by_layer(
        layers,
        title=f"Norms by layer: {name}",
        tokens=len(first),
        site=args.site,
        drop_first=drop_first,
    )
    figures.save(figure, args.output)
    program.log.info("%s: drew the norms of %d layers", name, len(layers))


if __name__ == "__main__":
    program.run(main, parser)
