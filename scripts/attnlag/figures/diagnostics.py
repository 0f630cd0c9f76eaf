"""Residuals of a regression, and the documents that influence its coefficients most.

A strip of small panels shows all layers; some layers have a row of panels below it.
"""

import functools
import textwrap
from collections.abc import Mapping, Sequence
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
    framed,
    label_layers,
    layers_labelled,
    mark_unfitted,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
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
MOST_LAYERS_WITH_ROWS = 4
ROWS_IN_SIZE = {"column": 1}

# Number of documents in a panel of influence.
MOST_INFLUENTIAL = 6

# A mean over fewer rows is not drawn.
FEWEST_IN_MEAN = 10
LONGEST_LABEL = 16

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
    requested: Sequence[int] | None, present: Sequence[int], size: Size = PAGE
) -> list[int]:
    """Return the layers with a row: those requested, or four spread over the depth.

    If there is room for one layer, it is the middle one.
    """
    layers = chosen_layers(requested, present)
    most = MOST_LAYERS_WITH_ROWS if requested is None else len(layers)
    return evenly_chosen(layers, ROWS_IN_SIZE.get(size.name, most))


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
    mean of fewer than ``FEWEST_IN_MEAN`` rows is NaN.
    """
    inner = residuals.COARSE_EDGES
    middles = (inner[:-1] + inner[1:]) / 2
    rows = joint[1:-1].sum(axis=1)
    sums = joint[1:-1] @ np.concatenate([inner[:1], middles, inner[-1:]])
    return middles, np.where(rows >= FEWEST_IN_MEAN, sums / np.maximum(rows, 1), np.nan)


def figure(inputs: Inputs) -> CustomFigure:
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
    lags, remaining = diagnostics.order_left(sums)
    fits = inputs.fits.set_index("layer").reindex(sums.layers)
    table = pd.DataFrame(
        {
            "kurtosis": fits["kurtosis"],
            "Breusch-Pagan R²": fits["breusch_pagan"] / fits["n_obs"],
            "order left": remaining,
            "largest |influence| (SE)": influence.groupby("layer")["change_in_se"].agg(
                lambda changes: changes.abs().max()
            ),
        },
        index=sums.layers,
    )
    kurtosis = table["kurtosis"].median()
    tails = "heavy" if kurtosis > NORMAL_KURTOSIS else "light"
    claim = f"Residuals have {tails} tails (kurtosis {kurtosis:.1f}, median layer; 3 if normal)"
    return CustomFigure(
        claim if np.isfinite(kurtosis) else "No layer was fitted",
        functools.partial(draw, panels, table, fits["status"], inputs.layers, term, lags),
    )


@style()
def draw(
    panels: Sequence[DiagnosticPanel],
    table: pd.DataFrame,
    status: Mapping[int, str] | pd.Series,
    layers: Sequence[int] | None,
    term: str,
    lags: Sequence[int],
    title: str,
    size: Size = PAGE,
) -> Figure:
    """Draw the residuals: a strip for all layers, and a row for each of some layers below it.

    A narrow figure has two panels side by side instead of four.

    Parameters
    ----------
    table : pandas.DataFrame
        A column for each panel of the strip, a row for each layer.
    status : Mapping or pandas.Series
        "ok" for each layer, or the reason why it was not fitted.
    layers : sequence of int, optional
        Layers with a row; None: a selection.
    term : str
        Whose coefficient the documents influence.
    lags : sequence of int
        The shortest lags that are not in the regression.
    """
    with_rows = layers_with_rows(layers, list(table.index), size)
    shown = [panel for panel in panels if panel.layer in with_rows]
    largest = max(int(panel.joint.max()) for panel in shown)
    note = (
        "Above: all layers; those shown below are orange. Residuals and fitted values are in "
        "standard deviations (SD) of their layer. Kurtosis: 3 for a normal distribution. "
        "Breusch-Pagan R²: share of the variance of squared residuals that the regressors explain. "
        f"Order left: sum of the partial autocorrelations at {spans(lags)}. Quantiles are "
        f"drawn up to {EDGES[-2]:g} SD, squares up to {COARSE_EDGES[-2]:g} SD. Shades: tokens per "
        f"square, on a log scale from 1 to {max(largest, 1):,} (darkest); orange: mean residual. "
        "Autocorrelation: within sequences; dashed: ±1.96 / √pairs. Influence: change of the "
        f"coefficient of {named(term)} due to a document, in standard errors (SE); the "
        f"{MOST_INFLUENTIAL} largest."
    )
    # A narrow figure splits each row of four panels into two rows of two.
    across = 2 if size.narrow else 4
    heights = [1.2] * (4 // across) + [1.65] * (4 // across * len(shown))
    figure, canvas = framed(title, note, size, sum(heights) + 0.4)
    grid = canvas.subplots(len(heights), across, height_ratios=heights).reshape(-1, 4)
    _draw_strip(list(grid[0]), table, with_rows, status)
    shades = LogNorm(1, max(largest, 10))
    for line, panel in zip(grid[1:], shown, strict=True):
        for axes, first in zip(line, grid[1], strict=True):
            # The layers share their axes, so that they can be compared.
            if axes is not first:
                axes.sharex(first)
                axes.sharey(first)
        line[0].set_title(f"layer {panel.layer}", loc="left", weight="bold", pad=4)
        if not panel.counts.any():
            reason = textwrap.fill(f"not fitted: {status[panel.layer]}", 24)
            line[0].text(0.5, 0.5, reason, transform=line[0].transAxes, ha="center", va="center")
            continue
        _draw_quantiles(line[0], panel)
        _draw_fitted(line[1], panel, shades)
        _draw_autocorrelation(line[2], panel)
        _draw_influence(line[3], panel)
    # The influence of a single document is undefined.
    changes = pd.concat([panel.influence["change_in_se"] for panel in shown]).abs()
    reach = 1.08 * (np.nan_to_num(changes.max()) or 1.0)
    grid[1, 3].set(xlim=(-reach, reach), ylim=(MOST_INFLUENTIAL - 0.4, -0.6), yticks=[])
    labels = (
        ("normal quantile (SD)", "residual (SD)"),
        (f"fitted value (SD{' from mean' if size is PAGE else ''})", "residual (SD)"),
        ("lag (tokens)", "autocorrelation" if size is PAGE else "autocorr."),
        (f"influence on {named(term)} (SE)", ""),
    )
    for column, (x_label, y_label) in zip(grid[1:].T, labels, strict=True):
        for axes in column:
            axes.set_ylabel(y_label)
            axes.tick_params(labelbottom=axes is column[-1])
        column[-1].set_xlabel(x_label)
        canvas.align_ylabels(list(column))
    sns.despine(figure)
    for axes in grid[1:, 3]:
        axes.spines["left"].set_visible(False)
    return figure


def _draw_strip(
    line: Sequence[Axes],
    table: pd.DataFrame,
    with_rows: Sequence[int],
    status: Mapping[int, str] | pd.Series,
) -> None:
    """Draw four statistics of every layer, each above the panels that show its origin."""
    layers = list(table.index)
    for axes, (name, values) in zip(line, table.items(), strict=True):
        # A layer with a few distant residuals must not compress the others.
        skewed = name == "kurtosis" and values.max() > 30
        axes.set_title(f"{name}{' (log scale)' if skewed else ''}", loc="left", pad=4)
        if name in LEVELS:
            axes.axhline(LEVELS[str(name)], zorder=1, **DASHED)
        else:
            axes.set_ylim(0, 1.15 * np.nan_to_num(values.max()) or 1.0)
        axes.plot(values, color="k", linewidth=1.0, marker="o", markersize=2, zorder=3)
        mark: dict[str, Any] = {"markersize": 5, "color": LINE, "zorder": 4, "clip_on": False}
        axes.plot(values[list(with_rows)], "o", **mark)
        mark_unfitted(axes, [layer for layer in layers if status[layer] != "ok"], 0.06)
        rule_values(axes)
        if skewed:
            axes.set_yscale("log")
            axes.minorticks_off()
        else:
            axes.locator_params(axis="y", nbins=4)
        label_layers(axes, layers, most=layers_labelled(axes) + 2)


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
    shown = panel.influence.loc[order.index[:MOST_INFLUENTIAL]]
    heights = np.arange(len(shown))
    axes.barh(heights, shown["change_in_se"], height=0.62, color=BLUE, linewidth=0, zorder=2)
    for height, document, change in zip(
        heights, shown["document"], shown["change_in_se"], strict=True
    ):
        right = change < 0
        axes.annotate(
            shortened(document, LONGEST_LABEL),
            (0, height),
            xytext=(3 if right else -3, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=8,
        )
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=3)
