"""Tests, quantiles and autocorrelation of residuals, from the sums of the pass over them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression.estimation.identification import MAX_CONDITION
from attnlag.regression.inference.multiple_tests import adjusted_p_values
from attnlag.regression.residuals import omitted_lags
from attnlag.regression.residuals.residuals import (
    AUTOCORRELATION_LAGS,
    RESIDUAL_EDGES,
    FittedLine,
    ResidualSums,
)
from attnlag.regression.settings import Errors

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def residual_tests(sums: ResidualSums, lines: Sequence[FittedLine]) -> pd.DataFrame:
    """Return tests and quantiles of the residuals, one row per layer.

    Columns, NaN for a layer that is not fitted:

    - ``layer``
    - ``skewness``, ``kurtosis`` (3 for the normal), ``jarque_bera``: from central moments;
      N/6 (S² + (K - 3)²/4) against χ²(2)
    - ``breusch_pagan``: N R² of e² on a constant and the regressors (Koenker 1981) against χ²(K).
      Under document effects the regressors are the within-transformed ones.
    - ``durbin_watson``: Σ (e_t - e_t₋₁)² / Σ e², without differences across starts of sequences
      (Bhargava, Franzini and Narendranathan, Review of Economic Studies 49, 1982, equation 4). It
      is biased towards 2 with a lagged outcome (Nerlove and Wallis, Econometrica 34, 1966).
    - ``residual_p01`` to ``residual_p99``: in the unit of the residuals, accurate to 0.005 sigma
    - ``_p_value`` of each test
    """
    q = len(sums.terms) + 1
    n = np.where(sums.n > 0, sums.n, np.nan)
    mean, raw2, raw3, raw4 = (sums.powers / n[:, None]).T
    m2 = raw2 - mean**2
    m3 = raw3 - 3 * mean * raw2 + 2 * mean**3
    m4 = raw4 - 4 * mean * raw3 + 6 * mean**2 * raw2 - 3 * mean**4
    m2[~(m2 > 0)] = np.nan
    skewness = m3 / m2**1.5
    kurtosis = m4 / m2**2
    jarque_bera = n / 6 * (skewness**2 + (kurtosis - 3) ** 2 / 4)

    breusch_pagan = np.full(len(n), np.nan)
    for place in np.flatnonzero(sums.n):
        breusch_pagan[place] = _n_r_squared(
            sums.products[place], sums.squares[place], sums.powers[place, 3]
        )
    columns = {
        "layer": sums.layers,
        "skewness": skewness,
        "kurtosis": kurtosis,
        "jarque_bera": jarque_bera,
        "jarque_bera_p_value": special.chdtrc(2, jarque_bera),
        "breusch_pagan": breusch_pagan,
        "breusch_pagan_p_value": special.chdtrc(q - 1, breusch_pagan),
        "durbin_watson": sums.differences / np.where(raw2 > 0, raw2 * n, np.nan),
    }
    values = quantiles(sums, lines, np.array(PERCENTILES) / 100)
    columns |= {f"residual_p{p:02d}": values[:, i] for i, p in enumerate(PERCENTILES)}
    return pd.DataFrame(columns)


def omitted_terms_table(sums: ResidualSums, settings: Errors) -> pd.DataFrame:
    """Return the tests of the lags and the square that a regression omits, one row per layer.

    Columns, NaN for a layer that is not fitted and where `omitted_lags` finds nothing to test:

    - ``omitted_f``, ``omitted_df``, ``omitted_df_residual``, ``omitted_p_value``: that the further
      lags, ``omitted_df`` in number, have no coefficients
    - ``omitted_p_adjusted``: that p-value, corrected over the layers
    - ``omitted_sum``, ``omitted_sum_low``, ``omitted_sum_high``: sum of these coefficients, 0 if
      the lags were enough, with an interval
    - ``curvature``, ``curvature_low``, ``curvature_high``: coefficient of the square of the nearest
      lag, 0 if the line were straight, with an interval
    - ``level``: that of both intervals
    - ``curvature_p_value``, ``curvature_p_adjusted``: that it is 0, and corrected over the layers
    - ``curvature_share``: share of the squared residuals that the square explains
    """
    lags = len(sums.omitted)
    tests_of_lags = []
    tests_of_squares = []
    for place in range(len(sums.layers)):
        score_sums = sums.score_sums(place)
        tests_of_lags.append(omitted_lags.further_lags_test(score_sums, lags))
        tests_of_squares.append(omitted_lags.linearity_test(score_sums, lags))
    table = pd.DataFrame(tests_of_lags)
    squares = pd.DataFrame(tests_of_squares)
    lag_sums = Estimates(table["sum"], table["std_error"], table["sum_df"])
    curvatures = Estimates(squares["sum"], squares["std_error"], squares["sum_df"])
    low, high = lag_sums.interval(settings.alpha)
    curvature_low, curvature_high = curvatures.interval(settings.alpha)
    squared_residuals = np.where(sums.n > 0, sums.powers[:, 1], np.nan)
    return pd.DataFrame(
        {
            "omitted_f": table["f"],
            "omitted_df": table["df"],
            "omitted_df_residual": table["df_residual"],
            "omitted_p_value": table["p_value"],
            "omitted_p_adjusted": adjusted_p_values(table["p_value"], settings.adjust),
            "omitted_sum": table["sum"],
            "omitted_sum_low": low,
            "omitted_sum_high": high,
            "curvature": squares["sum"],
            "curvature_low": curvature_low,
            "curvature_high": curvature_high,
            "level": level_of(settings.alpha),
            "curvature_p_value": squares["p_value"],
            "curvature_p_adjusted": adjusted_p_values(squares["p_value"], settings.adjust),
            "curvature_share": squares["explained"] / squared_residuals,
        }
    )


def _n_r_squared(products: np.ndarray, scores: np.ndarray, total: float) -> float:
    """Return N R² of a regression on columns, the first of which is a constant."""
    n = products[0, 0]
    # The constant is removed first, which reduces cancellation if R² is small.
    inner = products[1:, 1:] - np.outer(products[0, 1:], products[0, 1:]) / n
    outer = scores[1:] - products[0, 1:] * scores[0] / n
    variation = total - scores[0] ** 2 / n
    scale = np.sqrt(np.diag(inner).clip(min=0))
    if not variation > 0 or not (scale > 0).all():
        return float("nan")
    inner = inner / np.outer(scale, scale)
    if np.linalg.cond(inner) > MAX_CONDITION:
        return float("nan")
    outer = outer / scale
    return float(n * (outer @ np.linalg.solve(inner, outer)) / variation)


def quantiles(
    sums: ResidualSums, lines: Sequence[FittedLine], probabilities: np.ndarray
) -> np.ndarray:
    """Return quantiles of the residuals, in the unit of the residuals.

    They are those of ``numpy.quantile`` after each residual is moved within its bin of the
    histogram: by less than 0.005 sigma, or by more beyond 10 sigma, where the outer bins extend to
    the extreme residuals. The result is (layers, Q), NaN for a layer that is not fitted.
    """
    result = np.full((len(sums.layers), len(probabilities)), np.nan)
    for place in np.flatnonzero(sums.n).tolist():
        unit = lines[place].sigma if lines[place].sigma > 0 else 1.0
        low = sums.smallest[place] / unit
        high = sums.largest[place] / unit
        counts = sums.histogram[place]
        edges = np.concatenate([[low], RESIDUAL_EDGES, [high]])
        ends = np.cumsum(counts)
        rank = (sums.n[place] - 1) * np.asarray(probabilities)
        below = np.floor(rank).astype(np.int64)
        ranks = np.stack([below, np.minimum(below + 1, sums.n[place] - 1)])
        bins = np.searchsorted(ends, ranks, side="right")
        # The residuals of a bin are spread evenly over it.
        share = (ranks - (ends - counts)[bins] + 0.5) / counts[bins]
        values = edges[bins] + share * (edges[bins + 1] - edges[bins])
        values = np.where(ranks == 0, low, np.where(ranks == sums.n[place] - 1, high, values))
        values = np.clip(values, low, high)
        result[place] = unit * (values[0] + (rank - below) * (values[1] - values[0]))
    return result


def autocorrelation(sums: ResidualSums) -> pd.DataFrame:
    """Return the autocorrelation of the residuals within sequences, by layer and lag.

    It is the mean of e_t e_t₋l over the existing pairs, divided by the mean of e². Short sequences
    have few pairs at long lags, so dividing by all rows would bias those towards zero.
    """
    pairs = np.where(sums.pairs > 0, sums.pairs, np.nan)
    variance = sums.powers[:, 1] / np.where(sums.n > 0, sums.n, np.nan)
    values = sums.lagged / pairs / np.where(variance > 0, variance, np.nan)[:, None]
    return pd.DataFrame(
        {
            "layer": np.repeat(sums.layers, AUTOCORRELATION_LAGS),
            "lag": np.tile(np.arange(1, AUTOCORRELATION_LAGS + 1), len(sums.layers)),
            "autocorrelation": values.reshape(-1),
            "pairs": sums.pairs.reshape(-1),
        }
    )
