"""Partial autocorrelation of the residuals at each lag and layer: the order that the lags leave."""

from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Line, Lines, Map, Sheet
from attnlag.figures.wording import order_in_words
from attnlag.regression.estimation import residuals
from attnlag.regression.inference import diagnostics
from attnlag.regression.labels import spans

DRAWN_BY = ("plot_regression",)
ON_REQUEST = True
CATEGORY = "diagnostics"
SUBCATEGORY = "lags that are left out"


def figure(inputs: Inputs) -> Sheet:
    """Return a map of lags and layers, and the sum over the omitted lags."""
    sums = residuals.read_sums(inputs.residuals)
    table = diagnostics.autocorrelation(sums).pivot(index="lag", columns="layer", values="partial")
    partial = table[sums.layers].to_numpy(dtype=float)
    lags, left = diagnostics.order_left(sums)
    rows = [str(lag) if lag == 1 or lag % 5 == 0 else "" for lag in range(1, len(partial) + 1)]
    total = left.reindex(sums.layers).to_numpy(dtype=float)
    panels: list[Lines | Map] = [
        Map(partial, rows, "partial autocorrelation", ylabel="lag (tokens)", each=0.12),
        Lines([Line(total, color="k", marker="o")], f"sum at\n{spans(lags)}", height=1.5),
    ]
    return Sheet(
        order_in_words(lags, sums.layers, total),
        sums.layers,
        panels,
        "Partial autocorrelations of the residuals within sequences: where they differ from zero "
        "at lags outside the regression, these lags would improve the prediction.",
    )
