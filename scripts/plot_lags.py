#!/usr/bin/env python3
"""Draw the outcome against the nearest lag, a panel per layer, with the fitted line.

A regression without lags shows its nearest lead.

The design is read one layer at a time, and of a large one a sample of its rows, so that neither
layers nor shards add up in memory.
"""

from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.figures import drawing, files, outcome_by_lag
from attnlag.figures.settings import PanelsSettings
from attnlag.pipeline import program
from attnlag.regression import crossproducts
from attnlag.regression.terms import lags_among
from attnlag.storage import tables

parser = program.argument_parser(__doc__, PanelsSettings)
parser.add_argument("design", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--coefficients", type=Path, required=True, help="the tidy table (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    paths = tables.shards(args.design)
    present, terms = crossproducts.layers_and_terms(pq.read_schema(args.design))
    layers = drawing.chosen_layers(args.settings.layers, present)
    lag = lags_among(terms)[0]
    coefficients = pd.read_parquet(args.coefficients).query("subset == 'all' and term == @lag")
    slopes = coefficients.set_index("layer")["estimate"]
    fits = pd.read_parquet(args.fits)
    r_squared = fits.set_index("layer")["r_squared"]

    count = tables.row_count(paths)
    rows = drawing.rows_shown(count)
    panels = []
    for layer in tqdm(layers, desc="layers", unit="layer", delay=2):
        name = columns.layer_name(layer)
        panels.append(
            outcome_by_lag.lag_panel(
                layer,
                tables.values_of(paths, f"{name}.{lag}", rows),
                tables.values_of(paths, f"{name}.y", rows),
                slopes[layer],
                r_squared[layer],
            )
        )
    name = drawing.study(fits)
    draw = partial(
        outcome_by_lag.outcome_by_lag,
        panels,
        title=f"{outcome_by_lag.of_r_squared(fits)}: {name}",
        lag=lag,
        rows=count,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew %d of %d layers", name, len(layers), len(present))


if __name__ == "__main__":
    program.run(main, parser)
