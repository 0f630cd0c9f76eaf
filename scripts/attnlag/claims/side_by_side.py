"""Claims that figures draw side by side: one lag in several studies, lags without correction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from attnlag.claims.norms import LARGEST, SMALLEST
from attnlag.claims.row import Row
from attnlag.claims.run import Claims

# Studies whose sizes are stated; of more, the smallest and the largest.
MAX_STUDIES = 3


def lags_side_by_side(term: str, studies: Mapping[str, Claims]) -> list[Row]:
    """Return the median of a lag in each study, beside its range over the layers.

    Parameters
    ----------
    term : str
        A lag or lead, as in ``lag_1``.
    studies : mapping
        The claims of each study by its name; one without the lag is left out.

    Returns
    -------
    list of Row
        ``lag_beside`` for each study, or ``lag_beside_extreme`` for the smallest and the largest
        of many.
    """
    rows = []
    for name, claims in studies.items():
        lag = claims.one("lag", term)
        extremes = claims.one("lag_range", term)
        if lag is not None and extremes is not None:
            rows.append(
                replace(
                    lag,
                    claim="lag_beside",
                    subject=f"{term}, {name}",
                    baseline=extremes.baseline,
                    baseline_low=extremes.baseline_low,
                    baseline_high=extremes.baseline_high,
                )
            )
    if len(rows) <= MAX_STUDIES:
        return rows
    smallest = min(rows, key=lambda row: row.value)
    largest = max(rows, key=lambda row: row.value)
    return [
        replace(smallest, claim="lag_beside_extreme", baseline=SMALLEST),
        replace(largest, claim="lag_beside_extreme", baseline=LARGEST),
    ]


def uncorrected(coefficients: pd.DataFrame, terms: Sequence[str], alpha: float) -> list[Row]:
    """Return in how many layers each of some lags is significant without any correction.

    Parameters
    ----------
    coefficients : DataFrame
        A tidy table of one regression; a p-value of NaN is not significant.
    terms : sequence of str
        The lags and leads, one ``lag_uncorrected`` each.
    alpha : float
        The level of each test.
    """
    rows = []
    for term in terms:
        p_values = coefficients.loc[coefficients["term"] == term, "p_value"]
        rows.append(
            Row(
                "lag_uncorrected",
                term,
                value=float(p_values.min()),
                level=1 - alpha,
                layers=coefficients["layer"].nunique(),
                above=int((p_values < alpha).sum()),
            )
        )
    return rows
