"""The test of equal halves against matrices written out, and against halves that differ."""

import numpy as np
import pandas as pd
import pytest
from designs import changed, columns_of, design_table, layers_of
from oracles import aht, cr2, first_halves, ols

from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import NO_TEST
from attnlag.regression.estimation.least_squares import solve

LENGTHS = [12, 30, 8, 21, 15, 40, 9, 26]


def regressors(table, layer, shared):
    """Return y, X and documents of the two halves side by side, each without its means."""
    y, x, codes = columns_of(table, layer, shared)
    first, own = first_halves(codes), pd.DataFrame(np.column_stack([y, x[:, 1:]]))
    own -= own.groupby([codes, first]).transform("mean")
    x = np.hstack([own.mul(half, axis=0).iloc[:, 1:] for half in (first, ~first)])
    # A half that tells nothing of a covariate has only its lags.
    return own[0].to_numpy(), x[:, x.any(axis=0)], codes


@pytest.mark.parametrize("shared", [[], ["position_1"]])
def test_the_test_equals_that_of_matrices_written_out(shared):
    """The covariate varies in the first half of every document alone."""
    table = design_table(LENGTHS, layers=2)
    early = np.concatenate([np.maximum(n // 4 - np.arange(n), 0.0) for n in LENGTHS])
    table = changed(table, dict.fromkeys(shared, early))
    layers = layers_of(table, halves=True, effects=True)
    found = [clustered.equal_halves(solve(layer)) for layer in layers]
    for layer, test in enumerate(found):
        y, x, codes = regressors(table, layer, shared)
        k = x.shape[1]
        contrast = np.zeros((2, k))
        contrast[:, :2], contrast[:, k - 2 :] = np.eye(2), -np.eye(2)
        covariance, (eta,) = cr2(y, x, codes, [contrast])
        found = test.statistic, test.df, test.df_residual, test.p_value
        assert found == pytest.approx(aht(ols(y, x), covariance, contrast, eta), rel=1e-8)


def test_without_halves_or_with_few_documents_there_is_no_test():
    for lengths, apart in ((LENGTHS, False), (LENGTHS[:5], True)):
        layers = layers_of(design_table(lengths), halves=apart, effects=True)
        tests = [clustered.equal_halves(solve(layer)) for layer in layers]
        assert tests == [NO_TEST] * 2
