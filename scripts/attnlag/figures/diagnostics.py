"""Residuals of a regression, and the documents that influence its coefficients most.

A strip of small panels shows all layers; some layers have a row of panels below it.
"""

import functools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy.special import ndtri

from attnlag.figures.drawing import (
    LINE,
    chosen_layers,
    draw_counts,
    evenly_chosen,
    frame,
    label_layers,
    layers_labelled,
    mark_unfitted,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import Own
from attnlag.figures.wording import shortened
from attnlag.regression.estimation import residuals
from attnlag.regression.inference import diagnostics
from attnlag.regression.labels import spans
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_regression",)
ON_REQUEST = True
CATEGORY = "diagnostics"
SUBCATEGORY = "residuals and influence"

BLUE = PALETTE[0]

# Number of layers with a row: at most, by default, and in a small figure.
MOST_ROWS = 4
MOST_ROWS_IN = {"column": 1, "slide": 2}

# Number of documents in a panel of influence.
MOST_DOCUMENTS = 6

# A mean over fewer rows is not drawn.
FEWEST_ROWS = 10
LONGEST_NAME = 16

NORMAL_KURTOSIS = 3.0

# Values that the axes of the strip always include, as a reference for size.
LEVELS = {"kurtosis": NORMAL_KURTOSIS, "order left": 0.0}

# The bins at both ends hold the values beyond the grid.
EDGES, COARSE_EDGES = (
    np.concatenate([[-np.inf], inner, [np.inf]])
    for inner in (residuals.RESIDUAL_EDGES, residuals.COARSE_EDGES)
)

DASHED: dict[str, Any] = {"color": GREY, "linestyle": (0, (4, 2.5)), "linewidth": 0.9}


@dataclass
class DiagnosticPanel:
    """Residuals of one layer; without rows if the layer was not fitted."""

    layer: int
    # (len(EDGES) - 1,) int array: histogram of the residuals, in their standard deviations.
    counts: np.ndarray
    # (len(COARSE_EDGES) - 1, len(COARSE_EDGES) - 1) int array: histogram of fitted values and
    # residuals, in standard deviations from their means.
    joint: np.ndarray
    # (lags,) float array: autocorrelation of the residuals within sequences at lags 1, 2, …; NaN
    # without pairs.
    autocorrelation: np.ndarray
    pairs: np.ndarray  # (lags,) int array: number of pairs of rows at these distances
    # The most influential documents for one term: ``document`` and ``change_in_se``, the change of
    # the coefficient due to the document, in standard errors.
    influence: pd.DataFrame


def layers_with_rows(
    wanted: Sequence[int] | None, present: Sequence[int], size: Size = PAGE
) -> list[int]:
    """Return the layers with a row: those requested, or four spread over the depth.

    If there is room for one layer, it is the middle one.
    """
    layers = chosen_layers(wanted, present)
    most = MOST_ROWS if wanted is None else len(layers)
    return evenly_chosen(layers, MOST_ROWS_IN.get(size.name, most))


def quantile_points(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles of a normal distribution and of residuals, from a histogram.

    The upper edge of each non-empty bin is the quantile of the residuals at or below it, by
    Hazen's (i - 1/2) / n. This is exact up to the position of a residual within its bin. Values
    beyond the grid have no quantile.
    """
    below = np.cumsum(counts)
    shown = 1 + np.flatnonzero(counts[1:-1])
    return ndtri((below[shown] - 0.5) / below[-1]), EDGES[1:][shown]


def mean_residuals(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of the inner bins of fitted values, and the mean residual in each.

    A residual counts as the centre of its bin, or as the end of the grid if it lies beyond. The
    mean of fewer than ``FEWEST_ROWS`` rows is NaN.
    """
    inner = residuals.COARSE_EDGES
    middles = (inner[:-1] + inner[1:]) / 2
    rows = joint[1:-1].sum(axis=1)
    sums = joint[1:-1] @ np.concatenate([inner[:1], middles, inner[-1:]])
    return middles, np.where(rows >= FEWEST_ROWS, sums / np.maximum(rows, 1), np.nan)


@dataclass
class Data:
    """Residuals of all layers."""

    panels: list[DiagnosticPanel]  # in the order of the layers
    fits: pd.DataFrame  # n_obs, kurtosis and breusch_pagan (N R² of the squared residuals)
    layers: Sequence[int] | None  # layers with a row; None: a selection
    term: str  # whose coefficient the documents influence
    lags: list[int]  # the shortest lags that are not in the regression
    left: np.ndarray  # sum of the partial autocorrelations at these lags


def figure(inputs: Inputs) -> Own:
    """Read the residual sums and select the documents for the nearest lag."""
    sums = residuals.read_sums(inputs.residuals)
    term = lags_among(sums.terms)[0]
    influence = inputs.influence.query("term == @term")
    autocorrelation = diagnostics.autocorrelation(sums).groupby("layer")["autocorrelation"]
    panels = [
        DiagnosticPanel(
            layer=layer,
            counts=sums.histogram[place],
            joint=sums.fitted_histogram[place],
            autocorrelation=autocorrelation.get_group(layer).to_numpy(),
            pairs=sums.pairs[place],
            influence=influence[influence["layer"] == layer],
        )
        for place, layer in enumerate(sums.layers)
    ]
    lags, left = diagnostics.order_left(sums)
    left_by_layer = left.reindex(sums.layers).to_numpy(dtype=float)
    data = Data(panels, inputs.fits, inputs.layers, term, lags, left_by_layer)
    kurtosis = inputs.fits["kurtosis"].median()
    tails = "heavy" if kurtosis > NORMAL_KURTOSIS else "light"
    claim = f"Residuals have {tails} tails (kurtosis {kurtosis:.1f}, median layer; 3 if normal)"
    known = np.isfinite(kurtosis)
    return Own(claim if known else "No layer was fitted", functools.partial(draw, data))


@style()
def draw(data: Data, title: str, size: Size = PAGE) -> Figure:
    """Draw the residuals: a strip for all layers, and a row for each of some layers below it.

    A narrow figure has two panels side by side instead of four.
    """
    panels, term = data.panels, data.term
    rows = layers_with_rows(data.layers, [panel.layer for panel in panels], size)
    chosen = [panel for panel in panels if panel.layer in rows]
    largest = max(int(panel.joint.max()) for panel in chosen)
    footnote = (
        "Above: all layers; those shown below are orange. Residuals and fitted values are in "
        "standard deviations (SD) of their layer. Kurtosis: 3 for a normal distribution. "
        "Breusch-Pagan R²: share of the variance of squared residuals that the regressors explain. "
        f"Order left: sum of the partial autocorrelations at {spans(data.lags)}. Quantiles are "
        f"drawn up to {EDGES[-2]:g} SD, squares up to {COARSE_EDGES[-2]:g} SD. Shades: tokens per "
        f"square, on a log scale from 1 to {max(largest, 1):,} (darkest); orange: mean residual. "
        "Autocorrelation: within sequences; dashed: ±1.96 / √pairs. Influence: change of the "
        f"coefficient of {named(term)} due to a document, in standard errors (SE); the "
        f"{MOST_DOCUMENTS} largest."
    )
    # A narrow figure splits each row of four panels into two rows of two.
    widths = [1, 1] if size.narrow else [1, 1, 1, 1.1]
    above, below = (1.25, 1.6) if size.narrow else (1.15, 1.65)
    times = 4 // len(widths)
    heights = [above] * times + [below] * (times * len(chosen))
    figure = Figure(
        figsize=size.tall(sum(heights) + (2.7 if size.narrow else 1.8)), layout="constrained"
    )
    shape = (len(heights), len(widths))
    grid = figure.subplots(*shape, height_ratios=heights, width_ratios=widths).reshape(-1, 4)
    _draw_strip(list(grid[0]), data, rows)
    shades = LogNorm(1, max(largest, 10))
    status = data.fits.set_index("layer")["status"]
    for line, panel in zip(grid[1:], chosen, strict=True):
        for column, axes in enumerate(line):
            # The layers share their axes, so that they can be compared.
            if axes is not grid[1, column]:
                axes.sharex(grid[1, column])
                axes.sharey(grid[1, column])
        line[0].set_title(f"layer {panel.layer}", loc="left", weight="bold", pad=4)
        if not panel.counts.any():
            reason = textwrap.fill(f"not fitted: {status.get(panel.layer, 'no rows')}", 24)
            where = {"transform": line[0].transAxes, "ha": "center", "va": "center"}
            line[0].text(0.5, 0.5, reason, **where)
            continue
        _draw_quantiles(line[0], panel)
        _draw_fitted(line[1], panel, shades)
        _draw_autocorrelation(line[2], panel)
        _draw_influence(line[3], panel)
    _set_limits(grid[1:], chosen)
    labels = (
        ("normal quantile (SD)", "residual (SD)"),
        (f"fitted value (SD{' from mean' if size is PAGE else ''})", "residual (SD)"),
        ("lag (tokens)", "autocorrelation" if size is PAGE else "autocorr."),
        (f"influence on {named(term)} (SE)", ""),
    )
    for column, (x_label, y_label) in enumerate(labels):
        for axes in grid[1:, column]:
            axes.set_ylabel(y_label)
            axes.tick_params(labelbottom=axes is grid[-1, column])
        grid[-1, column].set_xlabel(x_label)
    sns.despine(figure)
    for axes in grid[1:, 3]:
        axes.spines["left"].set_visible(False)
    for column in range(3):
        figure.align_ylabels(list(grid[1:, column]))
    frame(figure, title, footnote)
    return figure


def _draw_strip(line: list[Axes], data: Data, rows: Sequence[int]) -> None:
    """Draw four statistics of every layer, each above the panels that show its origin."""
    panels = data.panels
    numbers = [panel.layer for panel in panels]
    table = data.fits.set_index("layer").reindex(numbers)
    values = {
        "kurtosis": table["kurtosis"].to_numpy(dtype=float),
        "Breusch-Pagan R²": (table["breusch_pagan"] / table["n_obs"]).to_numpy(dtype=float),
        "order left": data.left,
        "largest |influence| (SE)": np.array(
            [panel.influence["change_in_se"].abs().max() for panel in panels], dtype=float
        ),
    }
    picked = np.isin(numbers, rows)
    unfitted = np.array(numbers)[[not panel.counts.any() for panel in panels]]
    for axes, (name, value) in zip(line, values.items(), strict=True):
        # A layer with a few distant residuals must not compress the others.
        skewed = name == "kurtosis" and np.nanmax(value, initial=0.0) > 30
        axes.set_title(f"{name} (log scale)" if skewed else name, loc="left", pad=4)
        if name in LEVELS:
            axes.axhline(LEVELS[name], zorder=1, **DASHED)
        else:
            axes.set_ylim(0, 1.15 * np.nanmax(value, initial=0.0) or 1.0)
        axes.plot(numbers, value, color="k", linewidth=1.0, marker="o", markersize=2, zorder=3)
        marks = np.array(numbers)[picked], value[picked]
        axes.plot(*marks, "o", markersize=5, color=LINE, zorder=4, clip_on=False)
        mark_unfitted(axes, unfitted, 0.06)
        rule_values(axes)
        if skewed:
            axes.set_yscale("log")
            axes.minorticks_off()
        else:
            axes.locator_params(axis="y", nbins=4)
        label_layers(axes, numbers, most=layers_labelled(axes) + 2)


def _draw_quantiles(axes: Axes, panel: DiagnosticPanel) -> None:
    normal, residual = quantile_points(panel.counts)
    ends = np.array([normal.min(initial=-3), normal.max(initial=3)])
    axes.plot(ends, ends, zorder=2, **DASHED)
    # Thousands of vector points would make the file slow to display.
    kind: dict[str, Any] = {"markersize": 2.2, "markeredgewidth": 0, "color": BLUE}
    axes.plot(normal, residual, "o", rasterized=True, zorder=3, **kind)


def _draw_fitted(axes: Axes, panel: DiagnosticPanel, shades: LogNorm) -> None:
    inner = residuals.COARSE_EDGES
    draw_counts(axes, panel.joint[1:-1, 1:-1], inner, inner, shades)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=2)
    axes.plot(*mean_residuals(panel.joint), color=LINE, linewidth=1.6, zorder=3)


def _draw_autocorrelation(axes: Axes, panel: DiagnosticPanel) -> None:
    lags = np.arange(1, len(panel.autocorrelation) + 1)
    with np.errstate(divide="ignore"):
        limit = np.where(panel.pairs > 0, 1.96 / np.sqrt(panel.pairs), np.nan)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    for side in (limit, -limit):
        axes.plot(lags, side, zorder=2, **DASHED)
    axes.vlines(lags, 0, panel.autocorrelation, color=BLUE, linewidth=1.6, zorder=3)
    axes.plot(lags, panel.autocorrelation, "o", markersize=3, color=BLUE, zorder=4)


def _draw_influence(axes: Axes, panel: DiagnosticPanel) -> None:
    """Draw bars, largest on top, with the name of each document on the free side."""
    order = panel.influence["change_in_se"].abs().sort_values(ascending=False, kind="stable")
    shown = panel.influence.loc[order.index[:MOST_DOCUMENTS]]
    heights = np.arange(len(shown))
    sns.barplot(
        x=shown["change_in_se"].to_numpy(),
        y=heights,
        orient="h",
        ax=axes,
        width=0.62,
        color=BLUE,
        saturation=1,
        native_scale=True,
        zorder=2,
    )
    for height, document, change in zip(
        heights, shown["document"], shown["change_in_se"], strict=True
    ):
        right = change < 0
        axes.annotate(
            shortened(document, LONGEST_NAME),
            (0, height),
            xytext=(3 if right else -3, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=8,
        )
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=3)


def _set_limits(grid: np.ndarray, chosen: Sequence[DiagnosticPanel]) -> None:
    """Give the panels of a column the same limits, which include everything drawn."""
    joint = np.sum([panel.joint for panel in chosen], axis=0)
    for axis, set_limits in ((1, grid[0, 1].set_xlim), (0, grid[0, 1].set_ylim)):
        used = np.flatnonzero(joint.sum(axis=axis))
        if len(used):
            ends = COARSE_EDGES[[used[0], used[0] + 1, used[-1], used[-1] + 1]]
            bounded = ends[np.isfinite(ends)]
            set_limits(bounded.min() - 0.2, bounded.max() + 0.2)
    grid[0, 2].set_xlim(0, residuals.AUTOCORRELATION_LAGS + 1)
    # The influence of a single document is undefined.
    changes = pd.concat([panel.influence["change_in_se"] for panel in chosen]).abs()
    reach = np.nan_to_num(changes.max()) or 1.0
    grid[0, 3].set(xlim=(-1.08 * reach, 1.08 * reach), ylim=(MOST_DOCUMENTS - 0.4, -0.6), yticks=[])
