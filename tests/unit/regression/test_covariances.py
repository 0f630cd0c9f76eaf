"""Clustered errors against matrices that are written out, the bootstrap against redrawn rows."""

import runpy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from designs import changed, design_table
from fits import columns_of, drawn, fits_of, fitted, layers_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import aht, cr2, cr2_scores, first_halves, half_panel, ols, with_effects
from projects import ROOT
from scipy import stats
from statsmodels.tsa.arima_process import arma_impulse_response

from attnlag.regression.covariances import CATALOGUE, label_of
from attnlag.regression.estimation import cr2 as cr2_module
from attnlag.regression.estimation import satterthwaite
from attnlag.regression.estimation.cr2 import ClusterScores
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.wald import NO_TEST
from attnlag.regression.inference import bootstrap, multiple_tests, response, results
from attnlag.regression.inference.equal_halves import equal_halves
from attnlag.regression.inference.layer_fit import SLOPES, contrast
from attnlag.regression.row_regression import regress_rows
from attnlag.regression.settings import BootstrapSettings

LENGTHS = [12, 30, 8, 21, 15, 40, 9, 26]


def test_cr2_of_the_half_panel_adds_up_the_scores_that_it_gives_each_regression():
    """Scores of the three regressions come from the leverages of all rows of a document."""
    table = design_table(LENGTHS, 1)
    (fit,) = fitted(table, halves=True, effects=True)
    y, x, codes = columns_of(table, 0)
    data = pd.DataFrame(np.column_stack([y, x[:, 1:]]))

    def scores_of(rows):
        own = data[rows] - data[rows].groupby(codes[rows]).transform("mean")
        return cr2_scores(own[0].to_numpy(), own[[1, 2]].to_numpy(), codes[rows])[0]

    scores = half_panel(scores_of, codes)
    assert_allclose(fit.covariance, scores.T @ scores, rtol=1e-9)


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("lengths", [[30, 12, 5, 25, 8, 14, 4, 9], [4, 2, 1, 3, 2, 1] + [150] * 4])
def test_cr2_and_its_degrees_of_freedom_equal_the_direct_formulas(effects, lengths, subtests):
    """With document effects there is a dummy for each. Small documents may hardly count."""
    table = design_table(lengths, 2, missing=0.1)
    layers = layers_of(table, rows=20, effects=effects)
    k = len(layers[0].names)
    both = np.eye(k)[-2:]
    joint = {"equal": both[:1] - both[1:], "both": both}
    for layer, fit in enumerate(fits_of(layers, hypotheses=joint)):
        y, x, codes = columns_of(table, layer)
        x = with_effects(x, codes) if effects else x
        wide = np.eye(k, x.shape[1])
        v, df = cr2(y, x, codes, [*wide, *(contrast @ wide for contrast in joint.values())])
        assert_allclose(fit.covariance, wide @ v @ wide.T, rtol=1e-10, atol=1e-14)
        assert_allclose(fit.df, df[:k], rtol=1e-10)
        for (name, rows), eta in zip(joint.items(), df[k:], strict=True):
            with subtests.test(layer=layer, hypothesis=name):
                test = fit.errors.tests[name]
                # That of a single contrast is a t test.
                expected = aht(fit.estimate, fit.covariance, rows, eta)
                found = test.statistic, test.df, test.df_residual, test.p_value
                assert found == pytest.approx(expected, rel=1e-9)
        if effects:
            assert fit.errors.tests[SLOPES].statistic == pytest.approx(
                fit.errors.tests["both"].statistic
            )
        # Documents count by what they tell of the first slope.
        told = pd.Series((x @ np.linalg.inv(x.T @ x)[1 - effects]) ** 2).groupby(codes).sum()
        effective = len(told) / (1 + told.var(ddof=0) / told.mean() ** 2)
        assert fit.goodness["effective_documents"] == pytest.approx(effective, rel=1e-9)


