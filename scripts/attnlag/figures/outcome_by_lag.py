"""Added-variable plot of the nearest lag, a panel per layer.

Outcome and lag are residuals given the other terms of the regression, including document effects.
Least squares through this cloud has the same slope as the whole regression (Frisch, Waugh and
Lovell).
"""

import functools
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from tqdm import tqdm

from attnlag.figures.drawing import (
    LINE,
    SHADES,
    TAIL,
    chosen_layers,
    draw_counts,
    evenly_chosen,
    framed,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY
from attnlag.figures.sampling import sampled_rows
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import PREDICTIVE, sample_shown
from attnlag.regression.design.absorbing import Effects
from attnlag.regression.estimation.crossproducts import columns_of, layers_and_terms
from attnlag.regression.labels import OUTCOMES
from attnlag.regression.terms import distance, is_lead, lags_among, named
from attnlag.storage import tables

DRAWN_BY = ("plot_regression",)
ON_REQUEST = True
CATEGORY = "coefficients"
SUBCATEGORY = "outcome by lag"

# Up to this number of points, each is drawn; more would hide each other.
MOST_POINTS = 2000

# Side of the squares in which more points are counted, and the farthest end of the axes, in
# standard deviations of the layer.
BIN = 0.1
REACH = 10.0

# Number of panels, and of panels side by side, that a size has room for.
MOST_PANELS = {"page": 10**6, "column": 4}
ACROSS = {"page": 6, "column": 2}


def points_of(values: np.ndarray, others: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return lag and outcome of a layer given its other terms, (2, rows).

    Both are in standard deviations of the outcome, so that layers share their axes and slopes are
    unchanged. Rows that the layer drops have a NaN and are left out; without variance, all are.

    Parameters
    ----------
    values : numpy.ndarray
        Lag and outcome, (2, rows).
    others : numpy.ndarray
        The other terms, (terms, rows).
    groups : numpy.ndarray
        Codes of the documents whose means are removed; a single code is an intercept.
    """
    finite = np.isfinite(values).all(axis=0) & np.isfinite(others).all(axis=0)
    if not finite.any():
        return np.empty((2, 0))
    effects = Effects.of([groups[finite]])
    residuals = effects.residuals(values[:, finite].T, others[:, finite].T).T
    sd = np.sqrt(np.mean(residuals[1] ** 2))
    return residuals / sd if sd > 0 else np.empty((2, 0))


def slope_and_share(points: np.ndarray) -> tuple[float, float]:
    """Return the slope of least squares through points, and its share of the variance."""
    if not points.size:
        return np.nan, np.nan
    (lag_squared, product), (_, outcome_squared) = points @ points.T
    return product / lag_squared, product**2 / (lag_squared * outcome_squared)


def lag_limits(layers: Mapping[int, np.ndarray]) -> tuple[float, float]:
    """Return the limits of both axes of all panels, with the central 99% of every layer."""
    tails = [np.quantile(p, [TAIL, 1 - TAIL], axis=1) for p in layers.values() if p.size]
    low, high = (np.min(tails), np.max(tails)) if tails else (-3.0, 3.0)
    margin = 0.05 * (high - low)
    return max(low - margin, -REACH), min(high + margin, REACH)


def figure(inputs: Inputs) -> CustomFigure:
    """Return a panel per layer, read one at a time from a sample of the rows of a large design."""
    schema = pq.read_schema(inputs.design[0])
    present, terms = layers_and_terms(schema)
    lag = lags_among(terms)[0]
    names = [lag, "y", *(term for term in terms if term not in (lag, "y"))]
    status = dict(inputs.fits[["layer", "status"]].to_numpy())
    count = tables.row_count(inputs.design)
    rows = sampled_rows(count)
    within = inputs.regression["fixed_effects"] == "document"
    groups = np.zeros(len(rows), np.int64)
    if within:
        groups = pd.factorize(tables.values_of(inputs.design, "document", rows))[0]
    layers = {}
    shown = chosen_layers(inputs.layers, present)
    for layer in tqdm(shown, desc="layers", unit="layer", delay=2):
        layers[layer] = np.empty((2, 0))
        if status[layer] == "ok":
            columns = columns_of(schema.names, layer, names)
            values = np.stack([tables.values_of(inputs.design, name, rows) for name in columns])
            layers[layer] = points_of(values[:2], values[2:], groups)
    drawn = functools.partial(draw, layers, status, lag, count, within, inputs.outcome)
    return CustomFigure(claim_of(layers, lag), drawn)


def claim_of(layers: Mapping[int, np.ndarray], lag: str) -> str:
    """Return the share that the lag explains of the variance left by the other terms."""
    shares = pd.Series({n: slope_and_share(points)[1] for n, points in layers.items()}).dropna()
    if shares.empty:
        return "No layer was fitted"
    return (
        f"{named(lag).capitalize()} explains {shares.median():.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares.max():.0%}, layer {shares.idxmax()})"
    )


@style()
def draw(
    layers: Mapping[int, np.ndarray],
    status: Mapping[int, str],
    lag: str,
    rows: int,
    within: bool,
    outcome: str,
    title: str,
    size: Size = PAGE,
) -> Figure:
    """Draw a panel per layer with the outcome against a lag or lead, and the fitted line.

    If there is room for only a few panels, they are spread over the layers.
    """
    shown = evenly_chosen(list(layers), MOST_PANELS[size.name])
    lines = -(-len(shown) // ACROSS[size.name])
    across = -(-len(shown) // lines)
    some = f"{len(shown)} of {len(layers)} layers. " if len(shown) < len(layers) else ""
    variable = OUTCOMES[outcome]
    of_what = variable.removeprefix("log ")
    if of_what != variable:
        of_what = f"natural logarithm of the {of_what}"
    terms = "the other lags and covariates" + (" and the means of documents" if within else "")
    note = (
        f"{some}Added-variable plot: both axes show residuals of the {of_what} given {terms}, in "
        f"standard deviations (SD) of the layer's outcome; the central {100 * (1 - 2 * TAIL):g}% "
        f"of every layer is visible. Line: least squares, whose slope is the coefficient of "
        f"{named(lag)} before any bias correction; r²: its share of the variance shown. "
        f"{sample_shown(rows, 'rows')}{PREDICTIVE}"
    )
    # Panels are square.
    side = min((size.canvas - 1.2) / across, 4.4)
    figure, canvas = framed(title, note, size, lines * (side + 0.3) + 0.4)
    low, high = lag_limits({layer: layers[layer] for layer in shown})
    edges = BIN * np.arange(np.floor(low / BIN), np.ceil(high / BIN) + 1)
    counts = {}
    for layer in shown:
        if layers[layer].shape[1] > MOST_POINTS:
            x, y = layers[layer]
            counts[layer] = np.histogram2d(x, y, bins=[edges, edges])[0].astype(int)
    shades = LogNorm(1, max([10, *(int(c.max()) for c in counts.values())]))
    # All panels have the same limits and ticks. They are not shared axes, because drawing would
    # then take quadratic time.
    grid = canvas.subplots(lines, across, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for place, (axes, layer) in enumerate(zip(grid.flat, shown, strict=False)):
        axes.set_title(f"layer {layer}", loc="left", pad=3)
        if layer in counts:
            draw_counts(axes, counts[layer], edges, edges, shades)
        else:
            kind = {"color": SHADES(0.6), "alpha": 0.5, "linewidths": 0, "rasterized": True}
            axes.scatter(*layers[layer], s=4, **kind)
        _draw_fit(axes, layers[layer], (low, high), status.get(layer, "ok"))
        # Numbers are shown at the bottom of each column and at the left of each row.
        axes.tick_params(labelbottom=place + across >= len(shown), labelleft=place % across == 0)
    if counts:
        canvas.colorbar(
            ScalarMappable(shades, SHADES),
            ax=grid,
            label=f"tokens per square of {BIN:g} SD (log scale)",
            format="{x:,.0f}",
            fraction=0.02,
            aspect=40,
            pad=0.01,
        )
    unit = "given the other terms (SD)" if size is PAGE else "(SD)"
    sign = "+" if is_lead(lag) else "−"
    canvas.supxlabel(f"{variable} at token t {sign} {distance(lag)} {unit}", fontsize=10)
    canvas.supylabel(f"{variable} at token t {unit}", fontsize=10)
    return figure


def _draw_fit(axes: Axes, points: np.ndarray, limits: tuple[float, float], status: str) -> None:
    """Draw the line of least squares with its slope and share, or why there is none."""
    slope, share = slope_and_share(points)
    text = f"slope {slope:.2f}"
    if np.isfinite(slope):
        outline = [patheffects.withStroke(linewidth=2.8, foreground="w")]
        axes.axline((0, 0), slope=slope, color=LINE, linewidth=1.6, path_effects=outline)
        axes.set_title(f"r² {share:.2f}", loc="right", pad=3, fontsize=8, color=GREY)
    else:
        text = textwrap.fill(f"not fitted: {'no variance' if status == 'ok' else status}", 18)
    box = {"facecolor": "w", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    axes.text(0.05, 0.95, text, transform=axes.transAxes, va="top", fontsize=8, bbox=box)
    ticks = [tick for tick in range(-12, 13, 2) if limits[0] <= tick <= limits[1]]
    axes.set(xticks=ticks, yticks=ticks, xlim=limits, ylim=limits, aspect="equal")
