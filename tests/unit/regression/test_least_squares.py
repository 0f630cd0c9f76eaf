"""Estimates and inference against statsmodels, on the same rows."""

import dataclasses
import warnings
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
import torch
from designs import changed, corpus_of, design_of, design_settings, design_table, norms_table
from fits import columns_of, fits_of, fitted, layers_of
from models import LLAMA, measured, ragged
from numpy.testing import assert_allclose, assert_array_equal
from oracles import clustered, dummies_of, half_panel, jackknifed, multipletests, ols
from scipy import stats
from transformers import AutoConfig, AutoModel

from attnlag.regression import labels
from attnlag.regression.estimation import normal_equations
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import layer_fit, multiple_tests, results
from attnlag.regression.inference.layer_fit import SLOPES
from attnlag.regression.settings import Errors
from attnlag.storage import tables

LENGTHS = {
    "one document": [60],
    "five": [30, 8, 12, 7, 9],
    "ragged": [40, 3, 1, 25, 12, 7, 55, 2],
    "many": np.random.default_rng(5).integers(1, 40, 80).tolist(),
}
METHODS = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}
SEVEN = [30, 12, 25, 8, 14, 40, 9]
# The codes of documents count them in this order.
GENRES = {f"d{i}": f"genre {i % 8}" for i in range(80)}


