"""The test that the halves of documents are alike, which the half-panel jackknife presumes."""

from collections.abc import Iterator

import numpy as np

from attnlag.regression.estimation.cr2 import ClusterScores, cr2
from attnlag.regression.estimation.least_squares import (
    HalfPanel,
    Solution,
    half_scores,
    whiten_half,
)
from attnlag.regression.estimation.wald import NO_TEST, Wald
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.terms import lag_places


def equal_halves(solution: Solution) -> Wald:
    """Test that the halves of documents have the same lags and leads.

    Each half has a regression of its own, with a level of its own, as in the half-panel jackknife.
    Documents are the clusters of both regressions, so that the difference of their lags and leads
    has CR2 and the AHT test. Both have the same bias in short documents; their difference has none.
    The result is `NO_TEST` without halves, or if documents are few.
    """
    moments = solution.moments
    halves = solution.half_panel
    if halves is None or moments.count < MIN_DOCUMENTS:
        return NO_TEST
    lags = solution.unwhiten[lag_places(moments.names)]
    w_first = whiten_half(halves.first.inverse)
    w_second = whiten_half(halves.second.inverse)
    (test,) = cr2(
        _side_by_side(solution, halves, w_first, w_second),
        moments.count,
        contrasts=np.hstack([lags @ w_first, -lags @ w_second]),
        estimate=lags @ (halves.first.theta - halves.second.theta),
        hypotheses=[np.eye(len(lags))],
    ).tests
    return test


def _side_by_side(
    solution: Solution, halves: HalfPanel, w_first: np.ndarray, w_second: np.ndarray
) -> Iterator[list[ClusterScores]]:
    """Yield the two regressions as one, with a block of X'X for each half.

    ``w_first`` and ``w_second`` are what `whiten_half` returns for the halves.
    """
    end = w_first.shape[1]
    k = end + w_second.shape[1]
    for a, b, _ in solution.by_cluster(solution.moments.products):
        h_first, scores_first = half_scores(a[1], b[1], halves.first.theta, w_first)
        h_second, scores_second = half_scores(a[2], b[2], halves.second.theta, w_second)
        both = np.zeros((len(h_first), k, k))
        both[:, :end, :end] = h_first
        both[:, end:, end:] = h_second
        scores = np.concatenate([scores_first, scores_second], axis=2)
        yield [ClusterScores(both, scores, np.eye(k))]
