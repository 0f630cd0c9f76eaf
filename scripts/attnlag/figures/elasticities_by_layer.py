"""Causal elasticity of each layer's adjustments on later ones, beside predictive coefficients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.figures.drawing import (
    DIVERGING,
    frame,
    layer_ticks,
    layers_labelled,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.vectors import EffectsInputs
from attnlag.figures.legends import GREY, PALETTE, strip_height
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_effects",)

CATEGORY = "interventions"

SUBCATEGORY = "elasticities"

# The colour scale is linear up to this value and logarithmic beyond.
LINEAR = 0.01

MOST_LAGS = 4

NAMES = {"predictive": "predicted", "estimate": "caused"}

COEFFICIENT, CAUSED = PALETTE[0], PALETTE[3]


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    pairs : pandas.DataFrame
        A row per source layer, target layer and lag from 1: ``predictive`` and ``estimate``.
    summed : pandas.DataFrame
        A row per target layer, at a distance of one token.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    pairs: pd.DataFrame
    summed: pd.DataFrame
    alpha: float


def reduce(inputs: EffectsInputs) -> Data:
    """Return the derivatives of the pair of sites."""
    table = inputs.of_pair(inputs.elasticities)
    chosen = table[(table["intervention"] == "derivative") & (table["lag"] > 0)]
    pairs = chosen[chosen["source_layer"] < chosen["target_layer"]]
    summed = inputs.of_pair(inputs.transmitted).query("lag == 1")
    return Data(pairs.astype({"target_layer": int}), summed, inputs.alpha)


def title_of(data: Data) -> str:
    """Return the largest coefficient and the largest elasticity, one token apart."""
    nearest = data.pairs[data.pairs["lag"] == 1]
    if nearest.empty:
        return "Causal elasticities"
    predicted, caused = (nearest[name].abs().max() for name in NAMES)
    return (
        f"One token and any number of layers apart, coefficients reach {predicted:.2f}, "
        f"causal elasticities {caused:.3f}"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw two heat maps, source by target layer, and the sums over the sources below them.

    A flat figure has a pair of heat maps for each lag, and the sums beside them.
    """
    # Without a pair of layers, the panels are empty.
    lags = (sorted(data.pairs["lag"].unique()) or [1])[: MOST_LAGS if size.flat else 1]
    legend = {
        "coefficient of lag 1 within the layer": Line2D(
            [], [], color=COEFFICIENT, marker="o", ms=4
        ),
        "sum of the elasticities of all preceding layers": Line2D(
            [], [], color=CAUSED, marker="s", ms=4
        ),
        "band over all targets": Patch(color=CAUSED, alpha=0.15, linewidth=0),
    }
    strip = strip_height([legend], size.canvas)
    targets = sorted(data.pairs["target_layer"].unique())
    each = float(np.clip(0.9 + 0.12 * len(targets), 1.3, 3.4))
    figure = Figure(layout="constrained")
    if size.flat:
        figure.set_size_inches(size.tall(5.0))
        grid = figure.add_gridspec(2, len(lags) + 2)
        maps = [[figure.add_subplot(grid[row, k]) for k in range(len(lags))] for row in range(2)]
        below = figure.add_subplot(grid[:, len(lags) :])
    elif size.narrow:
        figure.set_size_inches(size.tall(2 * each + 2.2 + strip + 1.5))
        grid = figure.add_gridspec(3, 1, height_ratios=[each, each, 2.2])
        maps = [[figure.add_subplot(grid[row, 0])] for row in range(2)]
        below = figure.add_subplot(grid[2, 0])
    else:
        figure.set_size_inches(size.tall(each + 2.6 + strip + 1.3))
        grid = figure.add_gridspec(2, 2, height_ratios=[each, 2.6])
        maps = [[figure.add_subplot(grid[0, column])] for column in range(2)]
        below = figure.add_subplot(grid[1, :])
    mesh = None
    values = np.abs(data.pairs[list(NAMES)].to_numpy(dtype=float))
    largest = float(np.nanmax(values, initial=LINEAR))
    norm = SymLogNorm(LINEAR, vmin=-largest, vmax=largest)
    for row, name in zip(maps, NAMES, strict=True):
        for axes, lag in zip(row, lags, strict=True):
            mesh = draw_map(axes, data.pairs[data.pairs["lag"] == lag], name, norm, targets)
            tokens = f", lag {lag}" if size.flat else f", one token before (lag {lag})"
            axes.set_title(f"{NAMES[name]}{tokens}", loc="left", fontsize=9)
            axes.set_xticks(layer_ticks(range(max(targets, default=1)), 4 if size.flat else 8))
            if axes is not row[0]:
                axes.set_ylabel("")
                axes.tick_params(labelleft=False)
    if mesh is not None:
        bar = figure.colorbar(
            mesh,
            ax=[axes for row in maps for axes in row],
            pad=0.01,
            aspect=40 if size.flat or size.narrow else 12 if each < 2 else 20,
        )
        bar.set_label("log norm per log norm")
    draw_sums(below, data.summed)
    sns.despine(figure)
    frame(
        figure,
        title,
        "Predicted: regression of the target's log norm on the source's alone, over all documents. "
        "Caused: change of the target's log norm per change of the source's, along all paths "
        f"(total effect), in {documents_of(data)}; errors are clustered by document, bands cover "
        f"{100 * (1 - data.alpha):g}%. Colours are linear up to ±{LINEAR:g}, then logarithmic. A "
        "source has no effect on its own layer or on earlier ones.",
        legends=[legend],
    )
    return figure


