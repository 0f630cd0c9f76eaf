#!/usr/bin/env python3
"""Draw the sites of a model side by side: norms and coefficients by layer, a column per site.

One layer of one site is in memory at a time, and of a large corpus a sample of its tokens, so that
neither layers nor shards add to it.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.errors import UserError
from attnlag.figures import drawing, sites_by_layer
from attnlag.figures.files import save_in_sizes
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("--sites", nargs="+", required=True, help="the sites, in their order")
parser.add_argument(
    "--norms",
    type=Path,
    nargs="+",
    required=True,
    help="the first shard of each site; the others lie beside it",
)
parser.add_argument(
    "--coefficients", type=Path, nargs="+", required=True, help="a tidy table per site (Parquet)"
)
parser.add_argument(
    "--fits", type=Path, nargs="+", required=True, help="a table with a row per layer, per site"
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    count = len(args.sites)
    if any(len(files) != count for files in (args.norms, args.coefficients, args.fits)):
        raise UserError(
            f"found {count} sites with {len(args.norms)} files of norms, "
            f"{len(args.coefficients)} of coefficients and {len(args.fits)} of fits; expected as "
            "many of each for every site"
        )
    record = tables.read_provenance(args.coefficients[0])
    settings = record["stages"]["regression"]
    drop_first = record["stages"].get("design", {}).get("drop_first", 1)
    panels = []
    for place, site in enumerate(args.sites):
        paths = tables.shards(args.norms[place])
        rows = drawing.rows_shown(tables.row_count(paths))
        rows = rows[tables.values_of(paths, "position", rows) >= drop_first]
        names = columns.layers_in(pq.read_schema(paths[0]))
        panels.append(
            sites_by_layer.SitePanels(
                site=site,
                layers=list(map(columns.layer_number, names)),
                quantiles=np.stack(
                    [
                        drawing.norm_quantiles(log_norms(tables.values_of(paths, name, rows)))
                        for name in tqdm(names, desc=f"{site}: layers", unit="layer", delay=2)
                    ]
                ),
                coefficients=pd.read_parquet(args.coefficients[place]).query("subset == 'all'"),
                fits=pd.read_parquet(args.fits[place]),
            )
        )
    first = panels[0].fits.iloc[0]
    name = f"{first['model']}, {first['corpus']}, {first['regression']}"
    shown = {panel.site: panel.coefficients for panel in panels}
    draw = partial(
        sites_by_layer.sites_by_layer,
        panels,
        title=f"{sites_by_layer.of_sites(shown, settings['alpha'])}: {name}",
        alpha=settings["alpha"],
        adjust=settings["adjust"],
        drop_first=drop_first,
        tokens=tables.row_count(paths),
    )
    save_in_sizes(draw, args.output)
    program.log.info("%s: drew %s side by side", name, ", ".join(args.sites))


if __name__ == "__main__":
    program.run(main, parser)
