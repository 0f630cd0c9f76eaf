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

# Numbers in the products of different clusters of a joint test, at most. Beyond it they are left
# out; their share is about the number of terms over that of clusters.
MAX_PRODUCTS = 2e10


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

    They are split by cluster: Γ_gg has D_g and is summed as it is, and Γ_gh = -U_g'U_h with
    U_g = Z_g w', a (K, q) matrix, whose sum over all pairs comes from sums of products. These
    include the pairs g = h, which ``squares`` subtracts.
    """

    # (tests, q, K) array: w. Rows of several contrasts are orthonormal.
    w: np.ndarray
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
        return cls(w, np.zeros(tests), np.zeros(tests), products)

    def plus(self, weights: Cr2Weights) -> "SatterthwaiteSums":
        """Return the sums with those of further clusters."""
        u = _times_contrasts(weights.z, self.w)
        tests, clusters, k, q = u.shape
        gamma = np.einsum("tik,tgkj->tgij", self.w, _times_contrasts(weights.d, self.w))
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
        trace = self.trace + traces.sum(axis=1)
        return replace(self, trace=trace, squares=squares, products=products)

    def df(self) -> np.ndarray:
        """Return the degrees of freedom η of each test, (tests,); of t for a single contrast.

        They are NaN where a single cluster determines the contrast, and without contrasts.
        """
        tests, q, k = self.w.shape
        if q == 0:
            return np.full(tests, np.nan)
        total = self.squares
        if self.products is not None:
            # Over all pairs g, h, the squares of the products add up to Σ [tr (U_g'U_h)]². With the
            # two contrasts of one factor exchanged, they add up to Σ tr [(U_g'U_h)²].
            products = self.products.reshape(tests, k, q, k, q)
            exchanged = np.swapaxes(products, 2, 4)
            total = total + (products * (exchanged + products)).sum(axis=(1, 2, 3, 4))
        # For a single contrast, of any length, the total is 2 ‖Γ‖². For q orthonormal ones the
        # trace of Γ is q.
        has_error = self.trace > MIN_ONE_MINUS_LEVERAGE * (self.w**2).sum(axis=(1, 2))
        eta = (q + 1) / q * self.trace**2 / np.where(has_error, total, 1)
        return np.where(has_error, eta, np.nan)


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
