#!/usr/bin/env python3
"""Draw the norms and the nearest coefficient of each group of documents.

One layer is in memory at a time, and of a large corpus a sample of its tokens.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.corpus.documents import group_by_document
from attnlag.figures import drawing, files, groups_by_layer
from attnlag.pipeline import program
from attnlag.regression import groups, terms
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("norms", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument(
    "--coefficients", type=Path, required=True, help="the tidy table of the groups (Parquet)"
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    table = pd.read_parquet(args.coefficients)
    term = terms.lags_among(list(table["term"]))[0]
    record = tables.read_provenance(args.coefficients)
    settings, drop_first = record["stages"]["groups"], record["stages"]["design"]["drop_first"]
    group_of = group_by_document(args.corpus)
    shown = groups.largest_groups(group_of)

    paths = tables.shards(args.norms)
    tokens = tables.row_count(paths)
    rows = drawing.rows_shown(tokens)
    rows = rows[tables.values_of(paths, "position", rows) >= drop_first]
    place_of = {group: place for place, group in enumerate(shown)}
    documents = tables.values_of(paths, "document", rows)
    group = np.array([place_of.get(group_of[document], -1) for document in documents], dtype=int)
    names = columns.layers_in(pq.read_schema(paths[0]))
    standardised = np.full((len(names), len(rows)), np.nan, dtype=np.float32)
    means = np.full((len(shown), len(names)), np.nan)
    for place, layer in enumerate(tqdm(names, desc="layers", unit="layer", delay=2)):
        logs = log_norms(tables.values_of(paths, layer, rows))
        known = drawing.finite(logs)
        if len(known) < 2:
            continue
        logs -= known.mean()
        if known.std() > 0:
            standardised[place] = logs / known.std()
        for row in range(len(shown)):
            own = drawing.finite(logs[group == row])
            means[row, place] = own.mean() if len(own) else np.nan
    sizes = pd.Series(list(group_of.values())).value_counts()
    panels = [
        groups_by_layer.GroupPanel(
            group=name,
            documents=int(sizes[name]),
            quantiles=drawing.norm_quantiles(standardised[:, group == row].ravel()),
            means=means[row],
        )
        for row, name in enumerate(shown)
    ]
    name = drawing.study(table)
    draw = partial(
        groups_by_layer.groups_by_layer,
        panels,
        table[table["term"] == term],
        term=term,
        title=f"{groups_by_layer.of_groups(table, term, settings['alpha'])}: {name}",
        site=table["site"].iloc[0],
        alpha=settings["alpha"],
        adjust=settings["adjust"],
        tokens=tokens,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew %d groups", name, len(panels))


if __name__ == "__main__":
    program.run(main, parser)
