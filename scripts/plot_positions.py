#!/usr/bin/env python3
"""Draw the mean log norm by position in the sequence and layer.

One layer is in memory at a time, and of a large corpus a sample of its tokens.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.figures import drawing, files, norms_by_position
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
    position = tables.values_of(paths, "position", rows).astype(np.int64)
    edges = norms_by_position.position_edges(int(position.max(initial=0)))
    column = np.searchsorted(edges, position, side="right") - 1
    kept = position >= drop_first
    names = columns.layers_in(pq.read_schema(paths[0]))
    means = np.full((len(edges) - 1, len(names)), np.nan)
    typical = np.full(len(names), np.nan)
    for place, layer in enumerate(tqdm(names, desc="layers", unit="layer", delay=2)):
        logs = log_norms(tables.values_of(paths, layer, rows))
        means[:, place] = norms_by_position.means_by_column(logs, column, len(means))
        if np.isfinite(logs[kept]).any():
            typical[place] = np.nanmean(logs[kept])
    numbers = list(map(columns.layer_number, names))
    record = tables.read_provenance(args.norms)
    name = f"{record['model']['name']}, {record['corpus']['name']}, {args.site}"
    draw = partial(
        norms_by_position.norms_by_position,
        means,
        typical,
        edges,
        numbers,
        title=f"{norms_by_position.of_positions(means[0], typical, numbers)}: {name}",
        site=args.site,
        drop_first=drop_first,
        tokens=tokens,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew the norms along %d positions", name, int(edges[-1]))


if __name__ == "__main__":
    program.run(main, parser)
