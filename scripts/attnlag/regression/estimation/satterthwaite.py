"""Degrees of freedom of clustered errors: Satterthwaite's of t, and η of a joint test (AHT).

In the notation of `cr2`, a contrast w has tr(Γ)² / ‖Γ‖² degrees of freedom, where Γ, with a row and
a column per cluster, is the covariance, under independent errors of equal variance, of what the
clusters contribute, w R_g s_g. It needs only K x K sums over clusters: with Z_g = H_g R_g and
D_g = R_g H_g R_g - Z_g Z_g,

    Γ_gg = w D_g w',    Γ_gh = -(Z_g w')' (Z_h w').

A hypothesis of q contrasts has q x q blocks Γ_gh, and with orthonormal rows
η = q (q + 1) / Σ_gh (tr [Γ_gh²] + [tr Γ_gh]²) (Pustejovsky and Tipton 2018).
"""

from dataclasses import dataclass, replace

import numpy as np

# A cluster with a leverage this close to 1 determines the direction alone: its residuals there are
# zero whatever the errors.
MIN_ONE_MINUS_LEVERAGE = 1e-9

# Numbers in the products of different clusters of a joint test, at most. Beyond it the pairs of
# different clusters count as zero. In simulations, of even clusters and with a dominant one, this
# makes η too large by one to two parts in as many as there are clusters.
MAX_PRODUCTS = 2e10

# ‖Z_g‖² is h²/(1 - h) at a leverage h. A cluster with more than this is summed by itself; others
# are summed at once, with pairs g = h, and the squares of ‖Z_g‖² are taken away again.
MAX_SQUARED_Z = 10


@dataclass(frozen=True)
class Cr2Weights:
    """What degrees of freedom need of each cluster, (clusters, K, K) arrays."""

    z: np.ndarray  # Z_g
    d: np.ndarray  # D_g: H_g but for the directions that a cluster alone determines


def cr2_weights(h: np.ndarray, root: np.ndarray) -> Cr2Weights:
    """Return the weights of clusters, given their H_g and R_g, (clusters, K, K)."""
    z = h @ root
    return Cr2Weights(z=z, d=z @ root - z @ z)


@dataclass(frozen=True)
class SatterthwaiteSums:
    """Sums over clusters behind the degrees of freedom of tests, each of q contrasts w, (q, K).

    With f(M) = tr M² + (tr M)², η needs Σ_gh f(Γ_gh). A pair g = h is summed as it is. That of
    different clusters is f(U_g'U_h) with U_g = Z_g w', a (K, q) matrix, and a block of clusters has
    Σ_gh f(U_g'U_h) - Σ_g f(U_g'U_g), the first from sums of products.
    """

    # (tests, q, K) array: w. Rows of several contrasts are orthonormal.
    w: np.ndarray
    # (tests,) array: Σ tr Γ_gg.
    trace: np.ndarray
    # (tests,) array: Σ_gh f(Γ_gh); Σ_g f(Γ_gg) without products.
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
        return cls(w, np.zeros(tests), np.zeros(tests), products)

    def plus(self, weights: Cr2Weights) -> "SatterthwaiteSums":
        """Return the sums with those of further clusters."""
        gamma = np.einsum("tik,tgkj->tgij", self.w, _times_contrasts(weights.d, self.w))
        sums = replace(
            self,
            trace=self.trace + np.trace(gamma, axis1=-2, axis2=-1).sum(axis=1),
            squares=self.squares + _sum_of_f(gamma),
        )
        contrasts = self.w.shape[1]
        if self.products is None or contrasts == 0:
            return sums
        u = _times_contrasts(weights.z, self.w)
        large = (weights.z**2).sum(axis=(1, 2)) > MAX_SQUARED_Z
        sums = sums._with_pairs(u[:, ~large])
        for cluster in np.flatnonzero(large):
            sums = sums._with_pairs(u[:, [cluster]])
        return sums

    def _with_pairs(self, u: np.ndarray) -> "SatterthwaiteSums":
        """Return the sums with the pairs that clusters make, with earlier ones and each other.

        ``u`` has their U_g, (tests, clusters, K, q).
        """
        assert self.products is not None
        tests, clusters, k, q = u.shape
        flat = u.reshape(tests, clusters, k * q)
        products = np.swapaxes(flat, 1, 2) @ flat
        pairs = 2 * _sum_over_pairs(self.products, products, q)
        if clusters > 1:
            pairs_of_equals = _sum_of_f(np.swapaxes(u, 2, 3) @ u)
            pairs = pairs + _sum_over_pairs(products, products, q) - pairs_of_equals
        return replace(self, squares=self.squares + pairs, products=self.products + products)

    def df(self) -> np.ndarray:
        """Return the degrees of freedom η of each test, (tests,); of t for a single contrast.

        They are NaN where a single cluster determines the contrast, and without contrasts.
        """
        tests, q, _ = self.w.shape
        if q == 0:
            return np.full(tests, np.nan)
        # For a single contrast, of any length, the squares are 2 ‖Γ‖². For q orthonormal ones the
        # trace of Γ is q.
        has_error = self.trace > MIN_ONE_MINUS_LEVERAGE * (self.w**2).sum(axis=(1, 2))
        eta = (q + 1) / q * self.trace**2 / np.where(has_error, self.squares, 1)
        return np.where(has_error, eta, np.nan)


def _sum_of_f(matrices: np.ndarray) -> np.ndarray:
    """Return Σ_g tr M_g² + (tr M_g)² of symmetric matrices, (tests, clusters, q, q), (tests,)."""
    traces = np.trace(matrices, axis1=-2, axis2=-1)
    return (matrices**2).sum(axis=(1, 2, 3)) + (traces**2).sum(axis=1)


def _sum_over_pairs(first: np.ndarray, second: np.ndarray, q: int) -> np.ndarray:
    """Return Σ_gh f(U_g'U_h), (tests,), from the products of all g and of all h."""
    shape = (len(first), first.shape[1] // q, q, first.shape[2] // q, q)
    # The squares of products add up to Σ [tr (U_g'U_h)]². With the two contrasts of one factor
    # exchanged, they add up to Σ tr [(U_g'U_h)²].
    products = second.reshape(shape)
    exchanged = np.swapaxes(products, 2, 4)
    return (first.reshape(shape) * (exchanged + products)).sum(axis=(1, 2, 3, 4))


def _times_contrasts(matrices: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the products of (clusters, K, K) matrices and w', (tests, clusters, K, q)."""
    clusters, k, _ = matrices.shape
    tests, q, _ = w.shape
    products = matrices.reshape(clusters * k, k) @ w.reshape(tests * q, k).T
    return products.reshape(clusters, k, tests, q).transpose(2, 0, 1, 3)


def orthonormal(w: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span those of w, (q, K), if there are several."""
    if len(w) < 2:
        return w
    return np.linalg.qr(w.T)[0].T