def assert_goodness(fit, rel=1e-9, **expected):
    found = {name: fit.goodness[name] for name in expected}
    assert found == pytest.approx(expected, rel=rel, abs=rel)


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("unit", ["", "document", "group"])
def test_estimates_errors_and_fits_equal_those_of_statsmodels(lengths, effects, unit):
    """Effects of documents are a dummy for each, also if groups of documents are the clusters."""
    table = design_table(lengths, 2, mean=50.0, missing=0.15)
    covariance = "cluster-crv1" if unit else "nonrobust"
    group_of = GENRES if unit == "group" else None
    # The centre of the shard is the mean of its first rows, and not of all.
    fits = fitted(table, covariance, rows=20, effects=effects, group_of=group_of)
    if unit and len(lengths) < 6:
        said = f"{len(lengths)} {unit}{'s' * (len(lengths) > 1)}: too few to cluster by"
        assert [labels.status(fit.reason) for fit in fits] == [said] * 2
        return
    errors = Errors(covariance=covariance, alpha=0.1, adjust="benjamini-hochberg")
    tidy = layer_fit.coefficients_table(fits, errors)
    for _, of_layers in tidy.groupby("term"):
        corrected = multiple_tests.adjusted_p_values(of_layers["p_value"], errors.adjust)
        assert_array_equal(of_layers["p_adjusted"], corrected)
    for layer, fit in enumerate(fits):
        y, x, codes = columns_of(table, layer)
        levels = dummies_of(codes if effects else 0 * codes)
        means, x = sm.OLS(y, levels).fit(), np.hstack([x[:, 1:], levels])
        clusters = codes % 8 if unit == "group" else codes
        oracle = sm.OLS(y, x).fit(**(clustered(clusters) if unit else {}))
        # The intercept is last here.
        order = [0, 1] if effects else [2, 0, 1]
        # Effects of documents are nested in the clusters: they do not count as terms.
        factor = (len(y) - x.shape[1]) / (len(y) - 3) if unit and effects else 1.0
        v, estimate = factor * oracle.cov_params()[np.ix_(order, order)], oracle.params[order]
        error, rows = np.sqrt(np.diag(v)), tidy[tidy["layer"] == layer]
        df = len(np.unique(clusters)) - 1 if unit else oracle.df_resid
        assert (rows["df"] == df).all()
        low, high = stats.t(df, estimate, error).interval(0.9)
        found = rows[["estimate", "std_error", "statistic", "conf_low", "conf_high"]]
        numbers = estimate, error, estimate / error, low, high
        assert_allclose(found.T, numbers, rtol=1e-8, atol=1e-12)
        p_values = 2 * stats.t.sf(np.abs(estimate / error), df)
        assert_allclose(rows["p_value"], p_values, rtol=1e-7, atol=1e-300)
        assert_allclose(fit.covariance, v, rtol=1e-8, atol=1e-13)
        assert_goodness(
            fit,
            r_squared=1 - oracle.ssr / means.ssr,
            adj_r_squared=1 - oracle.scale / means.scale,
            sigma=np.sqrt(oracle.scale),
            log_likelihood=oracle.llf,
        )
        if not effects:
            assert_goodness(fit, rel=1e-7, condition_number=oracle.condition_number)
        documents = len(np.unique(codes))
        assert (fit.n_obs, fit.n_documents) == (oracle.nobs, documents)
        # One document tells nothing of those left out.
        assert np.isnan(fit.goodness["loo_r_squared"]) == (documents == 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test = oracle.f_test(np.eye(x.shape[1])[:2])
        slopes = fit.errors.tests[SLOPES]
        assert slopes.statistic == pytest.approx(float(test.fvalue) / factor, rel=1e-7)
        p_value = stats.f.sf(slopes.statistic, 2, df)
        assert slopes.p_value == pytest.approx(p_value, rel=1e-7, abs=1e-300)


def r_squared_of_folds(y, x, fold):
    """Return the R² of rows that are predicted from those of the other folds."""
    predicted = np.empty_like(y)
    for number in np.unique(fold):
        predicted[fold == number] = x[fold == number] @ ols(y, x, fold != number)
    return 1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()


@pytest.mark.parametrize("folds", [2, 7, 1000, "groups"])
def test_cross_validation_equals_that_of_separate_fits(folds):
    """There are at most as many folds as documents, and a fold may be a group of documents."""
    table = design_table(LENGTHS["many"], 1, missing=0.1)
    y, x, codes = columns_of(table, 0)
    with_rows = np.unique(codes, return_inverse=True)[1]
    fold = codes % 12 if folds == "groups" else with_rows % folds
    if folds == "groups":
        # More groups than the ten numbers that the cross-products of a document are.
        (folds,) = layers_of(table, group_of={f"d{i}": f"genre {i % 12}" for i in range(80)})
    (fit,) = fitted(table, "cluster-crv1", folds)
    assert_goodness(fit, cv_r_squared=r_squared_of_folds(y, x, fold))
    assert (fit.df == fit.n_documents - 1).all()


@pytest.mark.parametrize("ratio", [3, 300, 10**4])
def test_slopes_equal_those_of_exact_arithmetic_for_any_mean(ratio):
    """The mean is ``ratio`` times the standard deviation; rationals have no rounding."""
    table = design_table([50] * 6, 1, mean=float(ratio))
    (fit,) = fitted(table, "nonrobust", rows=70)
    y, x, _ = columns_of(table, 0)
    rows = np.vectorize(Fraction, otypes=[object])(np.column_stack([x[:, 1:], y]))
    rows = rows - rows.sum(axis=0) / len(rows)
    (a, b, c), (_, d, e), _ = rows.T @ rows
    exact = [(d * c - b * e) / (a * d - b * b), (a * e - b * c) / (a * d - b * b)]
    assert_allclose(fit.estimate[1:], [float(slope) for slope in exact], rtol=1e-12)


@pytest.mark.parametrize("group_of", [None, GENRES])
def test_the_jackknife_equals_fits_without_each_document_or_group(group_of):
    table = design_table(SEVEN + SEVEN, 1)
    layers = layers_of(table, rows=33, group_of=group_of)
    (fit,) = fits_of(layers, "cluster-jackknife")
    y, x, codes = columns_of(table, 0)
    codes = codes % 8 if group_of else codes
    covariance, change = jackknifed(lambda kept: ols(y, x, kept), codes)
    assert_allclose(fit.estimate, ols(y, x), rtol=1e-9)
    assert_allclose(fit.covariance, covariance)
    assert (fit.df == len(change) - 1).all()
    influence = results.influence_table([fit])
    lag = influence[influence["term"] == "lag_1"]
    expected = pd.Series(-change[:, 1], index=layers[0].clusters)
    assert lag["document"].tolist() == expected.abs().sort_values(ascending=False).index.tolist()
    assert_allclose(lag["change"], expected[lag["document"]])
    assert_allclose(lag["change_in_se"], lag["change"] / np.sqrt(fit.covariance[1, 1]), rtol=1e-9)
    assert_goodness(fit, loo_r_squared=r_squared_of_folds(y, x, codes))


@pytest.mark.parametrize("effects", [False, True])
def test_the_r_squared_of_lags_is_that_of_the_residuals_of_the_other_terms(effects):
    table = design_table(LENGTHS["many"], 2)
    trend = np.random.default_rng(4).normal(size=table.num_rows) + 1000
    table = changed(table, {"position_1": trend})
    fits = fitted(table, effects=effects)
    # The bound of equivalence means nothing for the columns of a spline.
    tidy = layer_fit.coefficients_table(fits, Errors()).dropna(subset="equivalence")
    assert tidy["term"].tolist() == ["lag_1", "lag_2"] * 2
    for layer, fit in enumerate(fits):
        y, x, codes = columns_of(table, layer, ["position_1"])
        levels = dummies_of(codes if effects else 0 * codes)
        lags, trend = x[:, 1:3], x[:, 3:]
        terms = [levels], [levels, trend], [levels, lags], [levels, trend, lags]
        of_means, rest, alone, whole = (sm.OLS(y, np.hstack(x)).fit().ssr for x in terms)
        assert_goodness(
            fit,
            rel=1e-7,
            partial_r_squared=1 - whole / rest,
            r_squared_lags=1 - alone / of_means,
            r_squared_others=1 - rest / of_means,
        )
        assert fit.goodness["partial_r_squared"] < fit.goodness["r_squared"]


def corrected(frame, weight):
    """Return the half-panel estimate with weighted documents: lags, then the rest given these."""
    codes = frame["document"].cat.codes.to_numpy()
    lags, rest = ["layer_00.lag_1", "layer_00.lag_2"], ["position_1"]

    def within(rows, columns, offset=0.0):
        part = frame.loc[rows, ["layer_00.y", *columns]].copy()
        part["layer_00.y"] -= offset
        part -= part.groupby(codes[rows]).transform("mean")
        # A half may not tell all terms apart: any solution has the same coefficients of lags.
        values = part.to_numpy() * np.sqrt(weight[codes[rows]])[:, None]
        return ols(values[:, 0], values[:, 1:])

    slopes = half_panel(lambda rows: within(rows, lags + rest)[:2], codes)
    return np.append(slopes, within(slice(None), rest, frame[lags].to_numpy() @ slopes))


def test_the_half_panel_corrects_lags_and_solves_the_rest_given_these():
    """The oracles are own regressions: of all rows, halves, without and with more of a document.

    A covariate is constant in the second halves of documents.
    """
    table = design_table(SEVEN, 1)
    early = np.minimum(np.concatenate([np.arange(n) for n in SEVEN]), 3.0)
    y = table["layer_00.y"].to_numpy() + 0.5 * early
    table = changed(table, {"layer_00.y": y, "position_1": early})
    layers = layers_of(table, rows=33, halves=True, effects=True)
    frame = table.to_pandas()
    (fit,) = fits_of(layers, "cluster-jackknife")
    assert_allclose(fit.estimate, corrected(frame, np.ones(7)), rtol=1e-9)
    covariance, _ = jackknifed(lambda kept: corrected(frame, kept.astype(float)), np.arange(7))
    assert_allclose(fit.covariance, covariance)
    assert np.isnan(fit.goodness["log_likelihood"])
    (fit,) = fits_of(layers, "cluster-crv1")
    steps = [1e-5 * (np.arange(7) == g) for g in range(7)]
    psi = np.stack([corrected(frame, 1 + e) - corrected(frame, 1 - e) for e in steps]) / 2e-5
    n = len(frame)
    assert_allclose(fit.covariance, 7 / 6 * (n - 1) / (n - 4) * psi.T @ psi, rtol=1e-5)
    # Draws weight documents alike.
    weights = np.random.default_rng(0).integers(1, 4, (2, 7)).astype(float)
    drawn = solve(layers[0]).weighted([weights])
    for one, weight in zip(drawn, weights, strict=True):
        assert_allclose(one, corrected(frame, weight), rtol=1e-9)
    # A lag that a half does not tell is another matter.
    table = table.drop_columns("layer_00.lag_2")
    table = table.rename_columns(["document", "layer_00.y", "layer_00.lag_1", "lag_9"])
    (fit,) = fitted(table, halves=True, effects=True)
    expected = "a half of the documents alone does not tell lag_1 and lag_9"
    assert labels.status(fit.reason) == expected


@pytest.mark.parametrize("last", [31, 40, 50, 57])
def test_the_correction_hardly_worsens_a_fit_of_short_documents(last):
    """A half hardly identifies a spline of position; the correction must not extrapolate it."""
    knots = {"position_knots": (4, 16, last)}
    settings = design_settings(lags=(1, 2), covariates=("position",), **knots)
    table = design_of(corpus_of(dynamics=(0.3, 0.0), documents=20, tokens=63), settings)
    fits = (fitted(table, halves=each, effects=True) for each in (False, True))
    for without, with_it in zip(*fits, strict=True):
        assert labels.status(with_it.reason) == "ok"
        assert 0 < without.goodness["r_squared"] - with_it.goodness["r_squared"] < 0.01


BY_DOCUMENT = np.repeat(np.arange(8.0), 20)
WITHIN = "lag_2 is constant within documents", {"effects": True}
ALONE = "without d3 the regressors are collinear: no jackknife", {"covariance": "cluster-jackknife"}


@pytest.mark.parametrize(
    ("term", "values", "status", "options"),
    [
        ("y", np.full(160, 2.5), "the outcome is constant", {}),
        ("lag_2", np.full(160, 1.1), "lag_2 is constant", {}),
        ("lag_2", None, "lag_1 and lag_2 are collinear", {}),
        ("lag_2", 1 + 0.1 * BY_DOCUMENT**0.5, *WITHIN),
        ("lag_2", 1000 + 0.1 * BY_DOCUMENT**0.5, *WITHIN),
        ("lag_2", 1 + 1e5 / 3 * BY_DOCUMENT**0.5, *WITHIN),
        ("lag_2", BY_DOCUMENT == 3, *ALONE),
    ],
)
def test_a_layer_that_cannot_be_fitted_has_a_reason_and_others_are_fitted(
    term, values, status, options
):
    table = design_table([20] * 8, 2)
    values = 2 * table["layer_01.lag_1"].to_numpy() - 7 if values is None else values
    broken = changed(table, {f"layer_01.{term}": values.astype(float)})
    alone, fits = (fitted(each, **options) for each in (table, broken))
    assert [labels.status(fit.reason) for fit in fits] == ["ok", status]
    tidy = layer_fit.coefficients_table(fits, Errors())
    expected = layer_fit.coefficients_table(alone[:1], Errors())
    pd.testing.assert_frame_equal(tidy[tidy["layer"] == 0], expected)
    assert tidy.loc[tidy["layer"] == 1, "estimate"].isna().all()
    tests = pd.DataFrame({"skewness": [0.5, 0.5]})
    of_fits = results.fits_table(fits, [0, 0], tests, {}, "holm")
    assert of_fits["skewness"].isna().tolist() == [False, True]
    if options:
        assert fitted(broken)[1].reason is None


@pytest.mark.parametrize("rows", [3, 0])
def test_too_few_rows_are_counted(rows):
    (fit,) = fitted(design_table([5], 1).slice(0, rows), "nonrobust")
    assert labels.status(fit.reason) == f"{rows} rows for 3 terms"


@pytest.mark.parametrize("first", [0, 3])
def test_only_the_first_layer_lacks_a_layer_before_it(first):
    names = ["document"]
    for layer in (first, first + 1):
        names += [f"layer_{layer:02d}.{term}" for term in ("y", "lag_1", "previous_layer")]
    table = design_table([5]).rename_columns(names).slice(0, 0)
    assert [labels.status(fit.reason) for fit in fitted(table, "nonrobust")] == [
        labels.NO_LAYER_BEFORE,
        "0 rows for 3 terms",
    ]


EIGHT = [90, 60, 70, 80, 50, 75, 66, 84]
EQUAL = "norms are equal but for rounding: the standard deviation of "


def design_of_logs(logs, covariates=()):
    """Return the design of an autoregression of two lags, from (layers, tokens) log norms."""
    table = norms_table({(f"d{i}", 0): n for i, n in enumerate(EIGHT)}, np.exp(logs))
    return design_of(table, design_settings(lags=(1, 2), covariates=covariates))


@pytest.mark.parametrize("effects", [False, True])
def test_an_untrained_norm_after_the_sublayer_leaves_nothing_to_regress(effects):
    """The model is one as transformers initialises it."""
    torch.manual_seed(0)
    sizes = {**LLAMA, "hidden_size": 64, "head_dim": 16, "num_hidden_layers": 4}
    model = AutoModel.from_config(AutoConfig.for_model("gemma2", **sizes)).eval()
    _, norms = measured(model, "norms", ["attention"], ragged(EIGHT), batch_tokens=4096)
    # The first layer's attention output is small relative to the epsilon of the norm.
    logs = np.log(norms["attention"][1:].astype(float))
    assert_allclose(logs, np.log(np.sqrt(64)), atol=0.01)
    within = " within documents" * effects
    bound = "is below 0.0010, what the epsilon of a normalisation leaves"
    for layer in layers_of(design_of_logs(logs), effects=effects):
        (fit,) = fits_of([dataclasses.replace(layer, precision="float32")])
        assert labels.status(fit.reason) == f"{EQUAL}the outcome{within} {bound}"
        assert np.isnan(fit.estimate).all()


@pytest.mark.parametrize(
    ("precision", "bound", "reason"),
    [
        ("bfloat16", 2**-8, "below 0.0039, the precision of bfloat16"),
        ("float16", 2**-10, "below 0.0010, what the epsilon of a normalisation leaves"),
        ("float32", 2**-10, "below 0.0010, what the epsilon of a normalisation leaves"),
    ],
)
def test_a_layer_is_flat_below_its_own_precision_also_as_the_layer_before(precision, bound, reason):
    spread = np.array([[1], [1.1 * bound], [0.9 * bound], [1]])
    logs = 2 + spread * np.random.default_rng(1).normal(size=(4, sum(EIGHT)))
    layers = [
        dataclasses.replace(layer, precision=precision)
        for layer in layers_of(design_of_logs(logs, ["previous_layer"]))
    ]
    _, ok, flat, after = fits_of(layers)
    assert labels.status(ok.reason) == "ok"
    assert labels.status(flat.reason) == f"{EQUAL}the outcome is {reason}"
    assert labels.status(after.reason) == f"{EQUAL}previous_layer is {reason}"
    # Outcomes that are not logarithms are compared with their size.
    (numbers,) = fits_of([dataclasses.replace(layers[1], outcome_is_logarithm=False)])
    assert f"is below {bound:.4f} of their size" in labels.status(numbers.reason)


def test_other_outcomes_are_equal_relative_to_their_own_size_also_as_the_layer_before():
    mean = np.array([[50], [0], [50]])
    spread = np.array([[0.05], [0.1], [0.3]])
    numbers = mean + spread * np.random.default_rng(1).normal(size=(3, sum(EIGHT)))
    _, after_equal, after_small = fits_of(
        dataclasses.replace(layer, outcome_is_logarithm=False)
        for layer in layers_of(design_of_logs(numbers, ["previous_layer"]))
    )
    assert "standard deviation of previous_layer is below" in labels.status(after_equal.reason)
    assert labels.status(after_small.reason) == "ok"


def test_the_precision_of_numbers_is_the_coarsest_of_the_model_and_of_stored_vectors():
    def record(dtype, stored):
        stage = {"storage_dtype": stored, "used": {"dtype": dtype}}
        return tables.Record(stages={"tokens": {"shards": 1}, "activations": stage})

    assert record("float32", "float32").precision == "float32"
    assert record("float32", "float16").precision == "float16"
    assert record("bfloat16", "float16").precision == "bfloat16"
    untrained = {"extraction": {"storage_dtype": "float32"}, "used": {"dtype": "float16"}}
    assert tables.Record(stages={"untrained": untrained}).precision == "float16"
    # Nothing is known of the model.
    assert tables.Record(stages={}).precision == "bfloat16"


@pytest.mark.parametrize("count", [1, 2, 30])
def test_corrected_p_values_equal_those_of_statsmodels(count, subtests):
    random = np.random.default_rng(count)
    p = random.choice([*random.random(20) ** 4, 0.0, 1.0, 0.01, 0.01], count)
    with_nan = pd.Series([np.nan, *p, np.nan])
    for adjust, method in METHODS.items():
        with subtests.test(adjust=adjust):
            found = multiple_tests.adjusted_p_values(with_nan, adjust)
            assert_array_equal(found, [np.nan, *multipletests(p, method)[1], np.nan])
    assert_array_equal(multiple_tests.adjusted_p_values(with_nan, "none"), with_nan)


def test_the_jackknife_can_leave_out_a_document_with_most_rows(subtests):
    """Without the document all sums shrink to an eighth, and a product of twelve is still not 0."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(41), [8800] + [30] * 40)
    x = random.normal(size=(len(codes), 12))
    y = x @ np.linspace(0.5, 0, 12) + random.normal(size=len(codes))
    columns = {"document": pa.array(codes.astype(str)).dictionary_encode(), "layer_00.y": y}
    columns |= {f"layer_00.lag_{lag}": column for lag, column in enumerate(x.T, 1)}
    (fit,) = fitted(pa.table(columns), "cluster-jackknife")
    assert labels.status(fit.reason) == "ok"
    constant = sm.add_constant(x)
    for document in (0, 7):
        with subtests.test(document=document):
            expected = ols(y, constant, codes != document)[1:]
            found = fit.left_out.coefficients[document][1:]
            assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    assert np.linalg.cond(constant[codes != 0]) < 1.3
    for name in ("cv_r_squared", "loo_r_squared"):
        with subtests.test(name=name):
            assert 0 < fit.goodness[name] < fit.goodness["r_squared"]


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_a_matrix_is_singular_by_its_eigenvalues_at_any_scale(k, subtests):
    random = np.random.default_rng(k)
    for ratio in (1.0, 1e-4, 3e-10, 3e-11, 0.0):
        with subtests.test(ratio=ratio):
            for scale in (1.0, 1e-3, 1e-14):
                basis = np.linalg.qr(random.normal(size=(k, k)))[0]
                values = np.r_[ratio if k > 1 else 1.0, np.ones(k - 1)] * scale
                a = (basis * values) @ basis.T
                expected = values[0] < 1e-13 or values[0] < 1e-10 * scale
                assert normal_equations.is_singular(a[None])[0] == expected, (ratio, scale)


@pytest.mark.parametrize("adjust", ["none", "holm", "benjamini-hochberg"])
def test_findings_agree_with_tests_at_the_bound_corrected_over_the_layers(adjust, subtests):
    """The oracle has the estimates, errors and corrections of statsmodels."""
    table = design_table(LENGTHS["many"], 5)
    fits = fitted(changed(table, {"layer_04.y": np.full(len(table), 2.5)}), "nonrobust")
    oracles = [sm.OLS(*columns_of(table, layer)[:2]).fit() for layer in range(4)]
    b, s = np.array([(oracle.params, oracle.bse) for oracle in oracles]).swapaxes(0, 1)
    of_t, seen = stats.t(oracles[0].df_resid), set()

    def rejected(p):
        """Return where the p-values of a term, corrected over the layers, are below alpha."""
        return p < alpha if adjust == "none" else multipletests(p, METHODS[adjust])[1] < alpha

    for alpha, bound in product((0.05, 0.2), (0.02, 0.05, 0.1, 0.2, 0.4)):
        with subtests.test(alpha=alpha, bound=bound):
            errors = Errors(
                covariance="nonrobust", alpha=alpha, adjust=adjust, equivalence_bound=bound
            )
            tidy = layer_fit.coefficients_table(fits, errors)
            ends = np.stack([of_t.cdf((b - bound) / s), of_t.sf((b + bound) / s)])
            expected = np.full((5, 3), "undecided", dtype=object)
            for term in (1, 2):
                low, high = np.sort(ends[:, :, term], axis=0)
                # The size of the estimate is as far from either bound, if that were the truth.
                expected[:4][rejected(1 - high + low), term] = "present"
                expected[:4][rejected(high), term] = "absent"
            # An intercept is in no unit that the bound is in.
            expected[:, 0] = None
            found = tidy["equivalence"].to_numpy().reshape(5, 3)
            assert_array_equal(found, expected)
            seen |= set(found[:4, 1:].ravel())
            # What is beyond a bound is beyond zero.
            assert (tidy.loc[tidy["equivalence"] == "present", "p_adjusted"] < alpha).all()
    assert seen == {"absent", "present", "undecided"}
