"""Outcome against its nearest lag, a panel per layer, with the fitted line."""

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

from attnlag.adjustments import columns
from attnlag.figures.drawing import (
    LINE,
    PREDICTIVE,
    SHADES,
    TAIL,
    chosen_layers,
    draw_counts,
    evenly_chosen,
    frame,
    sample_shown,
    wrapped_footnote,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import RegressionInputs, sampled_rows
from attnlag.figures.legends import GREY
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression import crossproducts
from attnlag.regression.labels import OUTCOMES
from attnlag.regression.terms import distance, is_lead, lags_among, named
from attnlag.storage import tables

DRAWN_BY = ("plot_regression",)

CATEGORY = "coefficients"

SUBCATEGORY = "outcome by lag"

# Up to here the points of a lag are drawn one by one; more of them hide each other.
MOST_POINTS = 2000

# Side of the squares in which more are counted, and the reach of the counts, in standard
# deviations of the layer.
BIN = 0.1
REACH = 10.0
EDGES = np.arange(-round(REACH / BIN), round(REACH / BIN) + 1) * BIN

# Panels of single layers that these sizes have room for.
MOST_PANELS = {"column": 4, "slide": 10}

# For up to so many panels: how many side by side, and how wide each is, in inches.
SHAPES_OF_PANELS = {
    "page": ((1, 1, 4.4), (4, 2, 3.2), (12, 4, 2.05), (10**6, 6, 1.4)),
    "column": ((1, 1, 3.0), (4, 2, 1.4)),
    "slide": ((1, 1, 3.0), (4, 4, 1.8), (10, 5, 1.4)),
}


@dataclass
class LagPanel:
    """One layer's outcome against one lag, in standard deviations from the outcome's mean.

    Attributes
    ----------
    layer, rows : int
    mean, sd : float
        Of the outcome; NaN without rows.
    slope, r_squared : float
        NaN where the layer was not fitted.
    lag_mean : float
        Of the lag, standardised as the outcome is.
    low, high : float
        The central 99% of both.
    points : (rows, 2) float array or None
        Lag and outcome, if there are few rows.
    counts : (bins, bins) int array or None
        Rows in squares of ``BIN``, by lag and outcome, if there are many.
    """

    layer: int
    rows: int
    mean: float
    sd: float
    slope: float
    r_squared: float
    lag_mean: float = np.nan
    low: float = np.nan
    high: float = np.nan
    points: np.ndarray | None = None
    counts: np.ndarray | None = None


def lag_panel(
    layer: int, lag: np.ndarray, outcome: np.ndarray, slope: float, r_squared: float
) -> LagPanel:
    """Reduce a layer to what the figure shows of it.

    Both are measured from the outcome's mean in the outcome's standard deviations: layers then
    share their axes whatever their level and spread, and a slope stays what it is.

    Parameters
    ----------
    layer : int
    lag, outcome : (rows,) float array
        Log norms, NaN where the layer drops the row.
    slope, r_squared : float
        Of the regression.
    """
    known = np.isfinite(lag) & np.isfinite(outcome)
    lag, outcome = lag[known], outcome[known]
    rows = len(outcome)
    mean, sd = (outcome.mean(), outcome.std(ddof=1)) if rows > 1 else (np.nan, np.nan)
    panel = LagPanel(layer, rows, mean, sd, slope, r_squared)
    if not sd > 0:
        return panel
    lag, outcome = (lag - mean) / sd, (outcome - mean) / sd
    panel.lag_mean = lag.mean()
    tails = np.quantile([lag, outcome], [TAIL, 1 - TAIL], axis=1)
    panel.low, panel.high = tails.min(), tails.max()
    if rows <= MOST_POINTS:
        panel.points = np.column_stack([lag, outcome])
    else:
        panel.counts = np.histogram2d(lag, outcome, bins=[EDGES] * 2)[0].astype(np.int64)
    return panel


def lag_limits(panels: Sequence[LagPanel]) -> tuple[float, float]:
    """Return the limits that both axes of all panels share."""
    known = [panel for panel in panels if np.isfinite(panel.low)]
    low = min((panel.low for panel in known), default=-3.0)
    high = max((panel.high for panel in known), default=3.0)
    margin = 0.05 * (high - low)
    return max(low - margin, -REACH), min(high + margin, REACH)


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    panels : list of LagPanel
        In the order of the layers.
    fits : pandas.DataFrame
        The table with a row per layer.
    lag : str
        The term, as in ``lag_1`` or ``lead_1``.
    rows : int
        Number of rows of the design, of which the panels perhaps show a sample.
    r_squared_name : str
        With document effects, R² is of the variance within documents.
    outcome : str
    """

    panels: list[LagPanel]
    fits: pd.DataFrame
    lag: str
    rows: int
    r_squared_name: str = "R²"
    outcome: str = "norm"


def reduce(inputs: RegressionInputs) -> Data:
    """Read the design one layer at a time, of a large one a sample of its rows."""
    present, terms = crossproducts.layers_and_terms(pq.read_schema(inputs.design[0]))
    layers = chosen_layers(inputs.layers, present)
    lag = lags_among(terms)[0]
    slopes = inputs.coefficients.query("term == @lag").set_index("layer")["estimate"]
    r_squared = inputs.fits.set_index("layer")["r_squared"]
    count = tables.row_count(inputs.design)
    rows = sampled_rows(count)
    panels = []
    for layer in tqdm(layers, desc="layers", unit="layer", delay=2):
        lags, outcomes = (
            tables.values_of(inputs.design, f"{columns.layer_name(layer)}.{column}", rows)
            for column in (lag, "y")
        )
        panels.append(lag_panel(layer, lags, outcomes, slopes[layer], r_squared[layer]))
    return Data(panels, inputs.fits, lag, count, inputs.r_squared_name, inputs.outcome)


def title_of(data: Data) -> str:
    """Return how much of the variance is explained at most, and in which layer."""
    fitted = data.fits.dropna(subset=["r_squared"])
    if fitted.empty:
        return "Outcome by lag"
    share, layer = max(zip(fitted["r_squared"], fitted["layer"], strict=True))
    variance = data.r_squared_name.replace("R²", "variance")
    return f"The regression explains up to {share:.0%} of the {variance} (layer {layer})"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw a panel per layer with the outcome against a lag or lead, and the fitted line.

    Where there is room for a few panels only, they are spread over the layers.
    """
    panels, lag = data.panels, data.lag
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
    logs = OUTCOMES[data.outcome]
    what = logs.removeprefix("log ")
    if what != logs:
        what = f"natural logarithm of the {what}"
    footnote = (
        f"{some}Both axes: {what}, less the mean of the layer's outcome, in "
        f"its standard deviations (SD), so that all panels share them; the central "
        f"{100 * (1 - 2 * TAIL):g}% of every layer is inside. Above each panel at the right: that "
        f"mean ± SD. Line: the regression's prediction by {named(lag)}, its other terms at their "
        f"means. {data.r_squared_name}: of the whole regression. "
        f"{sample_shown(data.rows, 'rows')}{PREDICTIVE}"
    )
    height = lines * (side + 0.27) + 0.14 * len(wrapped_footnote(footnote, width)) + 1.1
    figure = Figure((width, size.tall(height)[1]), layout="constrained")
    # All have the same limits and ticks. Were they shared, every panel would look through all
    # others whenever it is drawn.
    grid = figure.subplots(lines, columns, squeeze=False)
    limits = lag_limits(panels)
    shades = LogNorm(1, max(largest, 10))
    unit = "(SD)" if size.narrow else "(SD from the layer's mean)"

    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _draw_panel(axes, panel, limits, shades)
        # Where nothing below shows the numbers of this column, and at the left of the rows.
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
        level = f"{panel.mean:.2f} ± {panel.sd:.2f}"
        axes.set_title(level, loc="right", pad=3, fontsize=8, color=GREY)
    if panel.points is not None:
        lag, outcome = panel.points.T
        axes.scatter(lag, outcome, s=4, color=SHADES(0.6), alpha=0.5, linewidths=0, rasterized=True)
    if panel.counts is not None:
        # The squares inside the axes only: a file of 48 panels stays small.
        start, stop = np.clip(np.searchsorted(EDGES, limits) + [-1, 0], 0, len(EDGES) - 1)
        inside = EDGES[start : stop + 1]
        draw_counts(axes, panel.counts[start:stop, start:stop], inside, inside, shades)
    if np.isfinite(panel.slope) and np.isfinite(panel.lag_mean):
        # Least squares goes through the means, and the outcome's is 0 here.
        ends = np.array(limits)
        axes.plot(
            ends,
            panel.slope * (ends - panel.lag_mean),
            color=LINE,
            linewidth=1.6,
            path_effects=[patheffects.withStroke(linewidth=2.8, foreground="w")],
        )
    fitted = np.isfinite(panel.r_squared)
    axes.text(
        0.05,
        0.95,
        f"R² {panel.r_squared:.3f}" if fitted else "not fitted",
        transform=axes.transAxes,
        va="top",
        bbox={"facecolor": "w", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )
    ticks = [tick for tick in range(-12, 13, 2) if limits[0] <= tick <= limits[1]]
    axes.set(xticks=ticks, yticks=ticks, xlim=limits, ylim=limits, aspect="equal")
