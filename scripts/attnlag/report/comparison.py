"""Findings of a comparison of models in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond import claims, population
from attnlag.regression.labels import FEWEST_POINTS
from attnlag.regression.terms import named
from attnlag.report.wording import titled


def comparison_findings(pairs: pd.DataFrame, alpha: float, negligible: float) -> str:
    """Return how alike two models are, pair by pair, as text; there may be one model only.

    Intervals cover 1 - ``alpha``; a difference up to ``negligible`` is none.
    """
    if pairs.empty:
        return "comparison: there is one model, so there are no pairs of models\n"
    return "".join(
        titled(
            f"comparison of models over relative depth, {name}:",
            [_pair_finding(row, alpha, negligible) for row in rows.itertuples()],
        )
        for name, rows in pairs.groupby("regression", sort=False)
    )


def claims_findings(held: pd.DataFrame, spread: pd.DataFrame, models: Sequence[str]) -> str:
    """Return which claims hold in which of several models, and how lag 1 varies among them."""
    if len(models) < 2:
        return ""
    text = ""
    for regression, rows in held.groupby("regression", sort=False):
        lines = claims.sentences(rows, models)
        of_lag = spread[(spread["regression"] == regression) & (spread["term"] == "lag_1")]
        by_sample = of_lag.groupby(population.POPULATION, sort=False)
        lines += [population.sentence(rows_of_models) for _, rows_of_models in by_sample]
        text += titled(f"what holds in {regression}:", lines)
    return text


def _pair_finding(row: Any, alpha: float, negligible: float) -> str:
    first, second = (
        f"{model} (random weights)" if control else model
        for model, control in ((row.model_a, row.control_a), (row.model_b, row.control_b))
    )
    if np.isnan(row.correlation):
        reason = "a profile is constant"
        if row.points < FEWEST_POINTS:
            reason = f"{counted(row.points, 'common point')} of depth, expected {FEWEST_POINTS}"
        elif np.isfinite(row.correlation_observed):
            reason = "a profile varies no more than its errors"
        correlation = f"no correlation over depth ({reason})"
    else:
        interval = f"{100 * (1 - alpha):g}% interval {row.conf_low:.2f} to {row.conf_high:.2f}"
        if row.draws == 0:
            interval = f"no interval with {counted(row.documents, 'document')}"
        correlation = f"they correlate {row.correlation:.2f} ({interval}) over depth"
    dropped = row.documents_only_a + row.documents_only_b
    note = f"; {counted(dropped, 'document')} with rows in one model only left out"
    differ = ""
    if row.layers_compared:
        differ = (
            f"; they are shown to differ by more than {negligible:g} in {row.layers_differing} of "
            f"{counted(row.layers_compared, 'layer')} and by less in {row.layers_alike}, "
            f"{row.median_difference:+.3f} in the median layer"
        )
    return (
        f"{named(row.term)}, {row.site}, {row.corpus}: median {row.median_a:.3f} in {first}, "
        f"{row.median_b:.3f} in {second}; {correlation}{differ}{note * bool(dropped)}"
    )
