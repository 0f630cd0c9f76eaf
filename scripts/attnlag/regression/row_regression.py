"""A regression of rows in memory that is not a layer's, with clustered errors (CR2)."""

from dataclasses import dataclass

import numpy as np

from attnlag.quantities.estimates import Estimates
from attnlag.regression.estimation.cr2 import ClusterScores, cr2


@dataclass(frozen=True)
class RowFit:
    """The least-squares fit of rows."""

    # K coefficients.
    coefficients: Estimates
    # (rows,) array.
    residuals: np.ndarray


def regress_rows(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> RowFit:
    """Regress an outcome on regressors, with a mean as the case of one constant regressor.

    Parameters
    ----------
    x : (K, rows) array
        Regressors, which are not collinear; a constant only if it is among them.
    y : (rows,) array
        Outcome.
    cluster : (rows,) int array
        Number of the cluster of each row, from 0.

    Raises
    ------
    numpy.linalg.LinAlgError
        If regressors are collinear.
    """
    k = len(x)
    clusters = int(cluster.max()) + 1
    a = np.empty((clusters, k, k))
    b = np.empty((clusters, k))
    for place, column in enumerate(x):
        b[:, place] = np.bincount(cluster, column * y)
        for other in range(k):
            a[:, place, other] = np.bincount(cluster, column * x[other])
    estimate = np.linalg.solve(a.sum(axis=0), b.sum(axis=0))
    # Coordinates in which the sum of a is I.
    whiten = np.linalg.inv(np.linalg.cholesky(a.sum(axis=0))).T
    scores = (b - a @ estimate) @ whiten
    own = ClusterScores(whiten.T @ a @ whiten, scores[:, None], np.eye(k))
    clustered = cr2([[own]], clusters, contrasts=whiten, estimate=estimate)
    std_error = np.sqrt(np.diag(clustered.covariance))
    coefficients = Estimates(estimate, std_error, clustered.df)
    return RowFit(coefficients, y - estimate @ x)
