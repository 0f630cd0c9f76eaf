"""What estimators of a covariance other than CR2 see of a solved layer (`covariances`)."""

from dataclasses import dataclass

import numpy as np

from attnlag.regression.covariances import Covariance
from attnlag.regression.estimation.jackknife import LeftOut
from attnlag.regression.estimation.least_squares import Solution, cluster_scores


@dataclass(frozen=True)
class Evidence:
    """What estimators of a covariance other than CR2 see of a solved layer."""

    n_obs: int
    # absorbed, clusters: numbers of removed means of documents, and of clusters with rows.
    absorbed: int
    clusters: int
    # (K,) array.
    estimate: np.ndarray
    # inverse, bread, (K, K) arrays: (X'X)⁻¹, and the map from scores of centred regressors to
    # coefficients, which differs from it in the intercept.
    inverse: np.ndarray
    bread: np.ndarray
    # s², that of the residuals.
    variance: float
    # The other fields are None unless an estimator needs them.
    # (clusters, K) array: ψ_g, the change of the estimate per unit of the weight of each cluster.
    scores: np.ndarray | None = None
    left_out: LeftOut | None = None
    # (K, K) array: `residuals.robust_meat` of the layer.
    meat: np.ndarray | None = None


def evidence_of(
    solution: Solution, kind: Covariance, left_out: LeftOut | None, meat: np.ndarray | None
) -> Evidence:
    """Return what the estimator of a covariance sees; ``meat`` is (K, K)."""
    moments = solution.moments
    to_coefficients = solution.to_coefficients
    scores = None
    if kind.needs == "scores":
        scores = cluster_scores(solution) @ to_coefficients.T
    return Evidence(
        n_obs=moments.n_obs,
        absorbed=moments.absorbed,
        clusters=moments.count,
        estimate=solution.estimate,
        inverse=to_coefficients @ to_coefficients.T,
        bread=to_coefficients @ solution.unwhiten.T,
        variance=solution.ssr / moments.df_resid,
        scores=scores,
        left_out=left_out,
        meat=meat,
    )