@pytest.mark.parametrize("effects", [False, True])
def test_the_interval_of_a_contrast_is_that_of_the_direct_formulas(effects):
    table = design_table(LENGTHS, 1)
    (moments,) = layers_of(table, effects=effects)
    y, x, codes = columns_of(table, 0)
    x = with_effects(x, codes) if effects else x
    k = moments.k
    c = np.zeros((2, k))
    c[0, -2:] = 1
    c[1, -2:] = [1, -2]
    wide = c @ np.eye(k, x.shape[1])
    v, df = cr2(y, x, codes, [*wide])
    found = contrast(solve(moments), c)
    assert_allclose(found.value, wide @ ols(y, x), rtol=1e-9)
    low, high = found.interval(0.1)
    margin = stats.t.ppf(0.95, df) * np.sqrt(np.diag(wide @ v @ wide.T))
    assert_allclose(low, found.value - margin, rtol=1e-9)
    assert_allclose(high, found.value + margin, rtol=1e-9)
    assert_allclose(found.p_value, 2 * stats.t.sf(np.abs(found.statistic), df), rtol=1e-9)


def test_a_mean_is_the_case_of_one_constant_regressor():
    """Clusters of equal size give the error of the mean of their means, with G - 1."""
    random = np.random.default_rng(0)
    values = random.normal(size=(9, 5)) + random.normal(size=(9, 1))
    cluster = np.repeat(np.arange(9), 5)
    fit = regress_rows(np.ones((1, 45)), values.ravel(), cluster)
    expected = stats.ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.95)
    low, high = fit.coefficients.interval(0.05)
    assert_allclose([low[0], high[0]], [expected.low, expected.high], rtol=1e-10)


def test_an_estimate_that_one_document_determines_alone_has_no_error():
    """The other estimate has its own, which does not depend on that document."""
    table, own = design_table([20] * 8, 1), np.repeat(np.arange(8) == 3, 20)
    lags = [table[f"layer_00.lag_{lag}"].to_numpy() for lag in (1, 2)]
    told = {"layer_00.lag_1": np.where(own, 1, lags[0]), "layer_00.lag_2": lags[1] * own}
    (fit,) = fitted(changed(table, told), effects=True)
    assert np.isfinite(fit.estimate).all()
    y, x, codes = columns_of(table.filter(~own), 0)
    v, (df,) = cr2(y, with_effects(x[:, :2], codes), codes, [np.eye(8)[0]])
    assert_allclose(fit.df, [df, np.nan])
    assert_allclose(fit.covariance, [[v[0, 0], np.nan], [np.nan, np.nan]])


def clusters_errors(x, y, codes, contrasts, hypotheses):
    """Return CR2 errors of combinations of coefficients, from the leverages of clusters."""
    a = np.stack([x[codes == code].T @ x[codes == code] for code in np.unique(codes)])
    b = np.stack([x[codes == code].T @ y[codes == code] for code in np.unique(codes)])
    whiten = np.linalg.inv(np.linalg.cholesky(a.sum(axis=0))).T
    scores = (b - a @ ols(y, x)) @ whiten
    h, identity = whiten.T @ a @ whiten, np.eye(len(whiten))
    blocks = [
        [ClusterScores(h[block], scores[block, None], identity)]
        for block in (slice(0, 5), slice(5, None))
    ]
    estimate = contrasts @ ols(y, x)
    return cr2_module.cr2(blocks, len(a), contrasts @ whiten, estimate, hypotheses)


