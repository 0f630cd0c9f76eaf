"""Solutions of normal equations A θ = b of some of the rows, which may not identify all terms.

In coordinates in which A of all rows is I, that of some of them is a summand of I: its eigenvalues
say which share of the information these rows hold.
"""

from dataclasses import dataclass

import numpy as np

# Least ratio of the smallest to the largest eigenvalue of A, without a document or in a half of the
# documents. Below it, these rows do not identify all terms, although all documents do. For the
# other terms of a half it bounds the eigenvalues themselves, which are at most 1.
MIN_RECIPROCAL_CONDITION = 1e-10

# An eigenvalue below this is rounding, if A over all rows is the identity.
ROUNDING = 1e-13


@dataclass(frozen=True)
class SolvedEquations:
    """The solution of one or more systems of normal equations."""

    # (…, K, K) array: A⁻¹, a generalised inverse in a half that does not identify all terms.
    inverse: np.ndarray
    # (…, K) array: A⁻¹ b. NaN, as the inverse, where A is singular.
    theta: np.ndarray


def solve_normal_equations(a: np.ndarray, b: np.ndarray) -> SolvedEquations:
    """Solve A θ = b for summands A of I, (…, K, K), and b, (…, K); NaN where A is singular."""
    singular = is_singular(a)
    inverse = np.linalg.inv(identity_where(singular, a))
    inverse[singular] = np.nan
    return SolvedEquations(inverse, times(inverse, b))


def identity_where(singular: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return (…, K, K) matrices with the identity in place of singular ones, (…) bool."""
    if not singular.any():
        return a
    return np.where(singular[..., None, None], np.eye(a.shape[-1]), a)


def times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the products of (…, L, K) matrices and (…, K) vectors, (…, L)."""
    return (matrix @ vector[..., None])[..., 0]


def is_singular(a: np.ndarray) -> np.ndarray:
    """Return which of (…, K, K) summands of I do not identify all terms, (…) bool.

    These are the summands whose smallest eigenvalue is negligible relative to the largest. Their
    size does not matter until precision is lost: documents with a tenth of the rows have an A near
    I / 10.
    """
    k = a.shape[-1]
    scale = np.trace(a, axis1=-2, axis2=-1) / k
    scaled = a / np.where(scale > ROUNDING, scale, 1)[..., None, None]
    # The ratio of eigenvalues with a mean of 1 is at least a quarter of their product, which is
    # cheap to compute.
    precise = np.linalg.det(scaled) > 4 * MIN_RECIPROCAL_CONDITION
    doubtful = ~precise | (scale < ROUNDING / MIN_RECIPROCAL_CONDITION)
    singular = np.zeros(doubtful.shape, dtype=bool)
    if doubtful.any():
        values = np.linalg.eigvalsh(a[doubtful])
        smallest = np.maximum(MIN_RECIPROCAL_CONDITION * values[:, -1], ROUNDING)
        singular[doubtful] = ~(values[:, 0] > smallest)
    return singular


def generalised_inverse(a: np.ndarray) -> np.ndarray:
    """Return generalised inverses of (…, K, K) summands of I."""
    values, vectors = np.linalg.eigh(a)
    identified = values > MIN_RECIPROCAL_CONDITION
    scaled = vectors / np.where(identified, values, np.inf)[..., None, :]
    return scaled @ np.swapaxes(vectors, -1, -2)
