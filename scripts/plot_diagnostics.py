#!/usr/bin/env python3
"""Draw the residuals of a regression, and the documents that its coefficients hang on.

All layers are in a strip of small panels; some have a row of panels below it.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.figures import diagnostics, drawing, files
from attnlag.figures.settings import PanelsSettings
from attnlag.pipeline import program
from attnlag.regression import residuals, terms

parser = program.argument_parser(__doc__, PanelsSettings)
parser.add_argument("residuals", type=Path, help="the sums over residuals (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument(
    "--influence", type=Path, required=True, help="the most influential documents (Parquet)"
)
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")

# The bins at both ends hold what lies beyond the grid.
EDGES, COARSE_EDGES = (
    np.concatenate([[-np.inf], edges, [np.inf]])
    for edges in (residuals.RESIDUAL_EDGES, residuals.COARSE_EDGES)
)


def main(args):
    sums = residuals.read_sums(args.residuals)
    term = terms.lags_among(sums.terms)[0]
    influence = pd.read_parquet(args.influence).query("term == @term")
    autocorrelation = residuals.autocorrelation(sums).groupby("layer")["autocorrelation"]
    panels = [
        diagnostics.DiagnosticPanel(
            layer=layer,
            edges=EDGES,
            counts=sums.histogram[place],
            fitted_edges=COARSE_EDGES,
            residual_edges=COARSE_EDGES,
            joint=sums.fitted_histogram[place],
            autocorrelation=autocorrelation.get_group(layer).to_numpy(),
            pairs=sums.pairs[place],
            influence=influence[influence["layer"] == layer],
        )
        for place, layer in enumerate(sums.layers)
    ]
    fits = pd.read_parquet(args.fits)
    name = drawing.study(fits)
    draw = partial(
        diagnostics.diagnostics_by_layer,
        panels,
        fits,
        rows=args.settings.layers,
        title=f"{diagnostics.of_diagnostics(fits)}: {name}",
        term=term,
    )
    files.save_in_sizes(draw, args.output)
    program.log.info("%s: drew the residuals of %s", name, counted(len(panels), "layer"))


if __name__ == "__main__":
    program.run(main, parser)
