"""The regression of one layer: its estimates, their errors, and how well they fit."""

from collections.abc import Iterable, Sequence

import numpy as np

from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.estimation.clustered import (
    NO_TEST,
    ClusterSums,
    Jackknife,
    equal_halves,
    obstacle_of,
)
from attnlag.regression.estimation.goodness import goodness
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import Moments


class LayerFit:
    """One layer's regression, with one of `covariances.CATALOGUE`.

    The cross-validated R² is by a number of folds of clusters, or by those of moments of the same
    documents. Without ``folds`` there is nothing out of sample and no test of all slopes, and the
    estimates without each cluster are given only if ``jackknifed`` or the covariance asks for them.

    ``robust_meat`` is a layer's `residuals.robust_meat`, for a covariance that needs residuals, and
    ``joint`` has combinations of coefficients, (q, K), that are tested to be zero together. With
    ``draws``, blocks of weights of the clusters or none, the regression is solved again in each
    draw, and it is tested whether the halves of documents are alike.
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
        k, left_out = solution.k, None
        slopes = np.eye(k)[0 if moments.within else 1 :]
        tested = [*joint, slopes] if folds is not None else joint
        if solution.status == "ok" and (folds is not None or kind.jackknife or jackknifed):
            left_out = Jackknife(solution)
        # ``"ok"``, or the reason why the layer could not be fitted; the numbers are then NaN.
        self.status = obstacle_of(solution, kind, left_out)
        self.layer, self.names, self.n_obs = moments.layer, moments.names, solution.n_obs
        # Numbers of those with rows. Documents count as clusters even if they share bins.
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
            sums = ClusterSums(solution, tested, left_out, robust_meat)
            self.covariance, self.df, self.joint = sums.errors(kind)
            self.goodness = goodness(solution, left_out, folds)
            self.goodness["effective_documents"] = sums.effective
        self.wald = self.joint.pop() if folds is not None else NO_TEST
