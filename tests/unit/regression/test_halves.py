"""The test of equal halves against matrices written out, and against halves that differ."""

import numpy as np
import pytest
from designs import changed, design_table, layers_of
from oracles import aht, cr2, ols

from attnlag.regression.estimation.clustered import NO_TEST
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import halves

LENGTHS = [12, 30, 8, 21, 15, 40, 9, 26]


def with_covariate(table, lengths):
    """Add a covariate that varies in the first half of every document alone."""
    x = np.concatenate([np.maximum(n // 4 - np.arange(n), 0) for n in lengths]).astype(float)
    return changed(table, {"position_1": x})


def regressors(table, lengths, layer):
    """Return y, X and documents of the two halves side by side, each without its means."""
    frame, name = table.to_pandas(), f"layer_{layer:02d}"
    names = [f"{name}.lag_1", f"{name}.lag_2"]
    names += ["position_1"] * ("position_1" in frame)
    y, x, codes = [], [], []
    for code, (start, n) in enumerate(zip(np.cumsum(lengths) - lengths, lengths, strict=True)):
        middle = start + (n + 1) // 2
        for half, rows in enumerate((slice(start, middle), slice(middle, start + n))):
            part = frame.iloc[rows]
            own, outcome = part[names].to_numpy(float), part[f"{name}.y"].to_numpy()
            # A half that tells nothing of a covariate has only its lags.
            kept = own if half == 0 else own[:, :2]
            kept = kept - kept.mean(axis=0)
            zeros = np.zeros((len(kept), len(names) if half else 2))
            x.append(np.hstack([zeros, kept] if half else [kept, zeros]))
            y.append(outcome - outcome.mean())
            codes += [code] * len(kept)
    return np.concatenate(y), np.concatenate(x), np.array(codes)


@pytest.mark.parametrize("covariate", [False, True])
def test_the_test_equals_that_of_matrices_written_out(covariate):
    table = design_table(LENGTHS, layers=2)
    table = with_covariate(table, LENGTHS) if covariate else table
    layers = layers_of(table, halves=True, fixed_effects=True)
    found = [halves.equal_halves(solve(layer)) for layer in layers]
    for layer, test in enumerate(found):
        y, x, codes = regressors(table, LENGTHS, layer)
        k = x.shape[1]
        contrast = np.zeros((2, k))
        contrast[:, :2], contrast[:, k - 2 :] = np.eye(2), -np.eye(2)
        covariance, (eta,) = cr2(y, x, codes, [contrast])
        found = test.statistic, test.df, test.df_residual, test.p_value
        assert found == pytest.approx(aht(ols(y, x), covariance, contrast, eta), rel=1e-8)


def test_without_halves_or_with_few_documents_there_is_no_test():
    for lengths, apart in ((LENGTHS, False), (LENGTHS[:5], True)):
        layers = layers_of(design_table(lengths), halves=apart, fixed_effects=True)
        tests = [halves.equal_halves(solve(layer)) for layer in layers]
        assert tests == [NO_TEST] * 2
