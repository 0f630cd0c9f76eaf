#!/usr/bin/env python3
"""Draw the residuals of a regression: their distribution, their autocorrelation, who moves it."""

from pathlib import Path

import pandas as pd

from attnlag import diagnostic_figures, figures, program, residuals

parser = program.argument_parser(__doc__)
parser.add_argument("residuals", type=Path, nargs="+", help="the shards, in order (Parquet)")
parser.add_argument("--fits", type=Path, required=True, help="one row per layer (Parquet)")
parser.add_argument("--influence", type=Path, required=True, help="of documents (Parquet)")
parser.add_argument("--output", type=Path, nargs="+", required=True, help="one file per format")


def main(args):
    sums = residuals.merged([residuals.read_sums(path) for path in args.residuals])
    fits = pd.read_parquet(args.fits)
    term = figures.lags_among(sums.terms)[0]
    influence = pd.read_parquet(args.influence).query("term == @term")
    rows = diagnostic_figures.layers_with_rows(args.settings.get("layers"), sums.layers)
    name = figures.study(fits)
    figure = diagnostic_figures.diagnostics_by_layer(
        panels_of(sums, influence), fits, rows=rows, title=f"Residuals: {name}", term=term
    )
    figures.save(figure, args.output)
    program.log.info("%s: drew the residuals of %d layers", name, len(sums.layers))


def panels_of(sums, influence):
    """Return what the figure shows of each layer."""
    of_lag = residuals.autocorrelation(sums).set_index("layer")
    fine, coarse = residuals.edges()
    return [
        diagnostic_figures.DiagnosticPanel(
            layer=layer,
            edges=fine,
            counts=sums.histogram[place],
            fitted_edges=coarse,
            residual_edges=coarse,
            joint=sums.fitted_histogram[place],
            autocorrelation=of_lag.loc[[layer], "autocorrelation"].to_numpy(),
            pairs=of_lag.loc[[layer], "pairs"].to_numpy(),
            influence=influence[influence["layer"] == layer],
        )
        for place, layer in enumerate(sums.layers)
    ]


if __name__ == "__main__":
    program.run(main, parser)
