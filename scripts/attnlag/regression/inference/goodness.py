"""How well the estimates of one layer fit."""

import numpy as np

from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.moments.moments import PreparedMoments
from attnlag.regression.terms import is_lag_or_lead


def goodness(solution: Solution, sse_of_clusters: float, sse_of_folds: float) -> dict[str, float]:
    """Return how well the estimates of one layer fit, by the column of the table of fits.

    With document effects, all R² refer to the variance within documents. Those out of sample come
    from the squared errors of the predictions for each cluster, and for each fold of them, from the
    rest (`jackknife`). The log likelihood is NaN for estimates corrected by halves, which do not
    maximise it.
    """
    moments = solution.moments
    n_obs = moments.n_obs
    ssr = solution.ssr
    tss = solution.tss
    r_squared = 1 - ssr / tss
    ssr_of_lags = residual_squares(moments, lags=True)
    ssr_of_others = residual_squares(moments, lags=False)
    total_df = n_obs - (moments.absorbed or 1)
    log_likelihood = np.nan
    if solution.half_panel is None:
        log_likelihood = float(-n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1))
    return {
        "r_squared": r_squared,
        "adj_r_squared": 1 - (1 - r_squared) * total_df / moments.df_resid,
        "partial_r_squared": 1 - ssr / ssr_of_others,
        "r_squared_lags": 1 - ssr_of_lags / tss,
        "r_squared_others": 1 - ssr_of_others / tss,
        "sigma": float(np.sqrt(ssr / moments.df_resid)),
        "log_likelihood": log_likelihood,
        "condition_number": condition_number(moments),
        "loo_r_squared": 1 - sse_of_clusters / tss,
        "cv_r_squared": 1 - sse_of_folds / tss,
        "effective_documents": effective_clusters(solution),
    }


def residual_squares(moments: PreparedMoments, *, lags: bool) -> float:
    """Return the residual sum of squares of the regression on lags and leads alone, or without."""
    matrix = moments.total[0]
    # The terms have no means, which the intercept would remove.
    columns = []
    for place, name in zip(moments.columns, moments.names, strict=True):
        if is_lag_or_lead(name) == lags:
            columns.append(place)
    # They differ in size, and the regression has found them not to be collinear.
    size = np.sqrt(np.diag(matrix)[columns])
    a = matrix[np.ix_(columns, columns)] / np.outer(size, size)
    b = matrix[columns, 1] / size
    return float(matrix[1, 1] - b @ np.linalg.solve(a, b))


def condition_number(moments: PreparedMoments) -> float:
    """Return that of the uncentred X or, with document effects, of X without their means."""
    x = moments.total[0]
    if not moments.has_fixed_effects:
        shift = np.eye(moments.p)
        shift[0, 2:] = moments.centre[2:]
        x = (x @ shift).T @ shift
    eigenvalues = np.linalg.eigvalsh(x[np.ix_(moments.columns, moments.columns)])
    return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))


def effective_clusters(solution: Solution) -> float:
    """Return the effective number of clusters for the first slope; NaN if it does not vary.

    It is G* = G / (1 + CV²(γ)) of γ_g = e'A⁻¹ A_g A⁻¹ e: G*(0) of Carter, Schnepel and Steigerwald
    (Review of Economics and Statistics 99, 2017) as given by MacKinnon, Nielsen and Webb (Journal
    of Econometrics 232, 2023).
    """
    moments = solution.moments
    first_slope = solution.unwhiten[0 if moments.has_fixed_effects else 1]
    # A⁻¹ e for the coordinates of w: with A = I in θ, A⁻¹ is the map to θ and back.
    direction = solution.whiten[:, :-1] @ first_slope
    gamma = (moments.products[0] @ direction) @ direction
    squares = gamma @ gamma
    if not squares > 0:
        return np.nan
    return float(gamma.sum() ** 2 / squares)
