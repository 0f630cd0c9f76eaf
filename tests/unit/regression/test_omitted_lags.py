"""The test of omitted lags against plain loops, and what it says of autoregressions."""

import numpy as np
import pytest
from designs import batches_of, corpus_of, design_of, design_settings, norms_table, pieces_of
from fits import fitted as fits_of_table
from fits import moments_of, regressed
from numpy.testing import assert_allclose
from scipy import stats

from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import diagnostics
from attnlag.regression.residuals import residuals
from attnlag.regression.residuals.omitted_lags import (
    CompleteRows,
    omitted_lags,
    shortest_omitted,
    sum_scores,
)
from attnlag.regression.settings import Errors

LENGTHS = [40, 25, 33, 14, 90, 12, 61, 28, 37]


def omitted_tests(table, omitted, effects, rows=10**6):
    """Return the sums over residuals, and the tests of the omitted lags, of a design."""
    lines = [residuals.fitted_line(solve(layer)) for layer in regressed(moments_of(table), effects)]
    sums = residuals.sum_residuals(batches_of(table, rows), lines, 0, omitted=omitted)
    return sums, diagnostics.omitted_terms_table(sums, Errors())


def without_level(values, weights_of):
    """Return values less a mean of others, row by row, scaled to the variance of white noise."""
    result = np.zeros_like(values)
    for row in range(len(values)):
        others = values[weights_of(row)]
        if len(others):
            scale = np.sqrt(len(others) / (len(others) + 1))
            result[row] = scale * (values[row] - others.mean(axis=0))
    return result


def literal_test(frame, lags, omitted, level, slopes, effects, squared=False):
    """Return F, the sum of the omitted coefficients and its error, by loops over documents.

    If ``squared``, the square of the nearest lag takes the place of the omitted ones.
    """
    q, scores, sizes, products = len(omitted), [], [], 0.0
    nearest = f"lag_{min(lags)}"
    mean = frame[nearest].mean()
    if squared:
        q = 1
    for _, rows in frame.groupby("document", sort=False):
        x, lagged = rows[[f"lag_{lag}" for lag in lags]].to_numpy(), {}
        # The lags of the first rows are those of the design.
        for lag in omitted:
            base = max([0, *(shorter for shorter in lags if shorter < lag)])
            column = "y" if base == 0 else f"lag_{base}"
            earlier = rows.set_index("position")[column]
            lagged[lag] = earlier.reindex(rows["position"] - (lag - base)).to_numpy()
        w = np.column_stack([x, *lagged.values()])
        e = rows["y"].to_numpy() - level - x @ slopes
        kept = ~np.isnan(w).any(axis=1)
        if squared:
            w = np.column_stack([x, (rows[nearest].to_numpy() - mean) ** 2])
        w, e = w[kept], e[kept]
        if effects:
            instruments = without_level(w, lambda row: slice(0, row))
            w, e = (without_level(each, lambda row: slice(row + 1, None)) for each in (w, e))
        else:
            w = np.column_stack([np.ones(len(w)), w])
            instruments = w
        products = products + instruments.T @ w
        if len(e) > effects:
            scores.append(instruments.T @ e)
            sizes.append(len(e))
    scores, sizes, k = np.array(scores), np.array(sizes), products.shape[0] - q
    projection = products[k:, :k] @ np.linalg.inv(products[:k, :k])
    scores = scores[:, k:] - scores[:, :k] @ projection.T
    total, g = scores.sum(axis=0), len(scores)
    t = total @ np.linalg.solve(scores.T @ scores, total)
    inverse = np.linalg.inv(products[k:, k:] - projection @ products[:k, k:])
    shares = sizes / sizes.sum()
    apart = (scores - shares[:, None] * total) @ inverse.T
    error = np.sqrt((apart.sum(axis=1) ** 2).sum() / (1 - shares @ shares))
    return (g - q) / q * t / (g - t), (inverse @ total).sum(), error, 1 / (shares @ shares) - 1


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("lags", [[1, 2], [2], [1, 5]])
def test_the_test_equals_plain_loops_over_documents(lags, effects):
    random = np.random.default_rng(4)
    logs = random.normal(size=sum(LENGTHS)) + np.repeat(random.normal(size=9), LENGTHS)
    lengths = {(f"d{place}", 0): size for place, size in enumerate(LENGTHS)}
    table = design_of(norms_table(lengths, np.exp([logs])), design_settings(lags=lags))
    omitted = omitted_lags([f"lag_{lag}" for lag in lags], len(LENGTHS))
    _, found = omitted_tests(table, omitted, effects)
    assert len(omitted) == 3

    frame = table.to_pandas().rename(columns=lambda name: name.removeprefix("layer_00."))
    estimate = fits_of_table(table, effects=effects)[0].estimate
    level, slopes = (0.0, estimate) if effects else (estimate[0], estimate[1:])
    literal = (frame, lags, omitted, level, slopes, effects)
    f, curvature, error, df = literal_test(*literal, squared=True)
    margin = stats.t.ppf(0.975, df) * error
    row = found.iloc[0]
    assert row["curvature"] == pytest.approx(curvature, rel=1e-8)
    assert row["curvature_high"] - row["curvature"] == pytest.approx(margin, rel=1e-8)
    assert row["curvature_p_value"] == pytest.approx(stats.f.sf(f, 1, len(LENGTHS) - 1))
    f, total, error, df = literal_test(*literal)
    margin = stats.t.ppf(0.975, df) * error
    assert row["omitted_df"] == 3
    assert row["omitted_f"] == pytest.approx(f, rel=1e-8)
    assert row["omitted_p_value"] == pytest.approx(stats.f.sf(f, 3, row["omitted_df_residual"]))
    assert row["omitted_sum_high"] - row["omitted_sum"] == pytest.approx(margin, rel=1e-8)
    assert row["omitted_sum"] == pytest.approx(total, rel=1e-8)


