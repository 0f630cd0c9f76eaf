"""Added-variable plot of the nearest lag, a panel per layer.

Outcome and lag are residuals given the other terms of the regression, document effects included,
through which least squares has the same slope as the whole regression (Frisch, Waugh and Lovell).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from attnlag.claims.numbers import number
from attnlag.figures import drawing
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY
from attnlag.figures.sampling import DesignSample
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import PREDICTIVE, sample_shown
from attnlag.regression.labels import OUTCOMES
from attnlag.regression.terms import distance, is_lead, named, nearest_lag

DRAWN_BY = "plot_regression"
ON_REQUEST = True
CATEGORY = "coefficients"
SUBCATEGORY = "outcome by lag"
METHOD = "Added-variable plots show outcome and lag given all other terms."

# Edges of the squares in which points are counted, up to the end of the axes, in SD.
EDGES = np.arange(-4.0, 4.05, 0.1)

# Number of panels that a size has room for, and of panels side by side.
MOST_PANELS, ACROSS = {"page": 10**6, "column": 4}, {"page": 6, "column": 2}


class Cloud(NamedTuple):
    """The points of a layer, in standard deviations of its outcome, and their line."""

    counts: np.ndarray  # of points by square: lag, outcome
    slope: float  # of the outcome on the lag
    share: float  # of the outcome's variance that the lag explains


def cloud_of(terms: pd.DataFrame, lag: str, within: bool) -> Cloud | None:
    """Reduce the terms of a layer, rows by document, to a lag and the outcome given the others.

    Rows with a NaN are left out, and the means of all rows are removed or those ``within`` each
    document. Where either does not vary, there is no cloud.
    """
    known = terms.dropna()
    centred = known - (known.groupby(level=0).transform("mean") if within else known.mean())
    pair, others = centred[[lag, "y"]].to_numpy(), centred.drop(columns=[lag, "y"]).to_numpy()
    residuals = pair - others @ np.linalg.lstsq(others, pair, rcond=None)[0]
    if not residuals.any(axis=0).all():
        return None
    x, y = residuals.T
    # One unit for both leaves the slope as it is.
    counts = np.histogramdd(residuals / np.sqrt(np.mean(y**2)), [EDGES, EDGES])[0]
    return Cloud(counts, x @ y / (x @ x), (x @ y) ** 2 / (x @ x * (y @ y)))


def figure(inputs: Inputs) -> CustomFigure:
    """Return a panel per layer, read one at a time from a sample of the rows of a large design."""
    sample, status = DesignSample(inputs.design), inputs.fits.set_index("layer")["status"]
    lag, within = nearest_lag(sample.terms), inputs.regression["fixed_effects"] == "document"
    clouds = dict.fromkeys(drawing.chosen_layers(inputs.layers, sample.layers))
    for layer in tqdm(clouds, desc="layers", unit="layer", delay=2):
        if status[layer] == "ok":
            clouds[layer] = cloud_of(sample.of_layer(layer, *sample.terms), lag, within)
    parts = clouds, status.replace("ok", "no variance"), lag, sample.count, inputs.outcome
    return CustomFigure(claim_of(clouds, lag), draw, parts)


def claim_of(clouds: dict[int, Cloud | None], lag: str) -> str:
    """Return the share that the lag explains of the variance left by the other terms."""
    shares = pd.Series({layer: cloud.share for layer, cloud in clouds.items() if cloud})
    if shares.empty:
        return "No layer was fitted"
    return (
        f"{named(lag).capitalize()} explains {shares.median():.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares.max():.0%}, layer {shares.idxmax()})"
    )


def draw(clouds, reasons, lag, rows: int, outcome: str, title: str, size: Size) -> Figure:
    """Draw a panel for each layer, or for a few over the depth, with the fitted line."""
    shown = drawing.evenly_chosen(list(clouds), MOST_PANELS[size.name])
    lines = -(-len(shown) // ACROSS[size.name])
    across = -(-len(shown) // lines)
    darkest = max([10, *(int(clouds[layer].counts.max()) for layer in shown if clouds[layer])])
    note = (
        f"{len(shown)} of {len(clouds)} layers. "
        * (len(shown) < len(clouds))
        + f"Added-variable plot of the {OUTCOMES[outcome]}: both axes show residuals given the "
        "other terms of the regression, in standard deviations (SD) of the layer's outcome, up to "
        f"{EDGES[-1]:.0f}. Line: least squares, whose slope is the coefficient of {named(lag)} "
        "before any bias correction; r²: its share of the variance. Shades: tokens per square, 1 "
        f"to {darkest:,} (log scale). {sample_shown(rows, 'rows')}{PREDICTIVE}"
    )
    side = min((size.canvas - 1.2) / across, 4.4)
    figure, canvas = drawing.framed(title, note, size, lines * (side + 0.3) + 0.4)
    for place, layer in enumerate(shown):
        axes, cloud = canvas.add_subplot(lines, across, place + 1), clouds[layer]
        drawing.name_layer(axes, layer, "ok" if cloud else reasons[layer])
        if cloud:
            drawing.draw_counts(axes, cloud.counts, EDGES, darkest)
            axes.axline((0, 0), slope=cloud.slope, color=drawing.LINE, linewidth=1.6)
            told = f"{number(cloud.slope)}, r² {cloud.share:.2f}"
            axes.set_title(told, loc="right", fontsize=8, color=GREY)
        axes.set(xticks=[-3, 0, 3], yticks=[-3, 0, 3], xlim=EDGES[[0, -1]], ylim=EDGES[[0, -1]])
        axes.set_aspect("equal")
        # Numbers are shown at the bottom of each column and at the left of each row.
        axes.tick_params(labelbottom=place + across >= len(shown), labelleft=place % across == 0)
    unit = "given the other terms (SD)" if size is PAGE else "(SD)"
    sign = "+" if is_lead(lag) else "−"
    canvas.supxlabel(f"{OUTCOMES[outcome]} at token t {sign} {distance(lag)} {unit}", fontsize=10)
    canvas.supylabel(f"{OUTCOMES[outcome]} at token t {unit}", fontsize=10)
    return figure
