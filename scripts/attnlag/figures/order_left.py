"""Partial autocorrelation of the residuals at each lag and layer: the order that the lags leave."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Line, Lines, Map, Sheet
from attnlag.regression.estimation import residuals
from attnlag.regression.inference import diagnostics
from attnlag.regression.labels import spans

DRAWN_BY = ("plot_regression",)
ON_REQUEST = True
CATEGORY = "diagnostics"
SUBCATEGORY = "lags that are left out"

# A smaller sum of partial autocorrelations is called little.
LITTLE = 0.05


def figure(inputs: Inputs) -> Sheet:
    """Return a map of lags and layers, and the sum over the omitted lags."""
    sums = residuals.read_sums(inputs.residuals)
    table = diagnostics.autocorrelation(sums).pivot(index="lag", columns="layer", values="partial")
    partial = table[sums.layers].to_numpy(dtype=float)
    lags, remaining = diagnostics.order_left(sums)
    rows = [str(lag) if lag == 1 or lag % 5 == 0 else "" for lag in range(1, len(partial) + 1)]
    total = remaining.reindex(sums.layers)
    panels: list[Lines | Map] = [
        Map(partial, rows, "partial autocorrelation", ylabel="lag (tokens)", row_height=0.12),
        Lines([Line(total, color="k", marker="o")], f"sum at\n{spans(lags)}", height=1.5),
    ]
    return Sheet(
        claim_of(lags, total),
        sums.layers,
        panels,
        "Partial autocorrelations of the residuals within sequences: where they differ from zero "
        "at lags outside the regression, these lags would improve the prediction.",
    )


def claim_of(lags: Sequence[int], remaining: pd.Series) -> str:
    """Return the sums of partial autocorrelations at omitted lags, by layer, in words."""
    if remaining.isna().all():
        return "No layer was fitted, so there are no residuals"
    median = remaining.median()
    layer: Any = remaining.abs().idxmax()
    start = "Order is left in the residuals" if abs(median) >= LITTLE else "Little order is left"
    return (
        f"{start}: partial autocorrelations at {spans(lags)} add up to {median:.2f} in the median "
        f"layer and {remaining[layer]:.2f} in layer {layer} (0 if the lags sufficed)"
    )
