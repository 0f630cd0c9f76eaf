"""Added-variable plot of the nearest lag, a panel per layer.

Outcome and lag are residuals given the other terms of the regression, document effects included,
through which least squares has the same slope as the whole regression (Frisch, Waugh and Lovell).
"""

import functools
import textwrap

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from scipy.stats import linregress
from tqdm import tqdm

from attnlag.claims.numbers import number
from attnlag.figures.drawing import LINE, chosen_layers, draw_counts, evenly_chosen, framed
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY
from attnlag.figures.sampling import sampled_rows
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import PREDICTIVE, sample_shown
from attnlag.regression.design.design import columns_of, layers_and_terms
from attnlag.regression.labels import OUTCOMES
from attnlag.regression.terms import distance, is_lead, named, nearest_lag
from attnlag.storage import tables

DRAWN_BY = "plot_regression"
ON_REQUEST = True
CATEGORY = "coefficients"
SUBCATEGORY = "outcome by lag"
METHOD = "Added-variable plots show outcome and lag given all other terms."

# Squares in which points are counted, up to the end of the axes, in standard deviations.
EDGES = np.arange(-4.0, 4.05, 0.1)

# Number of panels that a size has room for, and of panels side by side.
MOST_PANELS, ACROSS = {"page": 10**6, "column": 4}, {"page": 6, "column": 2}


def points_of(values: np.ndarray, others: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return lag and outcome, (2, rows), of a layer given its other terms, (terms, rows).

    Both are in standard deviations of the outcome, so that layers share their axes and slopes are
    unchanged. The means of ``groups``, codes of documents, are removed: those of an intercept if
    all are equal. Rows with a NaN are left out; without variance, all are.
    """
    frame = pd.DataFrame(np.concatenate([values, others]).T).dropna()
    centred = (frame - frame.groupby(groups[frame.index]).transform("mean")).to_numpy()
    y, x = centred[:, :2], centred[:, 2:]
    residuals = (y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).T
    sd = np.sqrt(np.mean(residuals[1] ** 2)) if len(frame) else 0.0
    return residuals / sd if sd > 0 else np.empty((2, 0))


def figure(inputs: Inputs) -> CustomFigure:
    """Return a panel per layer, read one at a time from a sample of the rows of a large design."""
    schema = pq.read_schema(inputs.design[0])
    present, terms = layers_and_terms(schema)
    lag = nearest_lag(terms)
    names = [lag, "y", *(term for term in terms if term not in (lag, "y"))]
    status = inputs.fits.set_index("layer")["status"]
    count = tables.row_count(inputs.design)
    rows = sampled_rows(count)
    groups = np.zeros(len(rows), np.int64)
    if inputs.regression["fixed_effects"] == "document":
        groups = pd.factorize(tables.values_at(inputs.design, "document", rows))[0]
    layers = dict.fromkeys(chosen_layers(inputs.layers, present), np.empty((2, 0)))
    for layer in tqdm(layers, desc="layers", unit="layer", delay=2):
        if status[layer] == "ok":
            columns = columns_of(schema.names, layer, names)
            values = np.stack([tables.values_at(inputs.design, name, rows) for name in columns])
            layers[layer] = points_of(values[:2], values[2:], groups)
    reasons = status.replace("ok", "no variance")
    drawn = functools.partial(draw, layers, reasons, lag, count, inputs.outcome)
    return CustomFigure(claim_of(layers, lag), drawn)


def claim_of(layers: dict[int, np.ndarray], lag: str) -> str:
    """Return the share that the lag explains of the variance left by the other terms."""
    fits = {layer: linregress(*points) for layer, points in layers.items() if points.size}
    if not fits:
        return "No layer was fitted"
    shares = pd.Series({layer: fit.rvalue**2 for layer, fit in fits.items()})
    return (
        f"{named(lag).capitalize()} explains {shares.median():.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares.max():.0%}, layer {shares.idxmax()})"
    )


@style()
def draw(layers, reasons, lag, rows: int, outcome: str, title: str, size: Size = PAGE) -> Figure:
    """Draw a panel per layer with the outcome against a lag or lead, and the fitted line.

    If there is room for only a few panels, they are spread over the layers. ``reasons`` says why
    layers have no points.
    """
    shown = evenly_chosen(list(layers), MOST_PANELS[size.name])
    lines = -(-len(shown) // ACROSS[size.name])
    across = -(-len(shown) // lines)
    counts = {layer: np.histogramdd(layers[layer].T, bins=[EDGES, EDGES])[0] for layer in shown}
    darkest = max(10, *(int(of_layer.max()) for of_layer in counts.values()))
    note = (
        f"{len(shown)} of {len(layers)} layers. "
        * (len(shown) < len(layers))
        + f"Added-variable plot of the {OUTCOMES[outcome]}: both axes show residuals given the "
        "other terms of the regression, in standard deviations (SD) of the layer's outcome, up to "
        f"{EDGES[-1]:.0f}. Line: least squares, whose slope is the coefficient of {named(lag)} "
        "before any bias correction; r²: its share of the variance. Shades: tokens per square, 1 "
        f"to {darkest:,} (log scale). {sample_shown(rows, 'rows')}{PREDICTIVE}"
    )
    side = min((size.canvas - 1.2) / across, 4.4)
    figure, canvas = framed(title, note, size, lines * (side + 0.3) + 0.4)
    grid = canvas.subplots(lines, across, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for place, (axes, layer) in enumerate(zip(grid.flat, shown, strict=False)):
        text = f"layer {layer}"
        if layers[layer].size:
            draw_counts(axes, counts[layer], EDGES, darkest)
            fit = linregress(*layers[layer])
            axes.axline((0, 0), slope=fit.slope, color=LINE, linewidth=1.6)
            told = f"{number(fit.slope)}, r² {fit.rvalue**2:.2f}"
            axes.set_title(told, loc="right", pad=3, fontsize=8, color=GREY)
        else:
            text += f"\n{textwrap.fill(f'not fitted: {reasons[layer]}', 18)}"
        axes.text(0.05, 0.95, text, transform=axes.transAxes, va="top", fontsize=8)
        axes.set(xticks=[-3, 0, 3], yticks=[-3, 0, 3], xlim=EDGES[[0, -1]], ylim=EDGES[[0, -1]])
        axes.set_aspect("equal")
        # Numbers are shown at the bottom of each column and at the left of each row.
        axes.tick_params(labelbottom=place + across >= len(shown), labelleft=place % across == 0)
    unit = "given the other terms (SD)" if size is PAGE else "(SD)"
    sign = "+" if is_lead(lag) else "−"
    canvas.supxlabel(f"{OUTCOMES[outcome]} at token t {sign} {distance(lag)} {unit}", fontsize=10)
    canvas.supylabel(f"{OUTCOMES[outcome]} at token t {unit}", fontsize=10)
    return figure
