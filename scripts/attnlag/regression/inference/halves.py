"""Test that the halves of documents have the same lags and leads, which half-panel presumes.

The two halves of a document are regressed apart, each with a level of its own, as in the half-panel
jackknife. Documents are the clusters of both regressions, so that the difference of their lags and
leads has CR2 and the AHT test of `clustered`. Both halves have the same bias in short documents, so
their difference has none.
"""

import numpy as np

from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import (
    NO_TEST,
    AdjustedScores,
    SatterthwaiteSums,
    Wald,
    coordinates_of_half,
)
from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag


def equal_halves(solution: Solution) -> Wald:
    """Return the AHT test of a layer; `NO_TEST` if halves are not apart or documents are few.

    Documents are read block by block.
    """
    moments = solution.moments
    if not solution.corrected or moments.count < FEWEST_DOCUMENTS:
        return NO_TEST
    pieces = [piece for piece in solution.pieces if piece.part]
    to = [coordinates_of_half(piece.inverse)[0] for piece in pieces]
    back = solution.back[[place for place, name in enumerate(moments.names) if is_lag(name)]]
    w = np.concatenate([back @ to[0], -back @ to[1]], axis=1)
    covariance = np.zeros((len(back), len(back)))
    test = SatterthwaiteSums(w, moments.count)
    for a, b, _ in solution.by_cluster(moments.by_document()):
        # The two regressions are one with a block for each.
        both = np.zeros((a.shape[1], w.shape[1], w.shape[1]))
        scores, start = [], 0
        for own, piece in zip(to, pieces, strict=True):
            end = start + own.shape[1]
            both[:, start:end, start:end] = own.T @ a[piece.part] @ own
            scores.append((b[piece.part] - a[piece.part] @ piece.theta) @ own)
            start = end
        adjusted = AdjustedScores.of(both, np.concatenate(scores, axis=1))
        apart = adjusted.scores @ w.T
        covariance += apart.T @ apart
        test.add(adjusted)
    estimate = back @ (pieces[0].theta - pieces[1].theta)
    return clustered.wald(estimate, covariance, test.df(), aht=True)
