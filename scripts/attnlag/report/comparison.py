"""Findings of a comparison of models in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond import claims, population
from attnlag.regression.labels import FEWEST_POINTS, with_minus_signs
from attnlag.regression.terms import named


def comparison_findings(pairs: pd.DataFrame, alpha: float, negligible: float) -> str:
    """Return a line for each pair of models, of which there may be none.

    Intervals cover 1 - ``alpha``; a difference up to ``negligible`` is none.
    """
    lines = []
    for name, rows in pairs.groupby("regression", sort=False):
        lines.append(f"comparison of models over relative depth, {name}:")
        lines += [f"  {_pair_finding(row, alpha, negligible)}" for row in rows.itertuples()]
    if not lines:
        lines.append("comparison: there is one model, so there are no pairs of models")
    return with_minus_signs("\n".join(lines)) + "\n"


def claims_findings(held: pd.DataFrame, spread: pd.DataFrame, models: Sequence[str]) -> str:
    """Return which claims hold in which of several models, and how lag 1 varies among them."""
    text = ""
    for regression, rows in held.groupby("regression", sort=False) if len(models) > 1 else ():
        text += f"what holds in {regression}:\n"
        text += "".join(f"  {line}\n" for line in claims.sentences(rows, list(models)))
        of_lag = spread[(spread["regression"] == regression) & (spread["term"] == "lag_1")]
        for _, of_models in of_lag.groupby(population.POPULATION, sort=False):
            text += f"  {population.sentence(of_models)}\n"
    return text


def _pair_finding(row: Any, alpha: float, negligible: float) -> str:
    one, other = (
        f"{model} (random weights)" if control else model
        for model, control in ((row.model_a, row.control_a), (row.model_b, row.control_b))
    )
    if np.isnan(row.correlation):
        why = "a profile is constant"
        if row.points < FEWEST_POINTS:
            why = f"{counted(row.points, 'common point')} of depth, expected {FEWEST_POINTS}"
        elif np.isfinite(row.correlation_observed):
            why = "a profile varies no more than its errors"
        correlation = f"no correlation over depth ({why})"
    else:
        interval = f"{100 * (1 - alpha):g}% interval {row.conf_low:.2f} to {row.conf_high:.2f}"
        if row.draws == 0:
            interval = f"no interval with {counted(row.documents, 'document')}"
        correlation = f"they correlate {row.correlation:.2f} ({interval}) over depth"
    dropped = row.documents_only_a + row.documents_only_b
    note = (
        f"; {counted(dropped, 'document')} with rows in one model only left out" if dropped else ""
    )
    differ = ""
    if row.layers_compared:
        differ = (
            f"; they are shown to differ by more than {negligible:g} in {row.layers_differing} of "
            f"{counted(row.layers_compared, 'layer')} and by less in {row.layers_alike}, "
            f"{row.median_difference:+.3f} in the median layer"
        )
    return (
        f"{named(row.term)}, {row.site}, {row.corpus}: median {row.median_a:.3f} in {one}, "
        f"{row.median_b:.3f} in {other}; {correlation}{differ}{note}"
    )
