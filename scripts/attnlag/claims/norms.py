"""Claims about norms of a sample of tokens: by layer, position, surprisal, part of speech."""

from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, over_layers

LARGEST = "largest"
SMALLEST = "smallest"


def by_layer(medians: pd.Series, outcome: str) -> list[Row]:
    """Return the median norm in the first and the last layer, and the extreme between them.

    Parameters
    ----------
    medians : Series
        The median norm of each layer, positive; NaN where a layer has none.
    outcome : str
        ``norm`` or ``relative``, as `attnlag.quantities.outcomes` names them.

    Returns
    -------
    list of Row
        ``norm_ends`` and, unless the largest and the smallest norm are at the ends,
        ``norm_extreme``, which is the largest if it is between them; nothing without medians.
    """
    known = medians.dropna()
    if known.empty:
        return []
    first = known.index[0]
    last = known.index[-1]
    ends = Row(
        "norm_ends",
        f"layer {first}, layer {last}, {outcome}",
        value=float(known.iloc[-1]),
        baseline="first layer",
        baseline_value=float(known.iloc[0]),
        layers=len(known),
    )
    layer: Any
    for kind, layer in ((LARGEST, known.idxmax()), (SMALLEST, known.idxmin())):
        if layer not in (first, last):
            value = float(known[layer])
            return [ends, Row("norm_extreme", f"layer {layer}", value=value, baseline=kind)]
    return [ends]


def position_drift(means: pd.DataFrame, first: str, last: str) -> list[Row]:
    """Return by how much the mean norm of a layer changes from some positions to later ones.

    Parameters
    ----------
    means : DataFrame
        Mean log norms, a row for each span of positions and a column for each layer.
    first, last : str
        The positions of the first and the last row, as in ``27–29``.

    Returns
    -------
    list of Row
        ``position_drift``, the median over the layers beside the extremes, as shares of the norm
        at the first positions; nothing with fewer than two rows, or without norms in one of them.
    """
    if len(means) < 2:
        return []
    logs = (means.iloc[-1] - means.iloc[0]).dropna()
    change = pd.Series(np.expm1(logs), index=logs.index)
    if change.empty:
        return []
    layers = f"layer {change.idxmin()}, layer {change.idxmax()}"
    return [over_layers(Row("position_drift", f"{first}, {last}, {layers}"), change)]


def surprisal_slopes(slopes: pd.Series, low: pd.Series, high: pd.Series) -> list[Row]:
    """Return by how much the norm changes with one more nat, beside tokens in random order.

    Parameters
    ----------
    slopes : Series
        Slope of the log norm over surprisal in each layer, in units per nat.
    low, high : Series
        The ends of the same with surprisal in random order within documents, by layer.

    Returns
    -------
    list of Row
        ``surprisal_slope`` and ``surprisal_random``, as shares of the norm.
    """
    layers = f"layer {slopes.idxmin()}, layer {slopes.idxmax()}"
    changes = np.expm1(slopes)
    random = Row(
        "surprisal_random",
        baseline="smallest and largest",
        baseline_low=float(np.expm1(low.min())),
        baseline_high=float(np.expm1(high.max())),
    )
    return [over_layers(Row("surprisal_slope", layers), changes), random]


def variance_between(shares: pd.Series, classes: int, tokens: int) -> Row:
    """Return the share of the variance of log norms that lies between parts of speech.

    Parameters
    ----------
    shares : Series
        R² of each layer.
    classes, tokens : int
        Number of parts of speech, and of tokens. By chance, R² is (classes - 1) / (tokens - 1).
    """
    by_chance = Row("upos_share", baseline_value=(classes - 1) / (tokens - 1))
    return over_layers(by_chance, shares)
