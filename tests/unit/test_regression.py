"""Estimates and inference against statsmodels, on the same rows."""

import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from attnlag import crossproducts, regression
from attnlag.errors import UserError

TERMS = ["y", "lag_1", "lag_2"]


def design_table(lengths, layers=2, seed=0, mean=1.0, missing=0.0):
    """Return a design of ragged documents with dynamics, document effects and gaps."""
    generator = np.random.default_rng(seed)
    rows = sum(lengths)
    codes = np.repeat(np.arange(len(lengths)), lengths)
    columns = {
        "document": pa.array([f"d{code}" for code in codes], pa.string()).dictionary_encode()
    }
    for layer in range(layers):
        x = generator.normal(size=(rows, 2)) + generator.normal(size=(len(lengths), 1))[codes]
        effect = generator.normal(size=len(lengths))[codes]
        y = (
            0.3 * x[:, 0]
            - 0.1 * x[:, 1]
            + effect
            + generator.normal(size=rows) * (1 + x[:, 0] ** 2)
        )
        gap = generator.random(rows) < missing
        for term, values in zip(TERMS, (y, x[:, 0], x[:, 1]), strict=True):
            values = np.where(gap, np.nan, values + mean)
            columns[f"layer_{layer:02d}.{term}"] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def stack_of(table, rows=10**6):
    return crossproducts.accumulate(table.to_batches(rows), table.schema)


def columns_of(table, layer):
    """Return the rows that statsmodels is given: y, X with a constant, document codes."""
    frame = table.to_pandas()
    names = [f"layer_{layer:02d}.{term}" for term in TERMS]
    frame = frame.dropna(subset=names)
    x = sm.add_constant(frame[names[1:]].to_numpy())
    return frame[names[0]].to_numpy(), x, frame["document"].cat.codes.to_numpy()


