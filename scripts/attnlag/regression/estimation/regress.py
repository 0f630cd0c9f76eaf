"""The regression of one layer: its estimates, their errors, and how well they fit."""

from collections.abc import Iterable, Sequence

import numpy as np

from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.estimation.clustered import NO_TEST, ClusterSums, equal_halves, obstacle_of
from attnlag.regression.estimation.least_squares import Jackknife, Solution, by_folds, solve
from attnlag.regression.estimation.moments import Moments
from attnlag.regression.terms import is_lag_or_lead


class LayerFit:
    """One layer's regression, with one of `covariances.CATALOGUE`.

    ``folds``, for the cross-validated R², are a number of folds of clusters, or moments by fold.
    Without them there is no such R² and no joint test of all slopes, and the estimates without each
    cluster are given only if ``jackknifed`` or the covariance asks for them.

    ``robust_meat`` is a layer's `residuals.robust_meat`, for a covariance that needs residuals, and
    ``joint`` has combinations of coefficients, (q, K), that are tested to be zero together. With
    ``draws``, blocks of weights of the clusters, perhaps none, the regression is solved again in
    each draw, and it is tested whether the halves of documents are alike.
    """

    def __init__(
        self,
        moments: Moments,
        covariance: str,
        folds: int | Moments | None = None,
        *,
        robust_meat: np.ndarray | None = None,
        joint: Sequence[np.ndarray] = (),
        jackknifed: bool = False,
        draws: Iterable[np.ndarray] | None = None,
    ) -> None:
        solution, kind = solve(moments), CATALOGUE[covariance]
        k, left_out, out_of_fold = solution.k, None, None
        slopes = np.eye(k)[0 if moments.within else 1 :]
        tested = [*joint, slopes] if folds is not None else joint
        if solution.status == "ok" and (folds is not None or kind.jackknife or jackknifed):
            left_out = Jackknife(solution)
            out_of_fold = None if folds is None else by_folds(solution, folds)
        # ``"ok"``, or the reason why the layer could not be fitted; the numbers are then NaN.
        self.status = obstacle_of(solution, kind, left_out)
        self.layer, self.names, self.n_obs = moments.layer, moments.names, solution.n_obs
        # Numbers of those with rows.
        self.n_documents, self.clusters = moments.documents, moments.count
        self.parameters = k + solution.absorbed
        self.left_out = left_out if self.status == "ok" else None
        # estimate, uncorrected, (K,) arrays: on the scale of the data, corrected for bias or not.
        self.estimate, self.uncorrected = np.full((2, k), np.nan)
        # (K, K) covariance of the estimates, (K,) degrees of freedom of the t statistics, and the
        # joint tests that were asked for, then that all slopes are zero.
        self.covariance, self.df = np.full((k, k), np.nan), np.full(k, np.nan)
        self.joint = [NO_TEST._replace(df=len(contrasts)) for contrasts in tested]
        # (draws, K) array: the estimates in each draw; NaN where there is none.
        self.drawn = solution.weighted(draws or ())
        # Test that the halves of documents have equal lags and leads.
        self.halves = NO_TEST if draws is None else equal_halves(solution)
        # Columns of the table of fits: R² and the like.
        self.goodness: dict[str, float] = {}
        if self.status == "ok":
            self.estimate = solution.estimate
            # The first piece is the regression of all rows.
            self.uncorrected = solution.coefficients(solution.pieces[0].theta)
            clusters = ClusterSums(solution, tested, left_out, robust_meat)
            self.covariance, self.df, self.joint = clusters.errors(kind)
            self.goodness = goodness(solution, left_out, out_of_fold)
            self.goodness["effective_documents"] = clusters.effective
        self.wald = self.joint.pop() if folds is not None else NO_TEST


def goodness(
    solution: Solution, left_out: Jackknife | None = None, folds: Jackknife | None = None
) -> dict[str, float]:
    """Return how well the estimates of one layer fit, by the column of the table of fits.

    With document effects, all R² refer to the variance within documents. Those out of sample come
    from the estimates without each cluster, and without each fold of them.
    """
    ssr, n_obs = solution.ssr, solution.n_obs
    r_squared = 1 - ssr / solution.tss
    of_lags, of_others = (residual_squares(solution.moments, lags=lags) for lags in (True, False))
    total_df = n_obs - (solution.absorbed or 1)
    # Corrected estimates do not maximise the likelihood.
    likelihood = -n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)
    return {
        "r_squared": r_squared,
        "adj_r_squared": 1 - (1 - r_squared) * total_df / solution.df_resid,
        "partial_r_squared": 1 - ssr / of_others,
        "r_squared_lags": 1 - of_lags / solution.tss,
        "r_squared_others": 1 - of_others / solution.tss,
        "sigma": float(np.sqrt(ssr / solution.df_resid)),
        "log_likelihood": np.nan if len(solution.moments.s) > 1 else float(likelihood),
        "condition_number": condition_number(solution.moments),
        "loo_r_squared": np.nan if left_out is None else 1 - left_out.sse / solution.tss,
        "cv_r_squared": np.nan if folds is None else 1 - folds.sse / solution.tss,
    }


def residual_squares(moments: Moments, *, lags: bool) -> float:
    """Return the residual sum of squares of the regression on lags and leads alone, or without."""
    matrix = moments.total[0]
    # The terms have no means, which the intercept would remove.
    pairs = zip(moments.columns, moments.names, strict=True)
    columns = [place for place, name in pairs if is_lag_or_lead(name) == lags]
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
        x = (x @ shift).T @ shift
    eigenvalues = np.linalg.eigvalsh(x[np.ix_(moments.columns, moments.columns)])
    return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))
