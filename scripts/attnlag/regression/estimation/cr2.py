"""CR2: the clustered covariance of Bell and McCaffrey, its degrees of freedom and joint tests.

In the notation of Pustejovsky and Tipton (2018), with working errors that are independent and of
equal variance: M = (X'X)⁻¹, cluster g has rows X_g, residuals e_g and the adjusted residuals
ẽ_g = (I - X_g M X_g')^(-1/2) e_g. (They call the matrix A_g, which is X_g'X_g in this package.) The
covariance of the coefficients is

    V = M (Σ_g X_g' ẽ_g ẽ_g' X_g) M,

which is unbiased under these errors. A contrast c has Satterthwaite's degrees of freedom
tr(Γ)² / ‖Γ‖², where Γ, with a row and a column per cluster, is the covariance under these errors of
what the clusters contribute, c' M X_g' ẽ_g. A hypothesis C b = 0 of q contrasts has
Q = (C b)' (C V C')⁻¹ C b, and (η - q + 1) / (η q) Q is compared with F(q, η - q + 1): the
approximate Hotelling test (AHT).

Everything is computed from cross-products, in coordinates in which X'X = I. There

    H_g = X_g' X_g,    s_g = X_g' e_g,    X_g' ẽ_g = R_g s_g    with R_g = (I - H_g)^(-1/2),

so that V = Σ_g (R_g s_g) (R_g s_g)'. Document effects are nested in the clusters: X_g may be less
the means of documents, and V and Γ are those of a regression with a dummy for each.

Γ needs only K x K sums over clusters: with Z_g = H_g R_g, D_g = R_g H_g R_g - Z_g Z_g and rows w of
a contrast, Γ_gg = w D_g w' and Γ_gh = -(Z_g w')' (Z_h w'). A hypothesis has q x q blocks Γ_gh, and
with orthonormal rows η = q (q + 1) / Σ_gh (tr [Γ_gh²] + [tr Γ_gh]²).

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

from attnlag.regression.estimation.wald import Wald, aht_test

# A cluster with a leverage this close to 1 determines the direction alone: its residuals there are
# zero whatever the errors.
MIN_ONE_MINUS_LEVERAGE = 1e-9

# (1 - x)^(-1/2) = Σ c_n x^n, precise to rounding for matrices whose trace is below the bound.
SERIES = np.cumprod([1.0, *((2 * n - 1) / (2 * n) for n in range(1, 8))])
SMALL = 0.01

# Numbers in the products of different clusters of a joint test, at most. Beyond it they are left
# out; their share is about the number of terms over that of clusters.
MAX_PRODUCTS = 2e10


@dataclass(frozen=True)
class ClusterRows:
    """Rows of some clusters in one regression, in coordinates in which X'X of all its rows is I.

    An ordinary estimate has one vector of residuals, and ``influence_map`` is I.
    """

    # (clusters, K, K) array: H_g.
    h: np.ndarray
    # (clusters, r, K) array: s_g, for each of r vectors of residuals.
    scores: np.ndarray
    # (L, r K) array: what the estimate θ changes per unit of each (adjusted) score.
    influence_map: np.ndarray


@dataclass(frozen=True)
class Cr2:
    """Clustered errors of L coefficients."""

    # (L, L) array.
    covariance: np.ndarray
    # (L,) array: degrees of freedom; NaN where a single cluster determines the coefficient, so that
    # it has no error to be seen.
    df: np.ndarray
    # The hypotheses, in their order.
    tests: list[Wald]
    # (clusters, L) array: what each cluster adds to the coefficients; the sum of squares is V.
    contributions: np.ndarray


def cr2(
    blocks: Iterable[Sequence[ClusterRows]],
    count: int,
    contrasts: np.ndarray,
    estimate: np.ndarray,
    hypotheses: Sequence[np.ndarray] = (),
) -> Cr2:
    """Return the clustered errors of coefficients.

    Parameters
    ----------
    blocks : iterable of sequences of ClusterRows
        Blocks of clusters. A block has the rows of its clusters in each regression that θ is made
        of: one, or three under the half-panel jackknife, whose contributions add up. Degrees of
        freedom are those of the first, the regression on all rows.
    count : int
        Number of clusters.
    contrasts : (L, K) array
        The coefficients as combinations of θ.
    estimate : (L,) array
        The coefficients.
    hypotheses : sequence of (q, L) arrays
        C: combinations of coefficients that are tested to be zero together.
    """
    singles = contrasts[:, None, :]
    tested = [singles]
    for hypothesis in hypotheses:
        tested.append(_orthonormal(hypothesis @ contrasts)[None])
    sums = [SatterthwaiteSums.none(w, count) for w in tested]
    contributions = [np.zeros((0, len(contrasts)))]
    for block in blocks:
        first, *others = block
        weights = cr2_weights(first.h)
        for place, w in enumerate(tested):
            sums[place] = sums[place].plus(weights, w)
        adjusted = adjusted_scores(first, weights.root)
        for regression in others:
            adjusted = adjusted + adjusted_scores(regression, inverse_root(regression.h))
        contributions.append(adjusted @ contrasts.T)
    by_cluster = np.concatenate(contributions)
    covariance = by_cluster.T @ by_cluster
    df = sums[0].df(singles)
    tests = []
    for hypothesis, own, w in zip(hypotheses, sums[1:], tested[1:], strict=True):
        eta = np.nan
        if len(hypothesis):
            (eta,) = own.df(w)
        variance = hypothesis @ covariance @ hypothesis.T
        tests.append(aht_test(hypothesis @ estimate, variance, eta))
    return Cr2(covariance, df, tests, by_cluster)


def adjusted_scores(rows: ClusterRows, root: np.ndarray) -> np.ndarray:
    """Return what clusters add to the estimate, (clusters, L), given their R_g, (clusters, K, K).

    Without adjustment, that is with `plain_scores`, it is what CRV1 sums.
    """
    adjusted = rows.scores @ root
    return adjusted.reshape(len(adjusted), -1) @ rows.influence_map.T


def plain_scores(rows: ClusterRows) -> np.ndarray:
    """Return the change of the estimate per unit of the weight of each cluster, (clusters, L)."""
    return rows.scores.reshape(len(rows.scores), -1) @ rows.influence_map.T


@dataclass(frozen=True)
class Cr2Weights:
    """What CR2 needs of each cluster, (clusters, K, K) arrays."""

    root: np.ndarray  # R_g
    z: np.ndarray  # Z_g
    d: np.ndarray  # D_g: H_g but for the directions that a cluster alone determines


def cr2_weights(h: np.ndarray) -> Cr2Weights:
    """Return the weights of clusters, given H_g, (clusters, K, K) summands of I."""
    root = inverse_root(h)
    z = h @ root
    return Cr2Weights(root=root, z=z, d=z @ root - z @ z)


def inverse_root(h: np.ndarray) -> np.ndarray:
    """Return (I - H)^(-1/2) of (clusters, K, K) summands of I, without the null space of I - H."""
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


@dataclass(frozen=True)
class SatterthwaiteSums:
    """Sums over clusters behind the degrees of freedom of tests, each of q contrasts w, (q, K).

    They are split by cluster: Γ_gg has D_g and is summed as it is, and Γ_gh = -U_g'U_h with
    U_g = Z_g w', a (K, q) matrix, whose sum over all pairs comes from sums of products. These
    include the pairs g = h, which ``squares`` subtracts.
    """

    # (tests,) array: Σ tr Γ_gg.
    trace: np.ndarray
    # (tests,) array: Σ ‖Γ_gg‖² + (tr Γ_gg)² - ‖U_g'U_g‖² - ‖U_g‖⁴.
    squares: np.ndarray
    # (tests, Kq, Kq) array: Σ vec(U_g) vec(U_g)'; None if there are too many numbers.
    products: np.ndarray | None

    @classmethod
    def none(cls, w: np.ndarray, clusters: int) -> "SatterthwaiteSums":
        """Return the sums of none of the clusters to come, given contrasts, (tests, q, K)."""
        tests, q, k = w.shape
        products = None
        if q == 1 or clusters * (k * q) ** 2 <= MAX_PRODUCTS:
            products = np.zeros((tests, k * q, k * q))
        return cls(np.zeros(tests), np.zeros(tests), products)

    def plus(self, weights: Cr2Weights, w: np.ndarray) -> "SatterthwaiteSums":
        """Return the sums with those of further clusters, given contrasts, (tests, q, K)."""
        u = _times_contrasts(weights.z, w)
        tests, clusters, k, q = u.shape
        gamma = np.einsum("tik,tgkj->tgij", w, _times_contrasts(weights.d, w))
        traces = np.trace(gamma, axis1=-2, axis2=-1)
        inner = np.einsum("tgki,tgkj->tgij", u, u)
        lengths = np.trace(inner, axis1=-2, axis2=-1)
        # The pairs g = h, less what the products below add for them.
        squares = self.squares + (gamma**2).sum(axis=(1, 2, 3)) + (traces**2).sum(axis=1)
        squares = squares - (inner**2).sum(axis=(1, 2, 3)) - (lengths**2).sum(axis=1)
        flat = u.reshape(tests, clusters, k * q)
        products = self.products
        if products is not None:
            products = products + np.swapaxes(flat, 1, 2) @ flat
        return SatterthwaiteSums(self.trace + traces.sum(axis=1), squares, products)

    def df(self, w: np.ndarray) -> np.ndarray:
        """Return the degrees of freedom η of each test, (tests,); of t for a single contrast.

        They are NaN where a single cluster determines the contrast. Rows of several contrasts,
        (tests, q, K), are orthonormal.
        """
        tests, q, k = w.shape
        total = self.squares
        if self.products is not None:
            # Over all pairs g, h, the squares of the products add up to Σ [tr (U_g'U_h)]². With the
            # two contrasts of one factor exchanged, they add up to Σ tr [(U_g'U_h)²].
            products = self.products.reshape(tests, k, q, k, q)
            exchanged = np.swapaxes(products, 2, 4)
            total = total + (products * (exchanged + products)).sum(axis=(1, 2, 3, 4))
        # For a single contrast, of any length, the total is 2 ‖Γ‖². For q orthonormal ones the
        # trace of Γ is q.
        has_error = self.trace > MIN_ONE_MINUS_LEVERAGE * (w**2).sum(axis=(1, 2))
        eta = (q + 1) / q * self.trace**2 / np.where(has_error, total, 1)
        return np.where(has_error, eta, np.nan)


def _times_contrasts(matrices: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the products of (clusters, K, K) matrices and w', (tests, clusters, K, q)."""
    clusters, k, _ = matrices.shape
    tests, q, _ = w.shape
    products = matrices.reshape(clusters * k, k) @ w.reshape(tests * q, k).T
    return products.reshape(clusters, k, tests, q).transpose(2, 0, 1, 3)


def _orthonormal(w: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span those of w, (q, K), if there are several."""
    if len(w) < 2:
        return w
    return np.linalg.qr(w.T)[0].T