def test_two_lags_are_enough_for_an_autoregression_of_two_and_too_few_for_one_of_three(subtests):
    """Short documents have Nickell's bias: their residuals are autocorrelated, within documents."""
    found = {}
    for name, third in (("two", 0.0), ("three", 0.2)):
        with subtests.test(name=name):
            random = np.random.default_rng(2)
            logs = random.normal(size=(20, 300, 42))
            for t in range(3, 42):
                logs[..., t] += 0.22 * logs[..., t - 1] + 0.05 * logs[..., t - 2]
                logs[..., t] += third * logs[..., t - 3]
            logs += random.normal(size=(20, 300, 1))
            lengths = {(f"d{place}", 0): 42 for place in range(300)}
            table = design_of(
                norms_table(lengths, np.exp(logs).reshape(20, -1)), design_settings([1, 2])
            )
            sums, found[name] = omitted_tests(table, list(range(3, 11)), effects=True)
            correlations = diagnostics.autocorrelation(sums).query("3 <= lag <= 10")
            by_layer = correlations.groupby("layer")["autocorrelation"].sum()
            if name == "two":
                # What a test of residuals about the means of documents would find.
                assert (by_layer < -0.1).all()
    assert (found["two"]["omitted_p_value"] < 0.05).sum() <= 3
    assert found["two"]["omitted_sum"].mean() == pytest.approx(0, abs=0.02)
    inside = found["three"]["omitted_sum_low"] < 0.2, found["three"]["omitted_sum_high"] > 0.2
    assert np.logical_and(*inside).sum() >= 16
    assert (found["three"]["omitted_p_value"] < 1e-4).all()


@pytest.mark.parametrize("bend", [0.0, 0.1])
def test_a_straight_line_is_told_from_a_bent_one_in_short_documents(bend):
    """A lag is not strictly exogenous: about means of documents, skewness would bend any line."""
    random = np.random.default_rng(5)
    skewed = random.exponential(size=(20, 300, 42)) - 1
    normal = random.normal(size=(20, 300, 42))
    logs = normal if bend else skewed
    for t in range(1, 42):
        before = logs[..., t - 1]
        logs[..., t] += 0.22 * before + bend * before**2
    logs += random.normal(size=(20, 300, 1)) / 10
    lengths = {(f"d{place}", 0): 42 for place in range(300)}
    table = design_of(norms_table(lengths, np.exp(logs).reshape(20, -1)), design_settings([1, 2]))
    _, found = omitted_tests(table, list(range(3, 11)), effects=True)
    if bend:
        # The square loses the overall mean, which moves the line but not its curvature.
        inside = found["curvature_low"] < bend, bend < found["curvature_high"]
        assert np.logical_and(*inside).sum() >= 17
        assert (found["curvature_p_value"] < 1e-4).all()
    else:
        assert (found["curvature_p_value"] < 0.05).sum() <= 3
        error = found["curvature"].std() / 20**0.5
        assert abs(found["curvature"].mean()) < 2 * error
        assert (found["curvature_share"] < 0.002).all()


