"""The second pass against statsmodels and literal definitions, on the same rows."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from designs import (
    batches_of,
    changed,
    design_table,
    norms_table,
    one_alive,
    pieces_of,
    sequences_of,
)
from fits import assert_alike, columns_of, moments_of, regressed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import ols
from statsmodels.stats.diagnostic import het_breuschpagan
from statsmodels.stats.stattools import jarque_bera
from statsmodels.tsa.stattools import acf

from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import diagnostics
from attnlag.regression.inference.layer_fit import fit_layer
from attnlag.regression.residuals import residuals
from attnlag.storage import tables

TERMS = ["lag_1", "lag_2", "log_frequency"]
ALONE = {term: [term] for term in ("y", *TERMS)}

# Rows of each window of each document.
ONE = [[300]]
RAGGED = [[40], [3, 30], [1], [25, 1, 12], [7], [55], [2, 2], [90]]


def design(documents, layers=2, missing=0.0):
    """Return a design of documents of windows, with a covariate that is at its mean in places."""
    table = design_table(list(map(sum, documents)), layers, mean=5.0, missing=missing)
    keys = norms_table(sequences_of(documents))
    shared = {"log_frequency": np.resize([0.0, 1.0, -1.0], len(table))}
    return changed(table, {name: keys[name] for name in ("window", "position")} | shared)


def frame_of(table, layer, effects):
    """Return the rows that a layer keeps: y, X, residuals, sequence, position, document.

    X is [1, centred regressors], or the within-transformed regressors.
    """
    y, x, document = columns_of(table, layer, ["log_frequency", "window", "position"])
    window, position = x[:, 4:].T.astype(int)
    values = pd.DataFrame(np.column_stack([y, x[:, 1:4]]))
    values -= values.groupby(document if effects else 0 * document).transform("mean")
    y, x = values[0].to_numpy(), values[[1, 2, 3]].to_numpy()
    x = x if effects else sm.add_constant(x)
    return y, x, y - x @ ols(y, x), document * 100 + window, position, document


def lines_of(table, effects=False):
    """Return the fitted lines of a design, whose residuals are summed."""
    return [residuals.fitted_line(solve(layer)) for layer in regressed(moments_of(table), effects)]


def sums_of(table, lines, hac_lags=4, rows=10**6):
    return residuals.sum_residuals(batches_of(table, rows), lines, hac_lags)


def lagged(values, sequence, position, lag):
    """Return the values ``lag`` tokens before, row by row; zeros where there are none."""
    rows = pd.DataFrame(values, pd.MultiIndex.from_arrays([sequence, position]))
    before = rows.reindex(pd.MultiIndex.from_arrays([sequence, position - lag]))
    return before.fillna(0).to_numpy().reshape(np.shape(values)), before.index.isin(rows.index)


def fitted(table, effects=False, **options):
    """Return the fit of a design and the sums over its residuals."""
    lines = lines_of(table, effects)
    return lines, sums_of(table, lines, **options)


def robust_covariance(table, sums, effects):
    """Return the HAC covariances of the coefficients of each layer."""
    pairs = zip(regressed(moments_of(table), effects), residuals.robust_meat(sums), strict=True)
    return np.array([fit_layer(solve(layer), "hac", meat=meat).covariance for layer, meat in pairs])


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("lags", [0, 1, 6, 30])
def test_hac_errors_equal_those_of_statsmodels_with_rows_of_zeros_in_gaps(lags, effects):
    table = design(RAGGED, missing=0.2)
    # Besides rows that the layer drops, some that are not there at all.
    table = table.filter(np.random.default_rng(1).random(len(table)) > 0.1)
    _, sums = fitted(table, effects, hac_lags=lags)
    y, x, _, sequence, position, document = frame_of(table, 1, effects)
    # The covariance of the constant is that of regressors with their means.
    x = x if effects else columns_of(table, 1, ["log_frequency"])[1]
    every = pd.MultiIndex.from_product([np.unique(sequence), range(90)])
    rows = pd.DataFrame(np.column_stack([y, x]), [sequence, position]).reindex(every, fill_value=0)
    options = {"groups": every.get_level_values(0), "maxlags": lags, "use_correction": False}
    fit = sm.OLS(rows[0], rows.drop(columns=0)).fit(cov_type="hac-panel", cov_kwds=options)
    k = x.shape[1] + (len(np.unique(document)) if effects else 0)
    expected = len(y) / (len(y) - k) * fit.cov_params().to_numpy()
    assert_allclose(robust_covariance(table, sums, effects)[1], expected, rtol=1e-9, atol=1e-13)


def test_default_hac_lags_grow_with_rows_to_the_power_of_two_ninths():
    lags = [residuals.default_hac_lags(rows) for rows in (0, 16.5, 100, 250, 10_000)]
    assert lags == [0, 2, 4, 4, 11]


@pytest.mark.parametrize(
    ("documents", "missing", "effects"),
    [(RAGGED, 0.0, False), (RAGGED, 0.2, True), ([[1]] * 40, 0.0, False), ([[4]] * 40, 0.0, True)],
)
def test_diagnostics_do_not_cross_the_starts_of_sequences(documents, missing, effects):
    table = design(documents, missing=missing)
    lines, sums = fitted(table, effects)
    found = diagnostics.residual_tests(sums, lines)
    autocorrelation = diagnostics.autocorrelation(sums).set_index(["layer", "lag"])
    assert found["layer"].tolist() == [0, 1]
    for layer in range(2):
        _, x, e, sequence, position, _ = frame_of(table, layer, effects)
        row = found.iloc[layer]
        x = x if not effects else sm.add_constant(x)
        jb, jb_p, skewness, kurtosis = jarque_bera(e)
        bp, bp_p, *_ = het_breuschpagan(e, x)
        before, both = lagged(e, sequence, position, 1)
        expected = {
            "skewness": skewness,
            "kurtosis": kurtosis,
            "jarque_bera": jb,
            "jarque_bera_p_value": jb_p,
            "breusch_pagan": bp,
            "breusch_pagan_p_value": bp_p,
            "durbin_watson": ((e - before)[both] ** 2).sum() / (e @ e),
        }
        numbers = {name: row[name] for name in expected}
        assert numbers == pytest.approx(expected, rel=1e-9, nan_ok=True)
        for lag in (1, 2, 11, 20):
            before, both = lagged(e, sequence, position, lag)
            value = (e * before)[both].mean() / (e @ e / len(e)) if both.any() else np.nan
            found_at = autocorrelation.loc[(layer, lag), ["pairs", "autocorrelation"]]
            assert found_at.tolist() == pytest.approx([both.sum(), value], nan_ok=True)


def test_autocorrelations_of_one_sequence_equal_those_of_statsmodels():
    table = design(ONE, 1)
    _, sums = fitted(table)
    expected = acf(frame_of(table, 0, False)[2], adjusted=True, nlags=20)
    found = diagnostics.autocorrelation(sums)
    assert_allclose(found["autocorrelation"], expected[1:], rtol=1e-9)


@pytest.mark.parametrize("documents", [[[1], [1], [5]], RAGGED, [[3000], [2500]]])
def test_quantiles_equal_those_of_numpy(documents):
    table = design(documents, 1)
    lines, sums = fitted(table)
    e = frame_of(table, 0, False)[2]
    grid = np.linspace(0, 1, 41)
    inside = np.abs(np.quantile(e, grid)) < 10 * lines[0].sigma
    found = diagnostics.quantiles(sums, lines, grid)[0]
    error = np.abs(found - np.quantile(e, grid))
    assert error[inside].max() < 0.005 * lines[0].sigma
    assert_allclose(found[[0, -1]], [e.min(), e.max()], rtol=1e-9)
    if len(e) < 10:
        # Alone in its bin, a residual is put into the middle.
        assert error.max() < 0.00251 * lines[0].sigma
    table = diagnostics.residual_tests(sums, lines).iloc[0]
    assert table["residual_p05"] == diagnostics.quantiles(sums, lines, np.array([0.05]))[0, 0]


def test_residuals_beyond_the_grid_lie_between_its_end_and_the_extremes():
    table = design([[4000]], 1)
    (line,) = lines_of(table)
    lines = [line._replace(sigma=line.sigma / 40)]
    sums = sums_of(table, lines)
    e = frame_of(table, 0, False)[2]
    end = 10 * lines[0].sigma
    assert sums.histogram[0, [0, -1]].tolist() == [(e < -end).sum(), (e >= end).sum()]
    low, high = diagnostics.quantiles(sums, lines, np.array([0.01, 0.99]))[0]
    assert e.min() <= low < -end < end < high <= e.max()


@pytest.mark.parametrize("effects", [False, True])
def test_histograms_equal_those_of_numpy(effects):
    # The fitted value of a document of one row is the edge of a bin.
    table = design([windows for windows in RAGGED if windows != [1]], missing=0.1)
    _, sums = fitted(table, effects)
    y, x, e, *_, document = frame_of(table, 1, effects)
    k = x.shape[1] + (len(np.unique(document)) if effects else 0)
    residual = e / np.sqrt(e @ e / (len(e) - k))
    fits = y - e
    fits = (fits - fits.mean()) / fits.std()
    fine, coarse = (
        [-np.inf, *edges, np.inf] for edges in (residuals.RESIDUAL_EDGES, residuals.COARSE_EDGES)
    )
    expected, _ = np.histogram(residual, fine)
    assert_array_equal(sums.histogram[1], expected)
    expected, *_ = np.histogram2d(fits, residual, [coarse, coarse])
    assert_array_equal(sums.fitted_histogram[1], expected)
    assert (sums.smallest[1], sums.largest[1]) == pytest.approx((e.min(), e.max()))


@given(
    documents=st.lists(
        st.lists(st.integers(1, 30), min_size=1, max_size=3), min_size=1, max_size=8
    ),
    rows=st.integers(1, 80),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    effects=st.booleans(),
    hac_lags=st.integers(0, 25),
)
@settings(max_examples=15)
def test_shards_batches_threads_and_files_change_nothing(documents, rows, cuts, effects, hac_lags):
    if effects:
        # The residual of a document's only row is zero but for rounding: on the edge of two bins.
        documents = [[length + 1 for length in windows] for windows in documents]
    documents = [[40], [30, 8], *documents]
    table = design(documents, missing=0.0 if effects else 0.1)
    lines = lines_of(table, effects)
    whole = sums_of(table, lines, hac_lags)
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert_alike([sums_of(table, lines, hac_lags, rows)], [whole], **close)
    parts = pieces_of(table, *cuts)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "ROWS_AT_ONCE", rows)
        paths = [Path(folder, f"{shard}.parquet") for shard in range(len(parts))]
        for part, path in zip(parts, paths, strict=True):
            pq.write_table(part, path)
        found, again = (
            residuals.sums_of_shards(paths, lines, hac_lags, threads, ALONE) for threads in (1, 3)
        )
        again.write(paths[0], {})
        again = residuals.ResidualSums.read(paths[0])
    assert_alike([found], [whole], **close)
    assert_alike([again], [found])


def test_a_batch_is_let_go_before_the_next_is_read(monkeypatch, tmp_path):
    table, path = design(RAGGED), tmp_path / "design.parquet"
    lines = lines_of(table)
    pq.write_table(table, path)
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 40)
    made = one_alive(monkeypatch, tables, "_as_one")
    residuals.sums_of_shards([path], lines, 4, 1, ALONE)
    assert len(made) > 3


def test_an_error_in_one_shard_stops_the_reading_of_the_others(tmp_path):
    table = design(RAGGED)
    lines = lines_of(table)
    pq.write_table(table, tmp_path / "good.parquet")
    paths = [tmp_path / "missing.parquet", *[tmp_path / "good.parquet"] * 20]
    with pytest.raises(FileNotFoundError):
        residuals.sums_of_shards(paths, lines, 4, 2, ALONE)


@pytest.mark.parametrize("effects", [False, True])
def test_an_unfitted_layer_has_no_numbers_and_the_others_keep_theirs(effects, subtests):
    table = design(RAGGED, 3)
    _, alone = fitted(table, effects)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = changed(table, {"layer_01.y": np.full(len(table), 2.5)})
        lines, sums = fitted(flat, effects)
        numbers = diagnostics.residual_tests(sums, lines).drop(columns="layer").to_numpy()
        correlations = diagnostics.autocorrelation(sums)["autocorrelation"].to_numpy()
        covariance = robust_covariance(flat, sums, effects)
    assert sums.n.tolist() == [alone.n[0], 0, alone.n[2]]
    assert_array_equal(sums.powers[[0, 2]], alone.powers[[0, 2]])
    found = {"tests": numbers, "correlations": correlations, "covariance": covariance}
    for name, by_layer in found.items():
        with subtests.test(name=name):
            missing = np.isnan(by_layer.reshape(3, -1))
            assert missing.all(axis=1).tolist() == [False, True, False]
            if name != "correlations":
                assert missing.any(axis=1).tolist() == [False, True, False]


def test_a_perfect_fit_or_no_rows_give_no_warnings():
    table = design(RAGGED, 1)
    exact = changed(table, {"layer_00.y": 2 * table["layer_00.lag_1"].to_numpy()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (line,) = lines_of(exact)
        slopes, level = np.array([2.0, 0, 0]), 2 * line.means[1]
        lines = [line._replace(slopes=slopes, sigma=0, level=level)]
        sums = sums_of(exact, lines)
        assert diagnostics.residual_tests(sums, lines)["residual_p50"][0] == pytest.approx(
            0, abs=1e-12
        )
        empty = sums_of(exact.slice(0, 0), lines)
        assert diagnostics.residual_tests(empty, lines).drop(columns="layer").isna().all(axis=None)
    assert empty.n.tolist() == [0]
