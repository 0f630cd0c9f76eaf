"""CR2: the clustered covariance of Bell and McCaffrey.

In the notation of Pustejovsky and Tipton (2018), with working errors that are independent and of
equal variance: M = (X'X)⁻¹, cluster g has rows X_g, residuals e_g and the adjusted residuals
ẽ_g = (I - X_g M X_g')^(-1/2) e_g. (They call the matrix A_g, which is X_g'X_g in this package.) The
covariance of the coefficients is

    V = M (Σ_g X_g' ẽ_g ẽ_g' X_g) M,

which is unbiased under these errors. Document effects are nested in the clusters: X_g may be less
the means of documents, and V is that of a regression with a dummy for each.

Everything is computed from cross-products, in coordinates in which X'X = I. There

    H_g = X_g' X_g,    s_g = X_g' e_g,    X_g' ẽ_g = R_g s_g    with R_g = (I - H_g)^(-1/2),

because X' f(X X') = f(X' X) X' for any function f, so that V = Σ_g (R_g s_g) (R_g s_g)'. A contrast
has t with the degrees of freedom of `satterthwaite`, and a hypothesis of q contrasts the
approximate Hotelling test (`wald.aht_test`).

References
----------
Bell and McCaffrey, Bias reduction in standard errors for linear regression with multi-stage
samples. Survey Methodology 28 (2002).
Pustejovsky and Tipton, Small-sample methods for cluster-robust variance estimation and hypothesis
testing in fixed effects models. Journal of Business & Economic Statistics 36 (2018).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from attnlag.regression.estimation.satterthwaite import (
    MIN_ONE_MINUS_LEVERAGE,
    SatterthwaiteSums,
    cr2_weights,
    orthonormal,
)
from attnlag.regression.estimation.wald import Wald, aht_test

# (1 - x)^(-1/2) = Σ c_n x^n, precise to rounding for matrices whose trace is below the bound.
SERIES = np.cumprod([1.0, *((2 * n - 1) / (2 * n) for n in range(1, 8))])
SMALL = 0.01


@dataclass(frozen=True)
class ClusterScores:
    """Scores of clusters in one regression, in coordinates in which X'X of all its rows is I.

    An ordinary estimate has one vector of residuals, and ``influence_map`` is I. The regression has
    k coordinates: K or, for half of the rows, perhaps fewer.
    """

    # (clusters, k, k) array: H_g.
    h: np.ndarray
    # (clusters, r, k) array: s_g, for each of r vectors of residuals.
    scores: np.ndarray
    # (K, r k) array: what the estimate θ changes per unit of each (adjusted) score.
    influence_map: np.ndarray


@dataclass(frozen=True)
class Cr2:
    """Clustered errors of L coefficients."""

    # (L, L) array: V; NaN where degrees of freedom are.
    covariance: np.ndarray
    # (L,) array: degrees of freedom; NaN where a single cluster determines the coefficient, so that
    # it has no error to be seen.
    df: np.ndarray
    # The hypotheses, in their order.
    tests: list[Wald]
    # (clusters, L) array: v_g in coefficients, what each cluster adds; V = Σ v_g v_g'.
    contributions: np.ndarray


def cr2(
    blocks: Iterable[Sequence[ClusterScores]],
    n_clusters: int,
    contrasts: np.ndarray,
    estimate: np.ndarray,
    hypotheses: Sequence[np.ndarray] = (),
) -> Cr2:
    """Return the clustered errors of coefficients.

    Parameters
    ----------
    blocks : iterable of sequences of ClusterScores
        Blocks of clusters. A block has the scores of its clusters in each regression that θ is made
        of: one, or three under the half-panel jackknife, whose contributions add up. Degrees of
        freedom are those of the first, the regression on all rows.
    n_clusters : int
        Number of clusters, which decides how much memory a joint test may take. It enters no sum.
    contrasts : (L, K) array
        The coefficients as combinations of θ.
    estimate : (L,) array
        The coefficients.
    hypotheses : sequence of (q, L) arrays
        Combinations of coefficients that are tested to be zero together.
    """
    # For the degrees of freedom alone: of the coefficients, then of each hypothesis.
    sums = [SatterthwaiteSums.none(contrasts[:, None, :], n_clusters)]
    for hypothesis in hypotheses:
        tested = orthonormal(hypothesis @ contrasts)
        sums.append(SatterthwaiteSums.none(tested[None], n_clusters))
    contributions = [np.zeros((0, len(contrasts)))]
    for block in blocks:
        all_rows, *halves = block
        root = inverse_root(all_rows.h)
        v = adjusted_scores(all_rows, root)
        for half in halves:
            v = v + adjusted_scores(half, inverse_root(half.h))
        contributions.append(v @ contrasts.T)
        weights = cr2_weights(all_rows.h, root)
        sums = [own.plus(weights) for own in sums]

    by_cluster = np.concatenate(contributions)
    # V = Σ_g v_g v_g'.
    covariance = by_cluster.T @ by_cluster
    tests = []
    for hypothesis, own in zip(hypotheses, sums[1:], strict=True):
        (eta,) = own.df()
        variance = hypothesis @ covariance @ hypothesis.T
        tests.append(aht_test(hypothesis @ estimate, variance, eta))
    df = sums[0].df()
    # A single cluster determines these coefficients.
    unknown = np.isnan(df)
    covariance[unknown] = np.nan
    covariance[:, unknown] = np.nan
    return Cr2(covariance, df, tests, by_cluster)


def adjusted_scores(clusters: ClusterScores, root: np.ndarray) -> np.ndarray:
    """Return what clusters add to the estimate, (clusters, K), given their R_g, (clusters, k, k).

    Without adjustment, that is with `plain_scores`, it is what CRV1 sums.
    """
    # R_g is symmetric. The r vectors of a cluster stand one after the other, as in the map.
    adjusted = clusters.scores @ root
    return adjusted.reshape(len(adjusted), -1) @ clusters.influence_map.T


def plain_scores(clusters: ClusterScores) -> np.ndarray:
    """Return the change of the estimate per unit of the weight of each cluster, (clusters, K)."""
    return clusters.scores.reshape(len(clusters.scores), -1) @ clusters.influence_map.T


def inverse_root(h: np.ndarray) -> np.ndarray:
    """Return (I - H)^(-1/2) of (clusters, k, k) summands of I, without the null space of I - H."""
    k = h.shape[-1]
    small = np.trace(h, axis1=-2, axis2=-1) < SMALL
    result = np.empty_like(h)
    low = h[small]
    total = np.broadcast_to(SERIES[-1] * np.eye(k), low.shape)
    for coefficient in SERIES[-2::-1]:
        total = low @ total + coefficient * np.eye(k)
    result[small] = total
    values, vectors = np.linalg.eigh(h[~small])
    rest = 1 - values
    root = np.sqrt(np.maximum(rest, MIN_ONE_MINUS_LEVERAGE))
    scale = np.where(rest > MIN_ONE_MINUS_LEVERAGE, 1 / root, 0)
    result[~small] = (vectors * scale[:, None, :]) @ np.swapaxes(vectors, -1, -2)
    return result
