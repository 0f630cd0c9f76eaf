"""Removal of effects with many levels from variables: documents and tokens jointly.

A model with a dummy for every document, every token and every previous token has as many sparse
normal equations as the vocabulary has tokens, or more. They are solved by conjugate gradients,
which converge faster than alternating projections. A regression of the residualised variables has
the coefficients of the regression with all dummies (Frisch, Waugh and Lovell).
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from attnlag.errors import UserError

# Tolerance of the normal equations, relative to their right-hand sides.
TOLERANCE = 1e-10
MAX_STEPS = 10_000


def is_nested_in(code: np.ndarray, other: np.ndarray) -> bool:
    """Return whether each level of a factor occurs with only one level of another factor.

    Both are (rows,) int, levels from 0.
    """
    pairs = code * (int(other.max(initial=-1)) + 1) + other
    return len(np.unique(pairs)) == len(np.unique(code))


class Effects:
    """The levels of several factors, (rows,) each, which may be any numbers."""

    def __init__(self, factors: Sequence[np.ndarray]) -> None:
        # (rows,) int arrays: levels of each factor, numbered from 0.
        self.codes = []
        columns_of_factors = []
        levels = 0
        for factor in factors:
            _, code = np.unique(factor, return_inverse=True)
            code = code.astype(np.int64)
            self.codes.append(code)
            columns_of_factors.append(levels + code)
            levels += int(code.max(initial=-1)) + 1
        columns = np.stack(columns_of_factors, axis=1)
        pointers = np.arange(len(columns) + 1) * len(self.codes)
        data = np.ones(columns.size), columns.reshape(-1), pointers
        # (rows, levels) array: 1 where a row has a level of one factor after another.
        self.dummies = sparse.csr_array(data, shape=(len(columns), levels))

    def rank(self) -> int:
        """Return the rank of the dummies.

        The rank is exact for one factor, and for two factors, whose dummies lose one for each
        connected component. For three or more factors it is the usual upper bound, which loses one
        for each factor after the first two. A factor that is nested in another adds nothing.
        """
        codes = self.codes
        for code in self.codes:
            others = [factor for factor in codes if factor is not code]
            if any(is_nested_in(factor, code) for factor in others):
                codes = others
        sizes = [int(code.max(initial=-1)) + 1 for code in codes]
        if len(codes) == 1:
            return sizes[0]
        edges = (np.ones(len(codes[0])), (codes[0], codes[1] + sizes[0]))
        graph = sparse.coo_array(edges, shape=(sizes[0] + sizes[1],) * 2)
        components = sparse.csgraph.connected_components(graph)[0]
        return sum(sizes) - components - (len(codes) - 2)

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Return the residuals of (rows, variables) values given the effects.

        The effects x of the levels on a variable v solve D'D x = D'v, scaled so that D'D has a unit
        diagonal. D'D is singular if factors share a constant, which does not affect the fit. A
        UserError says if the conjugate gradients do not converge.
        """
        counts = np.maximum(self.dummies.sum(axis=0), 1)
        scaled = self.dummies @ sparse.diags_array(1 / np.sqrt(counts))
        products = (scaled.T @ scaled).tocsr()
        target = scaled.T @ values
        # Variables of one size are solved as one, in a fifth of the time of one after another.
        sizes = np.linalg.norm(target, axis=0)
        target /= np.where(sizes > 0, sizes, 1)
        operator = LinearOperator(
            (target.size, target.size), lambda x: (products @ x.reshape(target.shape)).ravel()
        )
        close = TOLERANCE / np.sqrt(len(sizes))
        found, steps = cg(operator, target.ravel(), rtol=close, maxiter=MAX_STEPS)
        effects = found.reshape(target.shape)
        if steps:
            off_by = np.linalg.norm(products @ effects - target, axis=0).max()
            raise UserError(
                f"the effects of {len(self.codes)} factors ({len(target):,} levels) did not "
                f"converge: after {steps:,} steps their equations are off by {off_by:.1g}, "
                f"expected {TOLERANCE:g}; hold fewer effects fixed, or give more text"
            )
        return values - scaled @ (effects * sizes)
