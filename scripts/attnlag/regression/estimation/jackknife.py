"""Estimates of a layer without each cluster, or without each fold of clusters."""

from dataclasses import dataclass

import numpy as np

from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.estimation.normal_equations import times
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


def leave_out_each(solution: Solution) -> LeftOut:
    """Return the estimates without each cluster."""
    clusters = solution.moments.clusters
    products = solution.moments.products
    n_obs = np.rint(products[0, :, 0, 0]).astype(np.int64)
    places = np.flatnonzero(n_obs)
    coefficients, sse = _without_each(solution, products[:, places])
    return LeftOut(
        count=len(clusters),
        names=[clusters[place] for place in places],
        places=places,
        n_obs=n_obs[places],
        coefficients=coefficients,
        sse=sse,
    )


def squared_error_of_folds(solution: Solution, folds: int | PreparedMoments) -> float:
    """Return the squared error of the predictions for each fold of clusters from the other folds.

    Cluster g, counted among those with rows, is in fold g mod ``folds``, unless moments of folds
    are given. The error is NaN if a fold's prediction is undefined, as with a single one.
    """
    clusters = folds if isinstance(folds, PreparedMoments) else solution.moments
    with_rows = clusters.products[0, :, 0, 0] > 0.5
    products = clusters.products[:, with_rows]
    count = products.shape[1]
    if not isinstance(folds, PreparedMoments):
        count = min(folds, count)
    sums = np.stack([products[:, fold::count].sum(axis=1) for fold in range(count)], axis=1)
    _, sse = _without_each(solution, sums)
    return sse


def _without_each(solution: Solution, products: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the coefficients without each of some clusters, (clusters, K), and `LeftOut.sse`.

    ``products`` has the moments of these, (cells, clusters, p, p), as `PreparedMoments.products`.
    """
    a, b, _ = solution.equations(solution.moments.total)
    thetas = [np.empty((0, solution.moments.k))]
    sse = 0.0
    for a_g, b_g, c_g in solution.by_cluster(products):
        theta = solution.thetas(a[:, None] - a_g, b[:, None] - b_g)
        thetas.append(theta)
        # Σ (y - x θ)² over the rows of cluster g is c_g - 2 θ'b_g + θ'A_g θ.
        fitted = times(a_g[0], theta)
        sse += float((c_g[0] + (theta * (fitted - 2 * b_g[0])).sum(axis=1)).sum())
    return solution.coefficients(np.concatenate(thetas)), sse
