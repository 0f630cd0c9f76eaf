"""Estimates of a layer without each cluster, or without each fold of clusters."""

from dataclasses import dataclass, replace

import numpy as np

from attnlag.regression.estimation.least_squares import Solution, times
from attnlag.regression.moments.moments import PreparedMoments


@dataclass(frozen=True)
class LeftOut:
    """Estimates of a layer without each cluster that has rows."""

    # Number of clusters, with rows or not.
    count: int
    # Names of those with rows.
    names: list[str]
    # places, n_obs, (left out,) int arrays: indices of those with rows, and their numbers of rows.
    places: np.ndarray
    n_obs: np.ndarray
    # (left out, K) array: NaN where the rest is collinear.
    coefficients: np.ndarray
    # Squared error of the predictions for each cluster from the rest; NaN if one is undefined.
    sse: float


def leave_out_each(solution: Solution, clusters: PreparedMoments | None = None) -> LeftOut:
    """Return the estimates without each cluster, by default of the solution's own moments."""
    if clusters is None:
        clusters = solution.moments
    n_obs = np.rint(clusters.s[0, :, 0, 0]).astype(np.int64)
    places = np.flatnonzero(n_obs)
    a, b, _ = solution.equations(solution.moments.total)
    thetas = [np.empty((0, solution.moments.k))]
    sse = 0.0
    with_rows = replace(clusters, s=clusters.s[:, places])
    for a_g, b_g, c_g in solution.by_cluster(with_rows):
        theta = solution.thetas(a[:, None] - a_g, b[:, None] - b_g)
        thetas.append(theta)
        # Σ (y - x θ)² over the rows of cluster g is c_g - 2 θ'b_g + θ'A_g θ.
        fitted = times(a_g[0], theta)
        sse += float((c_g[0] + (theta * (fitted - 2 * b_g[0])).sum(axis=1)).sum())
    return LeftOut(
        count=len(clusters.clusters),
        names=[clusters.clusters[place] for place in places],
        places=places,
        n_obs=n_obs[places],
        coefficients=solution.coefficients(np.concatenate(thetas)),
        sse=sse,
    )


def leave_out_folds(solution: Solution, folds: int | PreparedMoments) -> LeftOut:
    """Return the estimates without each fold of clusters, NaN without the only one.

    Cluster g, counted among those with rows, is in fold g mod ``folds``, unless moments of folds
    are given.
    """
    clusters = folds if isinstance(folds, PreparedMoments) else solution.moments
    s = clusters.s[:, clusters.s[0, :, 0, 0] > 0.5]
    count = s.shape[1]
    if not isinstance(folds, PreparedMoments):
        count = min(folds, count)
    sums = np.stack([s[:, fold::count].sum(axis=1) for fold in range(count)], axis=1)
    return leave_out_each(solution, replace(clusters, s=sums))
