"""Added-variable plot of the nearest lag, a panel per layer.

Outcome and lag are residuals given the other terms of the regression, including document effects.
Least squares through this cloud has the same slope as the whole regression (Frisch, Waugh and
Lovell).
"""

import functools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

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
    frame,
    wrapped_footnote,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY
from attnlag.figures.sampling import sampled_rows
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import Own
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

# Side of the squares in which more points are counted, and the range of the counts, in standard
# deviations of the layer.
BIN = 0.1
REACH = 10.0
EDGES = np.arange(-round(REACH / BIN), round(REACH / BIN) + 1) * BIN

# Number of panels that these sizes have room for.
MOST_PANELS = {"column": 4, "slide": 10}

# Layout by largest number of panels: panels per row, and the width of each in inches.
SHAPES_OF_PANELS = {
    "page": ((1, 1, 4.4), (4, 2, 3.2), (12, 4, 2.05), (10**6, 6, 1.4)),
    "column": ((1, 1, 3.0), (4, 2, 1.4)),
    "slide": ((1, 1, 3.0), (4, 4, 1.8), (10, 5, 1.4)),
}


@dataclass
class LagPanel:
    """One layer's outcome against one lag, both given the other terms."""

    layer: int
    rows: int
    sd: float  # standard deviation of the outcome; NaN without rows
    slope: float = np.nan  # slope, r_squared: slope and R² of least squares; NaN if undefined
    r_squared: float = np.nan
    low: float = np.nan  # low, high: the central 99% of both, in standard deviations of the outcome
    high: float = np.nan
    # (rows, 2) float array or None: lag and outcome in standard deviations of the outcome, if there
    # are few rows.
    points: np.ndarray | None = None
    # (bins, bins) int array or None: rows in squares of ``BIN``, by lag and outcome, if there are
    # many.
    counts: np.ndarray | None = None
    status: str = "ok"  # "ok", or the reason why the layer was not fitted


def lag_panel(
    layer: int, values: np.ndarray, others: np.ndarray, groups: np.ndarray, status: str = "ok"
) -> LagPanel:
    """Reduce the data of a layer: lag and outcome as (2, rows), other terms, codes of documents.

    Both variables are in standard deviations of the outcome, so that layers share their axes and
    slopes are unchanged. A row that the layer drops is NaN.
    """
    known = np.isfinite(values).all(axis=0) & np.isfinite(others).all(axis=0)
    rows = int(known.sum())
    if status != "ok" or rows < 2:
        return LagPanel(layer, rows, np.nan, status=status)
    effects = Effects.of([groups[known]])
    lag, outcome = effects.residuals(values[:, known].T, others[:, known].T).T
    sd = float(np.sqrt(np.mean(outcome**2)))
    if not sd > 0:
        return LagPanel(layer, rows, np.nan, status=status)
    lag, outcome = lag / sd, outcome / sd
    slope = float(lag @ outcome / (lag @ lag))
    panel = LagPanel(layer, rows, sd, slope, slope * float(lag @ outcome) / rows)
    tails = np.quantile([lag, outcome], [TAIL, 1 - TAIL], axis=1)
    panel.low, panel.high = tails.min(), tails.max()
    if rows <= MOST_POINTS:
        panel.points = np.column_stack([lag, outcome])
    else:
        panel.counts = np.histogram2d(lag, outcome, bins=[EDGES] * 2)[0].astype(np.int64)
    return panel


def lag_limits(panels: Sequence[LagPanel]) -> tuple[float, float]:
    """Return the limits shared by both axes of all panels."""
    known = [panel for panel in panels if np.isfinite(panel.low)]
    low = min((panel.low for panel in known), default=-3.0)
    high = max((panel.high for panel in known), default=3.0)
    margin = 0.05 * (high - low)
    return max(low - margin, -REACH), min(high + margin, REACH)


def figure(inputs: Inputs) -> Own:
    """Return a panel per layer, read one at a time from a sample of the rows of a large design."""
    schema = pq.read_schema(inputs.design[0])
    present, terms = layers_and_terms(schema)
    layers = chosen_layers(inputs.layers, present)
    lag = lags_among(terms)[0]
    names = [lag, *(term for term in ("y", *terms) if term != lag)]
    names = list(dict.fromkeys(names))
    status = inputs.fits.set_index("layer")["status"]
    count = tables.row_count(inputs.design)
    rows = sampled_rows(count)
    within = inputs.regression["fixed_effects"] == "document"
    groups = np.zeros(len(rows), np.int64)
    if within:
        groups = pd.factorize(tables.values_of(inputs.design, "document", rows))[0]
    panels = []
    for layer in tqdm(layers, desc="layers", unit="layer", delay=2):
        stored = columns_of(schema.names, layer, names)
        values = np.stack([tables.values_of(inputs.design, name, rows) for name in stored])
        panels.append(lag_panel(layer, values[:2], values[2:], groups, status[layer]))
    drawn = functools.partial(draw, panels, lag, count, within, inputs.outcome)
    return Own(claim_of(panels, lag), drawn)


