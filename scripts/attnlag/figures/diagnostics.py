"""Residuals of a regression, and the documents that influence its coefficients most."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from statsmodels.graphics.gofplots import qqplot

from attnlag import wording
from attnlag.figures import drawing
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import rows_in_words, shortened
from attnlag.regression.inference import diagnostics
from attnlag.regression.residuals import residuals
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_regression"
ON_REQUEST = True
CATEGORY = "diagnostics"
SUBCATEGORY = "residuals and influence"

# Number of layers with a row in each size.
ROWS = {"page": 4, "column": 1}

# Number of documents in a panel of influence, and of points in a panel of quantiles.
MAX_INFLUENTIAL = 6
MAX_POINTS = 2000

# A mean over fewer rows is not drawn.
MIN_ROWS_IN_MEAN = 10

DASHED: dict[str, Any] = {"color": GREY, "linestyle": (0, (4, 2.5)), "linewidth": 0.9}


def figure(inputs: Inputs) -> CustomFigure:
    """Read the sums over residuals and the influence of documents on the nearest lag."""
    sums = residuals.ResidualSums.read(inputs.path("residuals"))
    regression = inputs.regression
    influence = regression.table("influence")
    influence = influence[influence["term"] == nearest_lag(sums.terms)]
    fits = regression.fits.set_index("layer").reindex(sums.layers)
    title = wording.title([regression.claims.one("kurtosis")]) or "No layer was fitted"
    strip = {
        "kurtosis": fits["kurtosis"],
        "Breusch-Pagan R²": fits["breusch_pagan"] / fits["n_obs"],
        "omitted lags": fits["omitted_sum"],
        "influence (SE)": influence["change_in_se"].abs().groupby(influence.layer).max(),
    }
    strip_of_layers = pd.DataFrame(strip, index=sums.layers)
    parts = (sums, strip_of_layers, fits["status"], influence, inputs.settings["layers"])
    return CustomFigure(title, draw, parts, rows_in_words(regression.fits))


def draw(sums, strip, status, influence, layers, title: str, size: Size) -> Figure:
    """Draw a strip of all layers, and a row for those requested, or for a few over the depth."""
    shown = drawing.chosen_layers(layers, sums.layers)
    if size is not PAGE or layers is None:
        shown = drawing.evenly_chosen(shown, ROWS[size.name])
    places = [sums.layers.index(layer) for layer in shown]
    darkest = max(1, int(sums.fitted_histogram[places].max()))
    note = (
        "Above: all layers; those below are orange. Residuals and fitted values are in standard "
        "deviations (SD) of their layer. Breusch-Pagan R²: share of the variance of squared "
        "residuals that the regressors explain. Omitted lags: sum of the coefficients that "
        "further lags would have. "
        f"Shades: tokens per square, 1 to {darkest:,} (log scale); orange: mean residual. "
        "Autocorrelation: within sequences; dashed: ±1.96 / √pairs. Influence: change of the "
        f"coefficient of {named(nearest_lag(sums.terms))} due to a document, in standard errors "
        f"(SE); the {MAX_INFLUENTIAL} largest, and above the size of the largest."
    )
    across = 2 if size.narrow else 4
    heights = [1.2] * (4 // across) + [1.65] * (4 // across * len(shown))
    figure, canvas = drawing.framed(title, note, size, sum(heights) + 0.4)
    grid = canvas.subplots(len(heights), across, height_ratios=heights).reshape(-1, 4)
    for axes, (name, values) in zip(grid[0], strip.items(), strict=True):
        sns.lineplot(x=values.index, y=values, color="k", marker=".", markeredgewidth=0, ax=axes)
        axes.plot(values[shown], "o", markersize=5, color=drawing.LINE)
        axes.set(title=name, ylabel="")
        drawing.label_layers(axes, sums.layers)
    order = diagnostics.autocorrelation(sums).set_index("layer")
    for row, layer, place in zip(grid[1:], shown, places, strict=True):
        drawing.name_layer(row[0], layer, status[layer])
        if status[layer] == "ok":
            influence_of_layer = influence[influence["layer"] == layer]
            _draw_layer(row, sums, place, darkest, order.loc[layer], influence_of_layer)
    sns.despine(figure)
    return figure


def _draw_layer(panels, sums, place: int, darkest: int, order, influence) -> None:
    """Draw the residuals of a layer in three ways, and the documents of most influence."""
    normal, fitted, lagged, documents = panels
    # Against the normal distribution, up to ten SD.
    edges = residuals.RESIDUAL_EDGES
    values = np.repeat(np.append(edges, edges[-1]), sums.histogram[place])
    values = values[:: max(1, len(values) // MAX_POINTS)]
    qqplot(values, ax=normal, markersize=2, rasterized=True)
    normal.axline((0, 0), slope=1, **DASHED)
    normal.set(xlabel="normal quantile (SD)", ylabel="residual (SD)")
    edges = residuals.COARSE_EDGES
    joint = sums.fitted_histogram[place][1:-1]
    drawing.draw_counts(fitted, joint[:, 1:-1], edges, darkest + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    rows = joint.sum(axis=1)
    # A residual beyond the grid counts as its end.
    means = joint @ np.concatenate([edges[:1], middles, edges[-1:]]) / np.maximum(rows, 1)
    fitted.plot(middles, np.where(rows >= MIN_ROWS_IN_MEAN, means, np.nan), color=drawing.LINE)
    fitted.set(xlabel="fitted value (SD)", ylabel="residual (SD)")
    limits = np.outer(1.96 / np.sqrt(order["pairs"].where(order["pairs"] > 0)), [1, -1])
    lagged.plot(order["lag"], limits, **DASHED)
    lagged.stem(order["lag"], order["autocorrelation"], basefmt=" ", markerfmt=".")
    lagged.set(xlabel="lag (tokens)", ylabel="autocorrelation")
    most = influence.loc[influence["change_in_se"].abs().nlargest(MAX_INFLUENTIAL).index]
    documents.barh(range(len(most)), most["change_in_se"], color=PALETTE[0])
    # Names that are cut off may be equal.
    documents.set_yticks(range(len(most)), [shortened(name, 16) for name in most["document"]])
    documents.invert_yaxis()
    documents.axvline(0, color=GREY, linewidth=0.8)
    documents.set_xlabel("influence (SE)")