@pytest.mark.parametrize("less_than_one", [0.5, 1e-3, 1e-6, 1e-8, 3e-9])
def test_degrees_of_freedom_equal_the_direct_ones_at_leverages_near_one(less_than_one):
    """Two documents have nearly all that there is of a regressor each."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), 5)
    x, y = random.normal(size=(60, 3)), random.normal(size=60)
    for column, document in enumerate((0, 7)):
        own = codes == document
        rest = (x[~own, column] ** 2).sum() / (x[own, column] ** 2).sum()
        x[~own, column] *= np.sqrt(less_than_one / (1 - less_than_one) / rest)
    contrasts = np.array([[1, 0, 0], [0, 1, 0], [1, 1, -1]])
    both = np.eye(3)[:2]
    found = clusters_errors(x, y, codes, contrasts, [both])
    v, (*df, eta) = cr2(y, x, codes, [*contrasts, both @ contrasts])
    assert_allclose(found.df, df, rtol=1e-5)
    assert found.tests[0].df_residual + 1 == pytest.approx(eta, rel=1e-5)
    assert_allclose(found.covariance, contrasts @ v @ contrasts.T, rtol=1e-5)


def test_a_hypothesis_without_contrasts_has_no_test():
    """Where all classes are merged into one, no slopes are compared."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), 5)
    x, y = random.normal(size=(60, 3)), random.normal(size=60)
    found = clusters_errors(x, y, codes, np.eye(3), [np.empty((0, 3)), np.eye(3)[:2]])
    without = clusters_errors(x, y, codes, np.eye(3), [np.eye(3)[:2]])
    assert np.isnan(found.tests[0].p_value)
    assert found.tests[1] == without.tests[0]
    assert_array_equal(found.df, without.df)


@pytest.mark.parametrize("leverage", [0.01, 0.25, 0.5, 0.9])
def test_a_joint_test_of_too_many_terms_leaves_out_pairs_of_different_documents(
    leverage, monkeypatch
):
    """They add little, also if one document dominates."""
    monkeypatch.setattr(satterthwaite, "MAX_PRODUCTS", 0)
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(200), 5)
    x, y = random.normal(size=(1000, 3)), random.normal(size=1000)
    x[:5] *= np.sqrt(leverage / (1 - leverage) * 199)
    both = np.eye(3)[:2]
    found = clusters_errors(x, y, codes, np.eye(3), [both])
    _, (eta,) = cr2(y, x, codes, [both])
    assert found.tests[0].df_residual + 1 == pytest.approx(eta, rel=0.03)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_degrees_of_freedom_do_not_depend_on_the_unit_of_a_regressor(unit):
    y, clusters = np.arange(20) % 7.0, np.arange(20) % 5
    one, other = (regress_rows(np.full((1, 20), value), y, clusters) for value in (1.0, unit))
    assert_allclose(other.coefficients.df, one.coefficients.df, rtol=1e-6)


def test_the_root_for_small_leverages_is_precise_to_rounding():
    leverages = np.full((1, 2, 2), 0.49 * cr2_module.SMALL)
    (root,) = cr2_module.inverse_root(leverages)
    assert_allclose(root @ root @ (np.eye(2) - leverages[0]), np.eye(2), atol=1e-15)


def test_repeated_documents_have_no_joint_test_of_more_than_they_tell():
    """Two texts, each four times, give a covariance of rank 1 to their pooled coefficients."""
    table = design_table([20, 20] * 4, 1)
    columns = {name: np.tile(table[name].to_numpy()[:40], 4) for name in table.column_names[1:]}
    layers = layers_of(changed(table, columns))
    (fit,) = fits_of(
        layers, "cluster-crv1", hypotheses={"both": np.eye(3)[1:], "one": np.eye(3)[1:2]}
    )
    assert fit.reason is None
    both, one, slopes = (fit.errors.tests[name] for name in ("both", "one", SLOPES))
    assert np.isnan([both.statistic, both.p_value, slopes.statistic]).all()
    assert np.isfinite([one.statistic, one.p_value]).all()


