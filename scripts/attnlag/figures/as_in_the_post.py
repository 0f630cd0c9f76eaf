"""The three pictures of the teaching notebook from which this project grew (Cohen, 2025).

They show the norms of all tokens by layer as jittered dots, histograms of a few layers with bins
by the rule of Freedman and Diaconis, and two coefficients by layer with crosses where p >= alpha.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure, SubFigure

from attnlag.figures.drawing import evenly_chosen, label_layers
from attnlag.figures.files import style
from attnlag.figures.legends import PALETTE
from attnlag.regression.terms import lags_among, named

# Layers with a histogram.
MOST_HISTOGRAMS = 4

# Width of the strip of a layer's dots, as a share of the distance between layers.
JITTER = 0.6


@style()
def draw(norms: np.ndarray, coefficients: pd.DataFrame, alpha: float) -> Figure:
    """Return the pictures, one below the other.

    ``norms`` are those of the tokens that were regressed, (layers, tokens). Coefficients whose
    p-value, not corrected for the number of layers, is at least ``alpha`` have a cross.
    """
    figure = Figure(figsize=(10, 10), layout="constrained")
    parts: Any = figure.subfigures(3, height_ratios=(1.1, 0.9, 1))
    top, middle, bottom = parts
    _draw_dots(top, norms)
    _draw_histograms(middle, norms)
    _draw_coefficients(bottom, coefficients, alpha)
    return figure


def _draw_dots(figure: SubFigure, norms: np.ndarray) -> None:
    """Draw a dot for each token in each layer, jittered sideways."""
    layers, tokens = norms.shape
    axes = figure.subplots()
    x = np.repeat(np.arange(layers), tokens) + JITTER * (
        np.random.default_rng(0).random(norms.size) - 0.5
    )
    kind = {"s": 6, "linewidth": 0, "alpha": 0.5, "legend": False, "rasterized": True}
    hue = np.repeat(np.arange(layers), tokens)
    sns.scatterplot(x=x, y=norms.ravel(), hue=hue, palette="viridis", ax=axes, **kind)
    axes.set(yscale="log", ylabel="norm of the adjustment")
    label_layers(axes, range(layers))
    figure.suptitle(f"Every dot is a token ({tokens:,} in each layer)", fontsize=10)
    sns.despine(ax=axes)


def _draw_histograms(figure: SubFigure, norms: np.ndarray) -> None:
    """Draw the distribution of the norms in a few layers."""
    shown = evenly_chosen(range(len(norms)), MOST_HISTOGRAMS)
    colours = sns.color_palette("viridis", len(norms))
    panels = np.atleast_1d(figure.subplots(1, len(shown)))
    for axes, layer in zip(panels, shown, strict=True):
        finite = norms[layer][np.isfinite(norms[layer])]
        sns.histplot(finite, bins="fd", color=colours[layer], ax=axes)
        axes.set(
            title=f"layer {layer}", xlabel="norm", ylabel="tokens" if axes is panels[0] else ""
        )
        sns.despine(ax=axes)


def _draw_coefficients(figure: SubFigure, coefficients: pd.DataFrame, alpha: float) -> None:
    """Draw the coefficients of lags by layer, with a cross where they are not significant."""
    axes = figure.subplots()
    for term, colour in zip(lags_among(list(coefficients["term"])), PALETTE, strict=False):
        rows = coefficients[coefficients["term"] == term].sort_values("layer")
        x, y = rows["layer"].to_numpy(), rows["estimate"].to_numpy()
        axes.plot(x, y, marker="o", color=colour, label=named(term))
        weak = (rows["p_value"] >= alpha).to_numpy()
        axes.plot(x[weak], y[weak], "x", color="k", markersize=9, markeredgewidth=1.5, zorder=3)
    axes.plot([], [], "x", color="k", markersize=9, label=f"p ≥ {alpha:g}")
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes.set(ylabel="coefficient")
    label_layers(axes, sorted(coefficients["layer"].unique()))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(ax=axes)
