"""Partial autocorrelation of the residuals by layer: the order that a regression leaves."""

from dataclasses import dataclass

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    frame,
    label_cells,
    layers_labelled,
    mark_unfitted,
    reach_of,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import RegressionInputs
from attnlag.figures.legends import GREY
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    order_in_words,
)
from attnlag.regression import diagnostics, residuals
from attnlag.regression.labels import spans

DRAWN_BY = ("plot_regression",)

CATEGORY = "diagnostics"

SUBCATEGORY = "order left"


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    layers : list of int
    partial : (lags, layers) float array
        Partial autocorrelation of the residuals at lags 1, 2, …; NaN if a layer was not fitted.
    lags : list of int
        The shortest lags that are not in the regression.
    left : (layers,) float array
        Sum of the partial autocorrelations at these lags.
    """

    layers: list[int]
    partial: np.ndarray
    lags: list[int]
    left: np.ndarray


def reduce(inputs: RegressionInputs) -> Data:
    """Reduce the residual sums to partial autocorrelations."""
    sums = residuals.read_sums(inputs.residuals_file)
    table = diagnostics.autocorrelation(sums).pivot(index="lag", columns="layer", values="partial")
    lags, left = diagnostics.order_left(sums)
    return Data(
        layers=sums.layers,
        partial=table[sums.layers].to_numpy(dtype=float),
        lags=lags,
        left=left.reindex(sums.layers).to_numpy(dtype=float),
    )


def title_of(data: Data) -> str:
    """Return the order that the lags of the regression leave."""
    return order_in_words(data.lags, data.layers, data.left)


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw a map of lags and layers, and below it the sum over the omitted lags."""
    layers, partial = data.layers, data.partial
    figure = Figure(figsize=size.tall(5.6), layout="constrained")
    cells, below = figure.subplots(2, height_ratios=[2.4, 1])
    reach = reach_of(partial)
    draw_map(
        cells,
        partial,
        DIVERGING,
        -reach,
        reach,
        label="partial\nautocorrelation",
        extend="both",
        aspect=16,
        pad=0.02,
    )
    label_cells(cells.xaxis, layers, most=layers_labelled(cells))
    shown = [1, *range(5, len(partial) + 1, 5)]
    cells.set_yticks([lag - 0.5 for lag in shown], list(map(str, shown)), rotation=0)
    cells.set_ylabel("lag (tokens)")
    below.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    places = np.arange(len(layers)) + 0.5
    below.plot(places, data.left, color="k", linewidth=1.1, marker="o", markersize=3)
    mark_unfitted(below, places[~np.isfinite(data.left)], 0.06)
    below.set_xlim(0, len(layers))
    label_cells(below.xaxis, layers, most=layers_labelled(below))
    below.set_xlabel("layer")
    below.set_ylabel("sum left" if size.narrow else f"sum at\n{spans(data.lags)}")
    rule_values(below)
    sns.despine(figure)
    frame(
        figure,
        title,
        "The partial autocorrelation at a lag is its contribution to the prediction of a residual "
        "beyond shorter lags, within sequences. If it differs from zero at lags that are not in "
        "the regression, adding these would improve the prediction. Colours saturate for the most "
        f"extreme 2% of the cells. Grey: not fitted. Below: the sum at {spans(data.lags)}, which "
        "are not in the regression.",
    )
    return figure