def regressors(table, layer):
    """Return y, X and documents of the two halves side by side, each without its means."""
    y, x, codes = columns_of(table, layer, ["position_1"])
    first, own = first_halves(codes), pd.DataFrame(np.column_stack([y, x[:, 1:]]))
    own -= own.groupby([codes, first]).transform("mean")
    x = np.hstack([own.mul(half, axis=0).iloc[:, 1:] for half in (first, ~first)])
    # A half that tells nothing of a covariate has only its lags.
    return own[0].to_numpy(), x[:, x.any(axis=0)], codes


def test_the_test_of_equal_halves_equals_that_of_matrices_written_out():
    """The covariate varies in the first half of every document alone."""
    table = design_table(LENGTHS, layers=2)
    early = np.concatenate([np.maximum(n // 4 - np.arange(n), 0.0) for n in LENGTHS])
    table = changed(table, {"position_1": early})
    layers = layers_of(table, halves=True, effects=True)
    for layer, moments in enumerate(layers):
        test, (y, x, codes) = equal_halves(solve(moments)), regressors(table, layer)
        k = x.shape[1]
        contrast = np.zeros((2, k))
        contrast[:, :2], contrast[:, k - 2 :] = np.eye(2), -np.eye(2)
        covariance, (eta,) = cr2(y, x, codes, [contrast])
        found = test.statistic, test.df, test.df_residual, test.p_value
        assert found == pytest.approx(aht(ols(y, x), covariance, contrast, eta), rel=1e-8)
    fits = fits_of(layers, draws=())
    table = results.fits_table(fits, [0, 0], pd.DataFrame(index=[0, 1]), {}, "holm")
    corrected = multiple_tests.adjusted_p_values(table["halves_p_value"], "holm")
    assert_array_equal(table["halves_p_adjusted"], corrected)


def test_without_halves_or_with_few_documents_no_halves_are_tested(subtests):
    for lengths, apart in ((LENGTHS, False), (LENGTHS[:5], True)):
        with subtests.test(apart=apart):
            layers = layers_of(design_table(lengths), halves=apart, effects=True)
            tests = [equal_halves(solve(layer)) for layer in layers]
            assert tests == [NO_TEST] * 2


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_covariance_is_documented(name):
    assert f"\n| `{name}`" in (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "entry"), CATALOGUE.items())
def test_labels_name_the_unit_of_clustering(name, entry):
    by_document, by_group = label_of(name), label_of(f"{name}-group")
    assert (by_document != by_group) == entry.clustered
    assert by_group == by_document.replace("by document", "by group of documents")


@pytest.mark.parametrize(
    ("estimator", "documents"), [("half-panel", 20), ("half-panel", 60), ("pooled", 60)]
)
def test_intervals_by_default_cover_at_their_level(estimator, documents):
    """The tables of benchmarks/evidence.md are longer simulations, of the same program."""
    simulation = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks/coverage.py")))
    rows = simulation.rows_of(documents, 100, "equal")
    terms = simulation.simulated(rows, 400, np.random.default_rng(0))
    layers = simulation.layers_of(simulation.products_of(rows, *terms), estimator)
    of_rows = ["nonrobust"] * (estimator == "pooled")
    covered = {
        name: simulation.covers(numbers, simulation.ESTIMATORS[estimator]).mean()
        for name, numbers in simulation.fitted(layers, ["CR2", *of_rows]).items()
    }
    # Three standard errors of a share of 400 are 0.03.
    assert 0.91 <= covered.pop("CR2") <= 0.98
    assert all(share < 0.6 for share in covered.values())


SEVEN = [30, 12, 25, 8, 14, 40, 9]


@given(
    documents=st.integers(1, 9),
    draws=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    block=st.integers(1, 100),
)
def test_weights_count_the_documents_of_each_draw_in_any_block(documents, draws, seed, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "NUMBERS_AT_ONCE", block)
        blocks = list(bootstrap.weights_of_draws(documents, draws, seed))
    assert all(part.size <= max(block, documents) for part in blocks)
    weights = np.concatenate(blocks)
    # By the generator that the draws are seeded with.
    taken = np.random.default_rng(seed).integers(documents, size=(draws, documents))
    expected = [np.bincount(one, minlength=documents) for one in taken]
    assert_array_equal(weights, expected)


@pytest.mark.parametrize("mean", [1.0, 1000.0])
@pytest.mark.parametrize("effects", [False, True])
def test_draws_equal_fits_to_the_redrawn_rows(mean, effects, monkeypatch):
    # Three blocks of two draws.
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 14)
    table = design_table(SEVEN, 2, mean=mean, missing=0.1)
    found = drawn(layers_of(table, effects=effects), 6, 3)
    codes = table["document"].to_pandas().cat.codes
    for draw, weight in enumerate(np.concatenate(list(bootstrap.weights_of_draws(7, 6, 3)))):
        # A document that is drawn twice is there twice.
        rows = table.take(np.repeat(np.arange(len(table)), weight.astype(int)[codes]))
        oracle = fitted(rows, "nonrobust", effects=effects)
        assert_allclose(found[draw], [fit.estimate for fit in oracle])


def test_a_draw_that_cannot_be_fitted_has_no_estimates():
    table = changed(design_table([20] * 7, 1), {"layer_00.lag_2": np.repeat(np.eye(7)[3], 20)})
    layers = layers_of(table)
    found = drawn(layers, 40, 0)
    weights = np.concatenate(list(bootstrap.weights_of_draws(7, 40, 0)))
    assert (np.isnan(found[:, 0, 1]) == (weights[:, 3] == 0)).all()


def test_the_median_over_fitted_layers_has_an_interval_that_contains_both_of_its_draws(subtests):
    table = design_table(SEVEN, 6)
    layers = layers_of(changed(table, {"layer_05.y": np.full(len(table), 2.5)}))
    fits = fits_of(layers)
    draws = drawn(layers, 60, 0)
    # A draw that some layer could not be fitted in does not count.
    draws[7, 3] = np.nan
    found = bootstrap.medians_over_layers(fits, draws, 0.2).set_index("term")
    # Quantiles of draws do not allow for few clusters, Student's distribution does.
    rows = table["document"].to_pandas().value_counts()
    effective = rows.sum() ** 2 / (rows**2).sum()
    factor = stats.t.ppf(0.9, effective - 1) / stats.norm.ppf(0.9)
    assert factor > 1.1
    for place, term in enumerate(["intercept", "lag_1", "lag_2"]):
        with subtests.test(term=term):
            estimates = sorted(fit.estimate[place] for fit in fits[:5])
            medians = np.sort(np.median(np.delete(draws, 7, axis=0)[:, :5, place], axis=1))
            # The 10th and 90th percentiles of 59 draws are at places 5.8 and 52.2, counted from 0.
            low = medians[5] + 0.8 * (medians[6] - medians[5])
            high = medians[52] + 0.2 * (medians[53] - medians[52])
            # The union of the percentile interval and the basic one, its reflection.
            margin = factor * max(estimates[2] - low, high - estimates[2])
            expected = {
                "median": estimates[2],
                "std_error": medians.std(ddof=1),
                "conf_low": estimates[2] - margin,
                "conf_high": estimates[2] + margin,
                "level": 0.8,
                "lowest": estimates[0],
                "highest": estimates[4],
                "draws": 59,
                "clusters": 7,
            }
            assert found.loc[term].to_dict() == pytest.approx(expected, rel=1e-12)
    # So has the response two tokens later, which is not that of the median coefficients.
    drawn_lags = np.delete(draws, 7, axis=0)[:, :5, 1:]
    after_two = np.median(drawn_lags[..., 0] ** 2 + drawn_lags[..., 1], axis=1)
    median = np.median([fit.estimate[1] ** 2 + fit.estimate[2] for fit in fits[:5]])
    low, high = np.quantile(after_two, [0.1, 0.9])
    margin = factor * max(median - low, high - median)
    row = found.loc["response_2", ["median", "conf_low", "conf_high"]]
    assert_allclose(row.astype(float), [median, median - margin, median + margin])
    unknown = ["std_error", "conf_low", "conf_high"]
    found = bootstrap.medians_over_layers(fits, drawn(layers, 0, 0), 0.2)
    assert found.columns[found.isna().any()].tolist() == unknown
    # No layer is fitted, and no draw is used.
    found = bootstrap.medians_over_layers(fits[5:], draws[:, 5:], 0.2)
    assert found[["median", *unknown, "lowest", "highest"]].isna().all(axis=None)
    assert (found["draws"] == 0).all()


@pytest.mark.parametrize("lags", [[1], [2], [1, 2], [1, 3, 12]])
def test_responses_are_those_of_the_autoregression(lags):
    names = ["intercept", *(f"lag_{lag}" for lag in lags), "position_1"]
    estimates = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 3, len(names)))
    found = response.responses(names, estimates)
    assert found.shape == (2, 3, 10)
    for place in np.ndindex(2, 3):
        polynomial = np.zeros(1 + max(lags))
        polynomial[0] = 1
        polynomial[lags] = -estimates[place][1:-1]
        oracle = arma_impulse_response(polynomial, [1], leads=11)
        assert_allclose(found[place], oracle[1:], atol=1e-15)
    assert response.response_terms(names) == [f"response_{tokens}" for tokens in range(1, 11)]


