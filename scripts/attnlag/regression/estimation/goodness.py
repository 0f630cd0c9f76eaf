"""How well the estimates of one layer fit, in the columns of the table of fits."""

from dataclasses import replace

import numpy as np

from attnlag.regression.estimation.clustered import Jackknife
from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.estimation.moments import Moments, product
from attnlag.regression.terms import is_lag


def goodness(
    solution: Solution, left_out: Jackknife | None = None, folds: int | Moments | None = None
) -> dict[str, float]:
    """Return how well the estimates of one layer fit, by the column of the table of fits.

    With document effects, all R² refer to the variance within documents. With ``folds``, and the
    estimates without each cluster, the fit is out of sample too.
    """
    ssr, n_obs = solution.ssr, solution.n_obs
    r_squared = 1 - ssr / solution.tss
    of_lags, of_others = (residual_squares(solution.moments, lags=lags) for lags in (True, False))
    total_df = n_obs - (solution.absorbed or 1)
    # Corrected estimates do not maximise the likelihood.
    likelihood = -n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)
    found = {
        "r_squared": r_squared,
        "adj_r_squared": 1 - (1 - r_squared) * total_df / solution.df_resid,
        "partial_r_squared": 1 - ssr / of_others,
        "r_squared_lags": 1 - of_lags / solution.tss,
        "r_squared_others": 1 - of_others / solution.tss,
        "sigma": float(np.sqrt(ssr / solution.df_resid)),
        "log_likelihood": np.nan if len(solution.moments.s) > 1 else float(likelihood),
    }
    if folds is not None and left_out is not None:
        few = len(left_out.places) < 2
        found |= {
            "cv_r_squared": 1 - cross_validated_sse(solution, folds) / solution.tss,
            "loo_r_squared": np.nan if few else 1 - left_out.sse / solution.tss,
            "condition_number": condition_number(solution.moments),
        }
    return found


def cross_validated_sse(solution: Solution, folds: int | Moments) -> float:
    """Return the squared error of out-of-sample predictions for clusters.

    Cluster g, counted among those with rows, is in fold g mod ``folds``, unless moments of folds
    are given. With the sums over a fold f, θ = (A - A_f)⁻¹(b - b_f) and SSE_f = c_f - 2 θ'b_f +
    θ'A_f θ. The result is NaN with fewer than two clusters, or if the rest of a fold is collinear.
    """
    clusters = folds if isinstance(folds, Moments) else solution.moments
    s = clusters.s[:, clusters.s[0, :, 0, 0] > 0.5]
    count = s.shape[1] if isinstance(folds, Moments) else min(folds, s.shape[1])
    if count < 2:
        return np.nan
    sums = np.stack([s[:, fold::count].sum(axis=1) for fold in range(count)], axis=1)
    return Jackknife(solution, replace(clusters, s=sums)).sse


def residual_squares(moments: Moments, *, lags: bool) -> float:
    """Return the residual sum of squares of the regression on lags and leads alone, or without."""
    matrix = moments.total[0]
    # The terms have no means, which the intercept would remove.
    pairs = zip(moments.columns, moments.names, strict=True)
    columns = [place for place, name in pairs if is_lag(name) == lags]
    # They differ in size, and the regression has found them not to be collinear.
    size = np.sqrt(np.diag(matrix)[columns])
    a, b = matrix[np.ix_(columns, columns)] / np.outer(size, size), matrix[columns, 1] / size
    return float(matrix[1, 1] - b @ np.linalg.solve(a, b))


def condition_number(moments: Moments) -> float:
    """Return that of the uncentred X or, with document effects, of X without their means."""
    x = moments.total[0]
    if not moments.within:
        shift = np.eye(moments.p)
        shift[0, 2:] = moments.centre[2:]
        x = product(x, shift)
    eigenvalues = np.linalg.eigvalsh(x[np.ix_(moments.columns, moments.columns)])
    return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))
