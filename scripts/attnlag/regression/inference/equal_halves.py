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
    first_half = lags @ whiten_half(halves.first.inverse)
    minus_second_half = -lags @ whiten_half(halves.second.inverse)
    (test,) = cr2(
        _side_by_side(solution, halves),
        moments.count,
        contrasts=np.hstack([first_half, minus_second_half]),
        estimate=lags @ (halves.first.theta - halves.second.theta),
        hypotheses=[np.eye(len(lags))],
    ).tests
    return test


def _side_by_side(solution: Solution, halves: HalfPanel) -> Iterator[list[ClusterScores]]:
    """Yield the two regressions as one, with a block of X'X for each half."""
    for a, b, _ in solution.by_cluster(solution.moments.s):
        first = half_scores(a[1], b[1], halves.first)
        second = half_scores(a[2], b[2], halves.second)
        end = first.h.shape[-1]
        k = end + second.h.shape[-1]
        both = np.zeros((len(first.h), k, k))
        both[:, :end, :end] = first.h
        both[:, end:, end:] = second.h
        scores = np.concatenate([first.scores, second.scores], axis=2)
        yield [ClusterScores(both, scores, np.eye(k))]