LENGTHS = {
    "one document": [60],
    "two": [30, 8],
    "ragged": [40, 3, 1, 25, 12, 7, 55, 2],
    "many": np.random.default_rng(5).integers(1, 40, 80).tolist(),
}


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("layers", [1, 5])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("covariance", ["nonrobust", "cluster"])
def test_equals_statsmodels(lengths, layers, missing, covariance):
    if covariance == "cluster" and len(lengths) < 6:
        with pytest.raises(UserError, match="expected at least 6"):
            regression.fit(stack_of(design_table(lengths)), "cluster", 5)
        return
    table = design_table(lengths, layers, missing=missing)
    stack = crossproducts.merged([stack_of(table)])
    fits = regression.fit(stack, covariance, 5)
    tidy = regression.coefficients(fits, stack, covariance=covariance, alpha=0.1, adjust="holm")
    for layer, fit in enumerate(fits):
        y, x, codes = columns_of(table, layer)
        options = {}
        if covariance == "cluster":
            options = {"cov_type": "cluster", "cov_kwds": {"groups": codes}, "use_t": True}
        oracle = sm.OLS(y, x).fit(**options)
        rows = tidy[tidy["layer"] == layer]
        close = {"rtol": 1e-9, "atol": 1e-13}
        np.testing.assert_allclose(rows["estimate"], oracle.params, **close)
        np.testing.assert_allclose(rows["std_error"], oracle.bse, **close)
        np.testing.assert_allclose(rows["statistic"], oracle.tvalues, **close)
        np.testing.assert_allclose(rows["p_value"], oracle.pvalues, rtol=1e-8, atol=1e-300)
        interval = oracle.conf_int(0.1)
        np.testing.assert_allclose(rows[["conf_low", "conf_high"]], interval, **close)
        np.testing.assert_allclose(fit.covariance, oracle.cov_params(), rtol=1e-9, atol=1e-15)
        assert fit.r_squared == pytest.approx(oracle.rsquared, rel=1e-9)
        assert fit.adj_r_squared == pytest.approx(oracle.rsquared_adj, rel=1e-9)
        assert fit.sigma == pytest.approx(np.sqrt(oracle.scale), rel=1e-9)
        assert fit.log_likelihood == pytest.approx(oracle.llf, rel=1e-9)
        assert fit.condition_number == pytest.approx(oracle.condition_number, rel=1e-7)
        assert fit.n_obs == oracle.nobs
        assert fit.n_documents == len(np.unique(codes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert fit.f_statistic == pytest.approx(float(oracle.fvalue), rel=1e-8)
            assert fit.f_p_value == pytest.approx(float(oracle.f_pvalue), rel=1e-7, abs=1e-300)
        expected_df = fit.n_documents - 1 if covariance == "cluster" else fit.n_obs - 3
        assert (rows["df"] == expected_df).all()


def test_adjusted_p_values_are_over_the_layers_of_a_term():
    stack = crossproducts.merged([stack_of(design_table(LENGTHS["many"], 6))])
    fits = regression.fit(stack, "cluster", 5)
    for adjust, method in {"holm": "holm", "benjamini-hochberg": "fdr_bh"}.items():
        tidy = regression.coefficients(fits, stack, covariance="cluster", alpha=0.05, adjust=adjust)
        for _, rows in tidy.groupby("term"):
            expected = multipletests(rows["p_value"], method=method)[1]
            np.testing.assert_allclose(rows["p_adjusted"], expected)
    tidy = regression.coefficients(fits, stack, covariance="cluster", alpha=0.05, adjust="none")
    assert (tidy["p_adjusted"] == tidy["p_value"]).all()


def test_cross_validation_is_that_of_separate_fits():
    table = design_table(LENGTHS["many"], 1, missing=0.1)
    stack = crossproducts.merged([stack_of(table)])
    (fit,) = regression.fit(stack, "cluster", 7)
    y, x, codes = columns_of(table, 0)
    fold = np.unique(codes, return_inverse=True)[1] % 7
    error = 0.0
    for held_out in range(7):
        train, test = fold != held_out, fold == held_out
        error += ((y[test] - x[test] @ sm.OLS(y[train], x[train]).fit().params) ** 2).sum()
    expected = 1 - error / ((y - y.mean()) ** 2).sum()
    assert fit.cv_r_squared == pytest.approx(expected, rel=1e-9)


def test_folds_are_at_most_one_a_document():
    stack = crossproducts.merged([stack_of(design_table([30] * 6, 1))])
    many, exact = (regression.fit(stack, "cluster", folds)[0] for folds in (100, 6))
    assert many.cv_r_squared == exact.cv_r_squared


@pytest.mark.parametrize("ratio", [3, 300, 10**4])
def test_slopes_against_exact_arithmetic(ratio):
    """The mean is ``ratio`` times the standard deviation; rationals have no rounding."""
    table = design_table([50] * 6, 1, mean=float(ratio))
    stack = crossproducts.merged([stack_of(table, rows=70)])
    (fit,) = regression.fit(stack, "nonrobust", 5)
    y, x, _ = columns_of(table, 0)
    exact = solve_exactly(x, y)
    np.testing.assert_allclose(fit.estimate[1:], exact[1:], rtol=1e-12)


def solve_exactly(x, y):
    """Solve the normal equations in rational arithmetic."""
    rows = [[Fraction(float(value)) for value in row] for row in x]
    outcome = [Fraction(float(value)) for value in y]
    k = x.shape[1]
    system = [
        [sum(row[i] * row[j] for row in rows) for j in range(k)]
        + [sum(row[i] * value for row, value in zip(rows, outcome, strict=True))]
        for i in range(k)
    ]
    for i in range(k):
        system[i] = [value / system[i][i] for value in system[i]]
        for j in range(k):
            if j != i:
                system[j] = [
                    a - system[j][i] * b for a, b in zip(system[j], system[i], strict=True)
                ]
    return [float(row[-1]) for row in system]


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    rows=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 12), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_shards_and_batches_change_nothing(lengths, rows, cuts):
    table = design_table(lengths, 2, mean=100.0, missing=0.1)
    whole = crossproducts.merged([stack_of(table)])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    edges = sorted({0, len(lengths), *(cut for cut in cuts if cut < len(lengths))})
    shards = [stack_of(table.slice(ends[a], ends[b] - ends[a]), rows) for a, b in pairwise(edges)]
    merged = crossproducts.merged(shards)
    assert merged.documents == whole.documents == [f"d{i}" for i in range(len(lengths))]
    np.testing.assert_allclose(merged.centre, whole.centre, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(merged.products, whole.products, rtol=1e-9, atol=1e-8)


def test_cross_products_are_their_definition():
    table = design_table([9, 4, 6], 2, missing=0.2)
    stack = stack_of(table, rows=5)
    frame = table.to_pandas()
    for layer in range(2):
        names = [f"layer_{layer:02d}.{term}" for term in TERMS]
        for g, document in enumerate(stack.documents):
            rows = frame.loc[frame["document"] == document, names].dropna().to_numpy()
            w = np.column_stack([np.ones(len(rows)), rows]) - stack.centre[layer]
            np.testing.assert_allclose(stack.products[layer, g], w.T @ w, atol=1e-12)


def test_a_stack_survives_its_file(tmp_path):
    from attnlag import tables

    stack = stack_of(design_table([9, 4, 6], 3, missing=0.2))
    record = tables.provenance({}, "x", {}, crossproducts=crossproducts.centre_record(stack))
    table = crossproducts.to_table(stack)
    assert table["layer"].to_pylist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["n"].to_pylist()[:3] == np.rint(stack.products[0, :, 0, 0]).tolist()
    tables.write_table(table, tmp_path / "c.parquet", record)
    again = crossproducts.read_stack(tmp_path / "c.parquet")
    np.testing.assert_array_equal(again.products, stack.products)
    np.testing.assert_array_equal(again.centre, stack.centre)
    assert (again.terms, again.layers, again.documents) == (
        stack.terms,
        stack.layers,
        stack.documents,
    )


def test_a_layer_that_cannot_be_fitted_says_why_and_the_others_are_fitted():
    table = design_table([20] * 8, 4)
    columns = table.to_pydict()
    columns["layer_01.y"] = [2.5] * 160
    columns["layer_02.lag_2"] = [1.1] * 160
    columns["layer_03.lag_2"] = [2 * value - 7 for value in columns["layer_03.lag_1"]]
    table = pa.table(columns | {"document": table["document"]})
    stack = crossproducts.merged([stack_of(table)])
    fits = regression.fit(stack, "cluster", 4)
    assert [fit.status for fit in fits] == [
        "ok",
        "the outcome is constant",
        "a regressor is constant",
        "the regressors are collinear",
    ]
    tidy = regression.coefficients(fits, stack, covariance="cluster", alpha=0.05, adjust="holm")
    assert tidy["estimate"].isna().sum() == 9
    alone = regression.coefficients(
        fits[:1],
        crossproducts.Stack(stack.terms, [0], stack.documents, stack.products[:1], stack.centre),
        covariance="cluster",
        alpha=0.05,
        adjust="holm",
    )
    pd.testing.assert_frame_equal(tidy.iloc[:3], alone)


def test_fewer_rows_than_terms():
    stack = crossproducts.merged([stack_of(design_table([3], 1))])
    assert regression.fit(stack, "nonrobust", 2)[0].status == "3 rows for 3 terms"


def test_no_rows_at_all():
    stack = crossproducts.merged([stack_of(design_table([5]).slice(0, 0))])
    assert regression.fit(stack, "nonrobust", 2)[0].status == "0 rows for 3 terms"