def test_the_share_of_the_square_is_the_residual_variance_that_it_takes_away():
    table = design_of(corpus_of(level=0.0, documents=40), design_settings([1, 2]))
    _, found = omitted_tests(table, [3], effects=False)
    frame = table.to_pandas()
    # The test is on rows whose lag 3 exists: all but the first of a document.
    lags = frame[["layer_00.lag_1", "layer_00.lag_2"]].to_numpy()
    line = fits_of_table(table)[0].estimate
    residual = frame["layer_00.y"].to_numpy() - line[0] - lags @ line[1:]
    square = (lags[:, 0] - lags[:, 0].mean()) ** 2
    rows = frame["document"].duplicated().to_numpy()
    design = np.column_stack([np.ones(rows.sum()), lags[rows]])
    with_square = np.column_stack([design, square[rows]])
    left = [
        np.linalg.lstsq(columns, residual[rows], rcond=None)[1][0]
        for columns in (design, with_square)
    ]
    share = (left[0] - left[1]) / (residual**2).sum()
    assert found["curvature_share"].iloc[0] == pytest.approx(share, rel=1e-6)


def test_further_lags_are_the_shortest_that_are_omitted_and_a_third_of_the_documents():
    assert omitted_lags(["lag_1", "lag_2", "position_1"], 128) == list(range(3, 11))
    assert omitted_lags(["lag_1", "lag_4"], 13) == [2, 3, 5, 6]
    assert omitted_lags([f"lag_{lag}" for lag in range(1, 21)], 128) == list(range(21, 29))
    assert shortest_omitted(["lag_2"], 3) == [1, 3, 4]
    # Nothing is tested in few documents, nor beside later tokens.
    assert omitted_lags(["lag_1"], 5) == omitted_lags(["lag_1", "lead_1"], 128) == []


@pytest.mark.parametrize("effects", [False, True])
def test_the_sums_do_not_depend_on_batches_or_on_the_scale_of_norms(effects):
    table = design_of(corpus_of(level=1.0, documents=12), design_settings([1, 2]))
    sums, found = omitted_tests(table, [3, 4, 5], effects)
    total, parts = None, pieces_of(table, "d3", "d7")
    lines = [residuals.fitted_line(solve(layer)) for layer in regressed(moments_of(table), effects)]
    for part in parts:
        own = residuals.sum_residuals(batches_of(part, 10), lines, 0, omitted=[3, 4, 5])
        total = own if total is None else total + own
    again = diagnostics.omitted_terms_table(total, Errors())
    assert_allclose(again.to_numpy(float), found.to_numpy(float), rtol=1e-9)
    assert sums.omitted == [3, 4, 5]


def test_nothing_is_tested_without_further_lags_or_with_as_many_as_documents(subtests):
    table = design_of(corpus_of(documents=4), design_settings([1, 2]))
    for omitted in ([], [3, 4, 5, 6]):
        with subtests.test(omitted=omitted):
            _, found = omitted_tests(table, omitted, effects=True)
            assert (
                found[["omitted_f", "omitted_p_value", "omitted_sum", "omitted_sum_low"]]
                .isna()
                .all(axis=None)
            )
            assert (found["omitted_df"] == 0).all()
            assert found.filter(like="curvature").isna().all(axis=None) == (not omitted)


@pytest.mark.parametrize(("effects", "counted"), [(True, 2), (False, 3)])
def test_within_documents_one_with_a_single_row_says_nothing(effects, counted):
    sizes = np.array([2, 3, 1])
    starts = np.array([0, 2, 5])
    earlier = np.array([0.0, 1, 0, 1, 2, 0])
    later = np.array([1.0, 0, 2, 1, 0, 0])
    rows = CompleteRows(np.empty((0, 6), int), [], starts, sizes, earlier, later)
    random = np.random.default_rng(0)
    sums = sum_scores(
        random.normal(size=(2, 6)),
        random.normal(size=6),
        np.array([True, True]),
        rows,
        fixed_effects=effects,
    )
    assert sums.omitted_documents == counted
