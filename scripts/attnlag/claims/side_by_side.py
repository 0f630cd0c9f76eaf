"""Claims about one lag in several studies that a figure draws side by side."""

from collections.abc import Mapping
from dataclasses import replace

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
