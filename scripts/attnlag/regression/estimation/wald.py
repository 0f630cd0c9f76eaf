"""Joint tests that several estimates are zero."""

from typing import NamedTuple

import numpy as np
from scipy import special

# Ratio of the eigenvalues of a covariance in units of the errors, below which it is singular.
MIN_EIGENVALUE_RATIO = 1e-12


class Wald(NamedTuple):
    """A joint test: its F statistic, degrees of freedom and p-value; NaN with too few clusters."""

    statistic: float
    df: int
    df_residual: float
    p_value: float


NO_TEST = Wald(np.nan, 0, np.nan, np.nan)


def f_test(estimate: np.ndarray, covariance: np.ndarray, df: float) -> Wald:
    """Test that q estimates, (q,), are zero: Q/q = b'V⁻¹b/q is compared with F(q, df).

    The statistic is NaN if V, (q, q), is singular, as where documents repeat, or if there are fewer
    degrees of freedom than estimates.
    """
    q = len(estimate)
    if not q or not df >= q or not _is_regular(covariance):
        return Wald(np.nan, q, df, np.nan)
    statistic = float(estimate @ np.linalg.solve(covariance, estimate)) / q
    return Wald(statistic, q, df, float(special.fdtrc(q, df, statistic)))


def aht_test(estimate: np.ndarray, covariance: np.ndarray, eta: float) -> Wald:
    """Test that q estimates, (q,), are zero, by the approximate Hotelling distribution (AHT).

    (η - q + 1)/(η q) Q with Q = b'V⁻¹b is compared with F(q, η - q + 1) (Pustejovsky and Tipton
    2018). The statistic is NaN if V, (q, q), is singular or η ≤ q - 1.
    """
    q = len(estimate)
    if not q or not eta > q - 1 or not _is_regular(covariance):
        return Wald(np.nan, q, eta - q + 1, np.nan)
    return _aht(float(estimate @ np.linalg.solve(covariance, estimate)), q, eta)


def with_bounded_eta(test: Wald, bound: float) -> Wald:
    """Return an AHT test with at most ``bound`` degrees of freedom η, and its p-value.

    Those of AHT come from independent errors of equal variance. Where slopes differ between
    clusters, a large cluster determines more than these tell.
    """
    q = test.df
    eta = test.df_residual + q - 1
    if not eta > bound:
        return test
    return _aht(test.statistic * eta * q / test.df_residual, q, bound)


def _aht(distance: float, q: int, eta: float) -> Wald:
    """Return the AHT test of Q, the distance of q estimates from zero; NaN if η ≤ q - 1."""
    df_residual = eta - q + 1
    if not df_residual > 0:
        return Wald(np.nan, q, df_residual, np.nan)
    statistic = df_residual / (eta * q) * distance
    return Wald(statistic, q, df_residual, float(special.fdtrc(q, df_residual, statistic)))


def _is_regular(covariance: np.ndarray) -> bool:
    """Return whether a covariance is known, and that of estimates in units of their errors regular.

    It is not where documents repeat.
    """
    if not np.isfinite(covariance).all():
        return False
    scale = np.sqrt(np.diag(covariance))
    if not (scale > 0).all():
        return False
    values = np.linalg.eigvalsh(covariance / np.outer(scale, scale))
    return bool(values[0] > MIN_EIGENVALUE_RATIO * values[-1])
