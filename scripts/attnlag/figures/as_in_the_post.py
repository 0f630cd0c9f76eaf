"""The three pictures of the post from which this project grew (Cohen, 2025).

They show what is regressed, a log norm, of all tokens by layer as jittered dots, histograms of a
few layers with bins by the rule of Freedman and Diaconis, and the coefficients of lags by layer
with crosses where p >= alpha.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure, SubFigure

from attnlag import wording
from attnlag.claims.side_by_side import uncorrected
from attnlag.figures.drawing import evenly_chosen, framed, label_layers
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import lag_colours
from attnlag.figures.sampling import DesignSample
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import PREDICTIVE, rows_in_words, sample_shown
from attnlag.regression.labels import OUTCOMES
from attnlag.regression.terms import lags_among, named

DRAWN_BY = "plot_regression"
ON_REQUEST = True
CATEGORY = "coefficients"
SUBCATEGORY = "as in the post"

# Most tokens with a dot in each layer.
MAX_DOTS = 1000

# Most layers with a histogram by the size of a figure.
MAX_HISTOGRAMS = {"page": 4, "column": 2}

# Width of the strip of a layer's dots, as a share of the distance between layers.
JITTER = 0.6


def figure(inputs: Inputs) -> CustomFigure:
    """Return the pictures of the rows of a regression, or of a sample of them."""
    regression = inputs.regression
    sample = DesignSample(inputs.paths("design"))
    outcomes = {layer: sample.terms_of_layer(layer, "y")["y"] for layer in sample.layers}
    return pictures(
        pd.DataFrame(outcomes),
        regression.coefficients,
        regression.settings["alpha"],
        regression.settings["outcome"],
        sample.count,
        rows_in_words(regression.fits),
    )


def pictures(
    outcomes: pd.DataFrame,
    coefficients: pd.DataFrame,
    alpha: float,
    outcome: str,
    count: int,
    extent: str = "",
) -> CustomFigure:
    """Return the pictures, with the number of layers in which each lag is significant.

    ``outcomes`` has a column for each layer, of ``count`` rows or a sample. Coefficients whose
    p-value, not corrected for the number of layers, is at least ``alpha`` have a cross.
    """
    claims = uncorrected(coefficients, lags_among(coefficients["term"]), alpha)
    title = wording.title(claims, heading=wording.UNCORRECTED)
    parts = (outcomes, coefficients, alpha, outcome, count)
    return CustomFigure(title, draw, parts, extent)


def draw(
    outcomes: pd.DataFrame,
    coefficients: pd.DataFrame,
    alpha: float,
    outcome: str,
    count: int,
    title: str,
    size: Size,
) -> Figure:
    """Draw the pictures, one below the other."""
    dots = outcomes.iloc[:: -(-len(outcomes) // MAX_DOTS)]
    shown = evenly_chosen(outcomes.columns.tolist(), MAX_HISTOGRAMS[size.name])
    note = (
        f"Above: a dot for each of {len(dots):,} tokens in each layer. Middle: all tokens in "
        f"{len(shown)} layers, with bins by the rule of Freedman and Diaconis. Below: the "
        f"coefficients, with a cross where p ≥ {alpha:g}. {sample_shown(count, 'rows')}{PREDICTIVE}"
    )
    figure, canvas = framed(title, note, size, 9 if size is PAGE else 7)
    parts: Any = canvas.subfigures(3, height_ratios=(1.1, 0.9, 1))
    _draw_dots(parts[0], dots, OUTCOMES[outcome])
    _draw_histograms(parts[1], outcomes[shown], OUTCOMES[outcome])
    _draw_coefficients(parts[2], coefficients, alpha)
    sns.despine(figure)
    return figure


def _draw_dots(figure: SubFigure, outcomes: pd.DataFrame, label: str) -> None:
    """Draw a dot for each token in each layer, jittered sideways."""
    rows = outcomes.melt(var_name="layer", value_name="y")
    x = rows["layer"] + JITTER * (np.random.default_rng(0).random(len(rows)) - 0.5)
    axes = figure.subplots()
    kind = {"s": 6, "linewidth": 0, "alpha": 0.5, "legend": False, "rasterized": True}
    sns.scatterplot(x=x, y=rows["y"], hue=rows["layer"], palette="viridis", ax=axes, **kind)
    axes.set(ylabel=label)
    label_layers(axes, sorted(rows["layer"].unique()))


def _draw_histograms(figure: SubFigure, outcomes: pd.DataFrame, label: str) -> None:
    """Draw the distribution of the outcome in a few layers."""
    colours = sns.color_palette("viridis", len(outcomes.columns))
    panels = figure.subplots(1, len(outcomes.columns), squeeze=False)[0]
    for axes, layer, colour in zip(panels, outcomes, colours, strict=True):
        sns.histplot(outcomes[layer].dropna(), bins="fd", color=colour, ax=axes)
        axes.set(title=f"layer {layer}", xlabel=label, ylabel="")
        if axes is panels[0]:
            axes.set_ylabel("tokens")


def _draw_coefficients(figure: SubFigure, coefficients: pd.DataFrame, alpha: float) -> None:
    """Draw the coefficients of lags by layer, with a cross where they are not significant."""
    axes = figure.subplots()
    for term, colour in lag_colours(lags_among(coefficients["term"])).items():
        rows = coefficients[coefficients["term"] == term].sort_values("layer")
        x = rows["layer"].to_numpy()
        y = rows["estimate"].to_numpy()
        axes.plot(x, y, marker="o", color=colour, label=named(term))
        weak = (rows["p_value"] >= alpha).to_numpy()
        axes.plot(x[weak], y[weak], "x", color="k", markersize=9, markeredgewidth=1.5, zorder=3)
    axes.plot([], [], "x", color="k", markersize=9, label=f"p ≥ {alpha:g}")
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes.set(ylabel="coefficient")
    label_layers(axes, sorted(coefficients["layer"].unique()))
    axes.legend()
