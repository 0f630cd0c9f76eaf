"""Test that the halves of documents have the same lags and leads, which half-panel presumes.

The two halves of a document are regressed apart, each with a level of its own, as in the half-panel
jackknife. Documents are the clusters of both regressions, so that the difference of their lags and
leads has CR2 and the AHT test of `clustered`. Both halves have the same bias in short documents, so
their difference has none.
"""

from collections.abc import Sequence

import numpy as np

from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import NO_TEST, Adjusted, SatterthwaiteSums, Wald
from attnlag.regression.estimation.least_squares import Solution, names_of
from attnlag.regression.estimation.regress import coordinates_of_half
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag


def equal_halves(stack: Stack, solutions: Sequence[Solution]) -> list[Wald]:
    """Return the test of each layer; `NO_TEST` if halves are not apart or documents are few.

    Documents are read block by block.
    """
    lags = [place for place, name in enumerate(names_of(stack)) if is_lag(name)]
    sums = [
        Difference(solution, lags, stack.count(index))
        if solution.corrected and stack.count(index) >= FEWEST_DOCUMENTS
        else None
        for index, solution in enumerate(solutions)
    ]
    for products in stack.by_document():
        for difference, packed in zip(sums, products, strict=True):
            if difference:
                difference.add(packed)
    return [difference.test() if difference else NO_TEST for difference in sums]


class Difference:
    """The difference between the lags of the halves of one layer, and sums of its scores."""

    def __init__(self, solution: Solution, lags: Sequence[int], documents: int):
        self.solution = solution
        halves = [piece for piece in solution.pieces if piece.part]
        self.thetas = [piece.theta for piece in halves]
        inverses = [piece.inverse for piece in halves if piece.inverse is not None]
        self.to = [coordinates_of_half(inverse)[0] for inverse in inverses]
        back = solution.back[list(lags)]
        first, second = self.to
        self.w = np.concatenate([back @ first, -back @ second], axis=1)
        self.estimate = back @ (self.thetas[0] - self.thetas[1])
        self.covariance = np.zeros((len(back), len(back)))
        self.tests = SatterthwaiteSums.of(self.w[None], documents)

    def add(self, packed: np.ndarray) -> None:
        """Add the (parts, documents, packed) cross-products of documents."""
        halves = []
        for part, (theta, to) in enumerate(zip(self.thetas, self.to, strict=True), start=1):
            a, b, _ = self.solution.equations(packed[part])
            halves.append(Adjusted.of(to.T @ a @ to, (b - a @ theta) @ to))
        both = halves[0] & halves[1]
        apart = both.scores @ self.w.T
        self.covariance += apart.T @ apart
        self.tests.add(both)

    def test(self) -> Wald:
        """Return the AHT test that there is no difference."""
        eta = float(self.tests.df()[0])
        return clustered.wald(self.estimate, self.covariance, eta, aht=True)
