"""Legends, with the marks and colours that they explain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from attnlag.regression.labels import shown_within, tested
from attnlag.regression.terms import is_lead

# Colour-blind safe colours.
PALETTE: list[str] = sns.color_palette("colorblind").as_hex()

# Mark of a layer that has no attention, as it is written.
NO_ATTENTION = "◇"

GREY = "0.35"

# Styles of the controls: permuted order of tokens, and random weights.
PERMUTED = "0.7"
RANDOM_LINE: dict[str, Any] = {"color": "0.25", "linestyle": (0, (4, 2.5)), "linewidth": 1.1}

# Mark of a layer without a fit.
UNFITTED: dict[str, Any] = {"linestyle": "none", "marker": "^", "mfc": "none", "ms": 6}

# Height of one line of a legend, in inches.
LEGEND_LINE = 0.2


def layer_colours(layers: int) -> np.ndarray:
    """Return one RGBA colour per layer, dark to light in the order of the layers."""
    # The last tenth of the map is a yellow that is hard to see on white.
    return sns.color_palette("viridis", as_cmap=True)(np.linspace(0, 0.9, layers))


def lag_colours(lags: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each lag and lead, nearest first."""
    if len(lags) <= 4:
        return dict(zip(lags, PALETTE, strict=False))
    # Many lags get a sequential map, because hues have no order. Leads have a map of their own.
    behind = [lag for lag in lags if not is_lead(lag)]
    ahead = [lag for lag in lags if is_lead(lag)]
    warm = sns.color_palette("YlOrBr_r", as_cmap=True)(np.linspace(0.1, 0.5, len(ahead)))
    return {
        **dict(zip(behind, layer_colours(len(behind)), strict=True)),
        **dict(zip(ahead, warm, strict=True)),
    }


def dashes(term: str) -> Any:
    """Return the dashes of a term, which distinguish leads from lags without colour."""
    return (0, (5, 1.5)) if is_lead(term) else "-"


def band_text(alpha: float) -> str:
    """Return the label of a band in a legend."""
    return f"{100 * (1 - alpha):g}% confidence band"


def mark_entries(alpha: float, adjust: str, equivalence_bound: float | None) -> dict[str, Any]:
    """Return the legend's entries of the marks of coefficients, by label.

    A coefficient may be shown to be within ± ``equivalence_bound``; None: no such test is shown.
    """
    mark: dict[str, Any] = {"linestyle": "none", "color": GREY, "markersize": 5, "mew": 1.1}
    entries = {
        tested("<", alpha, adjust): Line2D([], [], marker="o", **mark),
        tested("≥", alpha, adjust): Line2D([], [], marker="x", **mark),
    }
    if equivalence_bound is not None:
        entries[shown_within(equivalence_bound)] = Line2D(
            [], [], marker="o", markerfacecolor="w", **mark
        )
    return entries


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return the number of columns that makes a legend of ``width`` inches as short as possible.

    A legend is filled column by column, each as wide as its longest label.
    """
    columns = len(labels)
    for lines in range(1, len(labels) + 1):
        columns = -(-len(labels) // lines)
        longest = [max(map(len, column)) for column in np.array_split(labels, columns)]
        # A character of 9 points is about 0.07 inches wide; the line and the gaps come to 0.65.
        if sum(0.65 + 0.07 * size for size in longest) <= width:
            break
    return columns