@pytest.mark.parametrize("names", [["intercept", "position_1"], ["lag_1", "lead_1"]])
def test_there_is_no_response_without_lags_or_with_leads(names):
    assert response.response_terms(names) == []
    assert response.responses(names, np.ones((4, 2))).shape == (4, 0)


def test_the_seed_hardly_moves_intervals_that_hold_for_many_subsets():
    """At the level of 13 groups, margins of 0.15 differ by less than 0.003 between seeds."""
    random = np.random.default_rng(0)
    estimates = 0.2 + 0.1 * random.normal(size=(30, 1))
    shared = random.normal(size=(10, 1, 1))
    rows = np.full(10, 200)
    influence = 0.015 * (shared + random.normal(size=(10, 30, 1)))
    margins = [
        bootstrap.joint_margin(estimates, influence, rows, 0.05 / 13, seed)[0] for seed in range(5)
    ]
    assert 0.1 < min(margins) < 0.2
    assert max(margins) - min(margins) < 0.003


def test_medians_of_the_jackknife_vary_as_it_does(subtests):
    """With one layer, intervals of the median are those of CRV3, at any level."""
    layers = layers_of(design_table(SEVEN, 1))
    fits = fits_of(layers, "cluster-jackknife")
    rows = fits[0].left_out.n_obs
    effective = rows.sum() ** 2 / (rows**2).sum()
    errors = np.sqrt(np.diag(fits[0].covariance))[1:]
    for alpha in (0.05, 0.4):
        with subtests.test(alpha=alpha):
            settings = BootstrapSettings(alpha=2 * alpha, bootstrap=20_000)
            found = bootstrap.medians_of_jackknife(fits, settings, subsets=2)
            assert found.index.tolist() == ["lag_1", "lag_2"]
            reach = (found["median_high"] - found["median_low"]) / 2
            assert_allclose(found["median"], fits[0].estimate[1:])
            times = stats.t.ppf(1 - alpha / 2, effective - 1)
            assert_allclose(reach / errors, times, rtol=0.03)
    few = fits_of(layers_of(design_table(SEVEN[:5], 1)), "nonrobust", jackknifed=True)
    for without_interval, draws in ((fits, 0), (few, 99)):
        with subtests.test(draws=draws):
            settings = BootstrapSettings(bootstrap=draws)
            found = bootstrap.medians_of_jackknife(without_interval, settings)
            assert found.isna().any().tolist() == [False, True, True]