def documents_of(data: Data) -> str:
    """Return the number of documents that were intervened on, in words."""
    count = int(data.summed["documents"].max()) if len(data.summed) else 0
    return f"{count:,} document{'' if count == 1 else 's'}"


def draw_map(axes: Axes, pairs: pd.DataFrame, name: str, norm: Any, targets: list[int]) -> Any:
    """Draw a value by source and target layer, blank if the source is not before the target."""
    last = int(max(targets, default=1))
    values = np.full((len(targets), last), np.nan)
    rows = np.searchsorted(targets, pairs["target_layer"].to_numpy(dtype=int))
    values[rows, pairs["source_layer"].to_numpy(dtype=int)] = pairs[name].to_numpy(dtype=float)
    mesh = axes.pcolormesh(
        np.arange(last + 1) - 0.5,
        np.arange(len(targets) + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=DIVERGING,
        norm=norm,
        rasterized=True,
    )
    axes.set_facecolor("0.96")
    labelled = layer_ticks(targets, 8) if len(targets) > 8 else targets
    axes.set_yticks([targets.index(layer) for layer in labelled], [str(t) for t in labelled])
    axes.set_xlabel("source layer")
    axes.set_ylabel("target layer")
    return mesh


def draw_sums(axes: Axes, summed: pd.DataFrame) -> None:
    """Draw the coefficient of the regression and the sum of the elasticities by target layer."""
    rows = summed.sort_values("target_layer")
    x = rows["target_layer"].to_numpy(dtype=float)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(axes)
    ends = ["joint_low", "joint_high"]
    low, high = (rows[name].to_numpy(dtype=float) for name in ends)
    axes.fill_between(x, low, high, color=CAUSED, alpha=0.15, linewidth=0)
    for values, bounds, colour, marker in (
        ("coefficient", ("coefficient_conf_low", "coefficient_conf_high"), COEFFICIENT, "o"),
        ("estimate", ("conf_low", "conf_high"), CAUSED, "s"),
    ):
        y, low, high = (rows[name].to_numpy(dtype=float) for name in (values, *bounds))
        error = np.nan_to_num(np.stack([y - low, high - y]))
        axes.errorbar(
            *(x, y, error), color=colour, marker=marker, ms=4, linewidth=1.3, elinewidth=1.2
        )
    axes.set_xlabel("target layer")
    axes.set_ylabel("log norm per log norm")
    if len(x):
        axes.set_xticks(layer_ticks(list(map(int, x)), layers_labelled(axes)))
