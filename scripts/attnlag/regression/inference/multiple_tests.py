"""Tests of many coefficients at once: p-values corrected for their number, and equivalence."""

import numpy as np
import pandas as pd
from scipy import special

from attnlag.regression.settings import Errors


def adjusted_p_values(p_values: pd.Series, adjust: str) -> np.ndarray:
    """Return p-values, (tests,), corrected for their number; NaN stays and is not counted."""
    adjusted = p_values.to_numpy(copy=True)
    tested = ~np.isnan(adjusted)
    if adjust == "none" or not tested.any():
        return adjusted
    p = adjusted[tested]
    if adjust == "holm":
        # The function of statsmodels runs the garbage collector: 0.05 s in each of many calls.
        order = np.argsort(p)
        steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        p[order] = np.minimum(steps, 1)
    else:
        # The import takes half a second, which the default correction does not need.
        from statsmodels.stats.multitest import multipletests

        p = multipletests(p, method="fdr_bh")[1]
    adjusted[tested] = p
    return adjusted


def equivalence_test(
    estimate: pd.Series | np.ndarray,
    error: pd.Series | np.ndarray,
    df: pd.Series | np.ndarray | int,
    settings: Errors,
) -> np.ndarray:
    """Return which coefficients of several layers, (layers,), are shown to be beyond or within ± δ.

    ``"present"``: |β| ≤ δ is rejected by the p-value of |b| at the bound, which at δ = 0 is the
    two-sided one of β = 0; what is present is thus significant too. ``"absent"``: |β| ≥ δ is
    rejected by two one-sided tests. ``"undecided"``: neither, or no estimate. The p-values of
    either kind are corrected over the layers.
    """
    bound = settings.equivalence_bound
    size = np.abs(np.asarray(estimate, dtype=float))
    error = np.asarray(error, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = (size - bound) / error
        within = (bound - size) / error
        opposite = (size + bound) / error
    p_beyond = special.stdtr(df, -beyond) + special.stdtr(df, -opposite)
    p_within = special.stdtr(df, -within)
    present = adjusted_p_values(pd.Series(p_beyond), settings.adjust) < settings.alpha
    absent = adjusted_p_values(pd.Series(p_within), settings.adjust) < settings.alpha
    return np.select([absent, present], ["absent", "present"], "undecided").astype(object)