def claim_of(panels: Sequence[LagPanel], lag: str) -> str:
    """Return the share that the lag explains of the variance left by the other terms."""
    known = [(panel.r_squared, panel.layer) for panel in panels if panel.r_squared >= 0]
    if not known:
        return "No layer was fitted"
    share, layer = max(known)
    median = np.median([share for share, _ in known])
    return (
        f"{named(lag).capitalize()} explains {median:.0%} of the variance that the other terms "
        f"leave (median layer; at most {share:.0%}, layer {layer})"
    )


@style()
def draw(
    panels: Sequence[LagPanel],
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
    layers = len(panels)
    panels = evenly_chosen(panels, MOST_PANELS.get(size.name, layers))
    some = f"{len(panels)} of {layers} layers. " if len(panels) < layers else ""
    columns, side = next(
        (columns, side)
        for most, columns, side in SHAPES_OF_PANELS[size.name]
        if len(panels) <= most
    )
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    largest = max((int(p.counts.max()) for p in panels if p.counts is not None), default=0)
    # The scale of colours takes more than half an inch.
    width = columns * side + (1.5 if largest else 0.9) if size is PAGE else size.canvas
    logs = OUTCOMES[outcome]
    what = logs.removeprefix("log ")
    if what != logs:
        what = f"natural logarithm of the {what}"
    others = "the other lags and covariates" + (" and the means of documents" if within else "")
    footnote = (
        f"{some}Added-variable plot: both axes show residuals of the {what} given {others}, in "
        f"standard deviations (SD) of the layer's outcome; the central {100 * (1 - 2 * TAIL):g}% "
        f"of every layer is visible. Line: least squares, whose slope is the coefficient of "
        f"{named(lag)} before any bias correction; r²: its share of the variance shown. "
        f"{sample_shown(rows, 'rows')}{PREDICTIVE}"
    )
    height = lines * (side + 0.27) + 0.14 * len(wrapped_footnote(footnote, width)) + 1.3
    figure = Figure((width, size.tall(height)[1]), layout="constrained")
    # All panels have the same limits and ticks. They are not shared axes, because drawing would
    # then take quadratic time.
    grid = figure.subplots(lines, columns, squeeze=False)
    limits = lag_limits(panels)
    shades = LogNorm(1, max(largest, 10))
    unit = "given the other terms (SD)" if size is PAGE else "(SD)"

    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _draw_panel(axes, panel, limits, shades)
        # Numbers are shown at the bottom of each column and at the left of each row.
        axes.tick_params(labelbottom=place + columns >= len(panels), labelleft=place % columns == 0)
    if largest:
        figure.colorbar(
            ScalarMappable(shades, SHADES),
            ax=grid,
            label=f"tokens per square of {BIN:g} SD (log scale)",
            format="{x:,.0f}",
            fraction=0.02,
            aspect=40,
            pad=0.01,
        )
    frame(
        figure,
        title,
        footnote,
        x_label=f"{logs} at token t {'+' if is_lead(lag) else '−'} {distance(lag)} {unit}",
        y_label=f"{logs} at token t {unit}",
    )
    return figure


def _draw_panel(axes: Axes, panel: LagPanel, limits: tuple[float, float], shades: LogNorm) -> None:
    axes.set_title(f"layer {panel.layer}", loc="left", pad=3)
    if np.isfinite(panel.sd):
        share = f"r² {panel.r_squared:.2f}"
        axes.set_title(share, loc="right", pad=3, fontsize=8, color=GREY)
    if panel.points is not None:
        lag, outcome = panel.points.T
        axes.scatter(lag, outcome, s=4, color=SHADES(0.6), alpha=0.5, linewidths=0, rasterized=True)
    if panel.counts is not None:
        # Only squares inside the axes are drawn, which keeps a file of 48 panels small.
        start, stop = np.clip(np.searchsorted(EDGES, limits) + [-1, 0], 0, len(EDGES) - 1)
        inside = EDGES[start : stop + 1]
        draw_counts(axes, panel.counts[start:stop, start:stop], inside, inside, shades)
    text = f"slope {panel.slope:.2f}"
    if np.isfinite(panel.slope):
        ends = np.array(limits)
        axes.plot(
            ends,
            panel.slope * ends,
            color=LINE,
            linewidth=1.6,
            path_effects=[patheffects.withStroke(linewidth=2.8, foreground="w")],
        )
    else:
        reason = "no variance" if panel.status == "ok" else panel.status
        text = textwrap.fill(f"not fitted: {reason}", 18)
    axes.text(
        0.05,
        0.95,
        text,
        transform=axes.transAxes,
        va="top",
        fontsize=8,
        bbox={"facecolor": "w", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )
    ticks = [tick for tick in range(-12, 13, 2) if limits[0] <= tick <= limits[1]]
    axes.set(xticks=ticks, yticks=ticks, xlim=limits, ylim=limits, aspect="equal")
