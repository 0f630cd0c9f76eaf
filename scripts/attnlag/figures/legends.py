"""Legends, with the marks and colours that they explain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns

from attnlag.regression.terms import is_lead

# Colour-blind safe colours.
PALETTE: list[str] = sns.color_palette("colorblind").as_hex()

# Mark of a layer that has no attention, as it is written.
NO_ATTENTION = "◇"

GREY = "0.35"

# Mark of a layer without a fit.
UNFITTED: dict[str, Any] = {"linestyle": "none", "marker": "^", "mfc": "none", "ms": 6}


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
    cold = layer_colours(len(behind))
    return dict(zip(behind, cold, strict=True)) | dict(zip(ahead, warm, strict=True))


def dashes(term: str) -> Any:
    """Return the dashes of a term, which distinguish leads from lags without colour."""
    return (0, (5, 1.5)) if is_lead(term) else "-"


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
