"""The half-panel jackknife: lags corrected for the bias of document effects in short documents.

It combines three regressions, on all rows and on either half of every document,

    b̂ = 2 b̂_all - (b̂_first + b̂_second) / 2

(Dhaene and Jochmans 2015; Chudik, Pesaran and Yang 2018). It corrects what is biased in short
documents, the lags and leads. The other terms, such as the spline of position, are solved anew
given these, from all rows: b̂_c = A_cc⁻¹ (b_c - A_cl b̂_l). A half need not identify them.

Lags and leads are the last coordinates of θ.

References
----------
Dhaene and Jochmans, Split-panel jackknife estimation of fixed-effect models. Review of Economic
Studies 82 (2015).
Chudik, Pesaran and Yang, Half-panel jackknife fixed-effects estimation of linear panels with weakly
exogenous regressors. Journal of Applied Econometrics 33 (2018).
"""

from dataclasses import dataclass

import numpy as np

from attnlag.regression.estimation.normal_equations import (
    SolvedEquations,
    generalised_inverse,
    identity_where,
    solve_normal_equations,
    times,
)

# A half identifies lags and leads if this is left of them given its other terms.
MIN_IDENTIFIED = 1e-7


@dataclass(frozen=True)
class HalfPanel:
    """The corrected estimate, and what it is made of."""

    # All rows, and those of the first and of the second halves of documents.
    whole: SolvedEquations
    first: SolvedEquations
    second: SolvedEquations
    # What the other terms are given the lags, from all rows.
    covariates: "Covariates"
    # (…, K) array: NaN where the rows do not identify all terms, or a half not all lags and leads.
    theta: np.ndarray


@dataclass(frozen=True)
class Covariates:
    """The coefficients of the other terms, given those of lags: A_cc⁻¹ (b_c - A_cl b̂_l)."""

    # (…, K, K) array: A_cc⁻¹, with zeros for the lags.
    inverse: np.ndarray
    # (…, K, lags) array: [-A_cc⁻¹ A_cl; I].
    lags_to_all: np.ndarray


def half_panel_jackknife(a: np.ndarray, b: np.ndarray, lags: int) -> HalfPanel:
    """Return the half-panel jackknife of normal equations.

    Parameters
    ----------
    a : (3, …, K, K) array
        A of all rows, of the first halves and of the second halves of documents.
    b : (3, …, K) array
        b of the same rows.
    lags : int
        Number of lags and leads, the last coordinates.
    """
    others = a.shape[-1] - lags
    whole = solve_normal_equations(a[0], b[0])
    first = _regress_half(a[1], b[1], others)
    second = _regress_half(a[2], b[2], others)

    b_all = whole.theta[..., others:]
    b_first = first.theta[..., others:]
    b_second = second.theta[..., others:]
    corrected = 2 * b_all - (b_first + b_second) / 2

    singular = np.isnan(whole.theta).any(axis=-1)
    a_cc = identity_where(singular, a[0])[..., :others, :others]
    covariates = _given_lags(np.linalg.inv(a_cc), a[0])
    theta = times(covariates.inverse, b[0]) + times(covariates.lags_to_all, corrected)
    return HalfPanel(whole, first, second, covariates, theta)


def _given_lags(inverse: np.ndarray, a: np.ndarray) -> Covariates:
    """Return the other terms given the lags, from A, (…, K, K), and A_cc⁻¹."""
    k = a.shape[-1]
    others = inverse.shape[-1]
    padded = np.zeros_like(a)
    padded[..., :others, :others] = inverse
    lags_to_all = np.broadcast_to(np.eye(k)[:, others:], (*a.shape[:-1], k - others)).copy()
    lags_to_all[..., :others, :] = -inverse @ a[..., :others, others:]
    return Covariates(padded, lags_to_all)


def _regress_half(a: np.ndarray, b: np.ndarray, others: int) -> SolvedEquations:
    """Solve the normal equations of a half, which may not identify all of the other terms.

    The result is NaN where it does not identify all lags and leads.
    """
    covariates = _given_lags(generalised_inverse(a[..., :others, :others]), a)
    # The cross-products of the lags and leads given the other terms, which by the inverse of a
    # partitioned matrix make up the rest of A⁻¹.
    a_lags = a[..., others:, :] @ covariates.lags_to_all
    left = np.linalg.eigvalsh(a_lags).min(axis=-1, initial=1)
    identified = left > MIN_IDENTIFIED
    lags_inverse = np.linalg.inv(identity_where(~identified, a_lags))
    to_all = covariates.lags_to_all
    inverse = covariates.inverse + to_all @ lags_inverse @ np.swapaxes(to_all, -1, -2)
    inverse[~identified] = np.nan
    return SolvedEquations(inverse, times(inverse, b))
