"""Algebra of symmetric matrices that are stored as their upper triangles, row by row."""

import numpy as np


def packed_size(p: int) -> int:
    """Return the number of elements of the upper triangle of a (p, p) matrix."""
    return p * (p + 1) // 2


def unpacked(packed: np.ndarray, p: int) -> np.ndarray:
    """Return symmetric (…, p, p) matrices from their upper triangles, row by row, (…, packed)."""
    products = np.empty((*packed.shape[:-1], p, p))
    rows, columns = np.triu_indices(p)
    products[..., rows, columns] = packed
    products[..., columns, rows] = packed
    return products


def recentred(packed: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move cross-products to another centre, exactly.

    With w' = w - d w_0: S'_ij = S_ij - d_i S_0j - d_j S_0i + d_i d_j S_00. The shift d, (layers,
    p), is the new centre minus the old one, 0 for the leading 1; the cross-products are (…, layers,
    packed).
    """
    p = shift.shape[-1]
    i, j = np.triu_indices(p)
    sums, n = packed[..., :p], packed[..., :1]
    moved = packed - shift[:, i] * sums[..., j]
    moved -= shift[:, j] * sums[..., i]
    moved += shift[:, i] * shift[:, j] * n
    return moved


def demeaned(packed: np.ndarray, p: int) -> np.ndarray:
    """Remove the means of each document from its cross-products: S_ij - S_0i S_0j / n.

    The number of rows stays unchanged; the sums become 0.
    """
    i, j = np.triu_indices(p)
    sums = packed[..., :p]
    within = packed - sums[..., i] * (sums[..., j] / np.maximum(packed[..., :1], 1))
    within[..., 0] = packed[..., 0]
    return within
