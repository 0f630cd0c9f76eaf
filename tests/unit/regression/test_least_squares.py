"""Estimates and inference against statsmodels, on the same rows."""

import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from designs import (
    changed,
    columns_of,
    corpus_of,
    design_of,
    design_settings,
    design_table,
    fits_of,
    layers_of,
    regressed,
    stored_of,
)
from oracles import (
    aht,
    clustered,
    cr2,
    cr2_scores,
    dummies_of,
    half_panel,
    jackknifed,
    multipletests,
    ols,
    r_squared_of_folds,
)
from scipy import stats

from attnlag.regression.estimation import crossproducts, least_squares
from attnlag.regression.estimation.clustered import SMALL, cr2_adjustment
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import bootstrap, results
from attnlag.regression.settings import Errors

LENGTHS = {
    "one document": [60],
    "two": [30, 8],
    "ragged": [40, 3, 1, 25, 12, 7, 55, 2],
    "many": np.random.default_rng(5).integers(1, 40, 80).tolist(),
}


def assert_goodness(fit, rel=1e-9, **expected):
    found = {name: fit.goodness[name] for name in expected}
    assert found == pytest.approx(expected, rel=rel, abs=rel)


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("covariance", ["nonrobust", "cluster-crv1"])
def test_estimates_errors_and_fits_equal_those_of_statsmodels(
    lengths, effects, missing, covariance
):
    """Effects of documents are a dummy for each."""
    table = design_table(lengths, 3, mean=50.0, missing=missing)
    # The centre of the shard is the mean of its first rows, and not of all.
    fits = fits_of(layers_of(table, rows=20, fixed_effects=effects), covariance, 5)
    if covariance == "cluster-crv1" and len(lengths) < 6:
        said = f"{len(lengths)} document{'s' * (len(lengths) > 1)}: too few to cluster by"
        assert [fit.status for fit in fits] == [said] * 3
        return
    tidy = results.coefficients_table(fits, Errors(covariance=covariance, alpha=0.1))
    for layer, fit in enumerate(fits):
        y, x, codes = columns_of(table, layer)
        means = sm.OLS(y, dummies_of(codes if effects else 0 * codes)).fit()
        x = np.column_stack([x[:, 1:], means.model.exog])
        oracle = sm.OLS(y, x).fit(**(clustered(codes) if covariance == "cluster-crv1" else {}))
        # The intercept is last here.
        order = [0, 1] if effects else [2, 0, 1]
        # Effects of documents are nested in the clusters: they do not count as terms.
        nested = covariance == "cluster-crv1" and effects
        factor = (len(y) - x.shape[1]) / (len(y) - 3) if nested else 1.0
        v, estimate = factor * oracle.cov_params()[np.ix_(order, order)], oracle.params[order]
        error, rows = np.sqrt(np.diag(v)), tidy[tidy["layer"] == layer]
        df = len(np.unique(codes)) - 1 if covariance == "cluster-crv1" else oracle.df_resid
        assert (rows["df"] == df).all()
        low, high = stats.t(df, estimate, error).interval(0.9)
        found = rows[["estimate", "std_error", "statistic", "conf_low", "conf_high"]]
        numbers = estimate, error, estimate / error, low, high
        np.testing.assert_allclose(found.T, numbers, rtol=1e-8, atol=1e-12)
        p_values = 2 * stats.t.sf(np.abs(estimate / error), df)
        np.testing.assert_allclose(rows["p_value"], p_values, rtol=1e-7, atol=1e-300)
        np.testing.assert_allclose(fit.covariance, v, rtol=1e-8, atol=1e-13)
        assert_goodness(
            fit,
            r_squared=1 - oracle.ssr / means.ssr,
            adj_r_squared=1 - oracle.scale / means.scale,
            sigma=np.sqrt(oracle.scale),
            log_likelihood=oracle.llf,
        )
        if not effects:
            assert_goodness(fit, rel=1e-7, condition_number=oracle.condition_number)
        assert (fit.n_obs, fit.n_documents) == (oracle.nobs, len(np.unique(codes)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test = oracle.f_test(np.eye(x.shape[1])[:2])
        assert fit.wald.statistic == pytest.approx(float(test.fvalue) / factor, rel=1e-7)
        p_value = stats.f.sf(fit.wald.statistic, 2, df)
        assert fit.wald.p_value == pytest.approx(p_value, rel=1e-7, abs=1e-300)


def test_adjusted_p_values_are_over_the_layers_of_a_term():
    fits = fits_of(layers_of(design_table(LENGTHS["many"], 6)), "cluster", 5)
    for adjust in ("holm", "benjamini-hochberg", "none"):
        for _, rows in results.coefficients_table(fits, Errors(adjust=adjust)).groupby("term"):
            expected = results.adjusted_p_values(rows["p_value"], adjust)
            np.testing.assert_array_equal(rows["p_adjusted"], expected)
            assert (expected == rows["p_value"]).all() == (adjust == "none")


@pytest.mark.parametrize("folds", [7, 1000])
def test_cross_validation_equals_that_of_separate_fits(folds):
    """There are at most as many folds as documents."""
    table = design_table(LENGTHS["many"], 1, missing=0.1)
    (fit,) = fits_of(layers_of(table), "cluster", folds)
    y, x, codes = columns_of(table, 0)
    fold = np.unique(codes, return_inverse=True)[1] % folds
    assert_goodness(fit, cv_r_squared=r_squared_of_folds(y, x, fold))


@pytest.mark.parametrize("ratio", [3, 300, 10**4])
def test_slopes_equal_those_of_exact_arithmetic_for_any_mean(ratio):
    """The mean is ``ratio`` times the standard deviation; rationals have no rounding."""
    table = design_table([50] * 6, 1, mean=float(ratio))
    layers = layers_of(table, rows=70)
    (fit,) = fits_of(layers, "nonrobust", 5)
    y, x, _ = columns_of(table, 0)
    rows = np.vectorize(Fraction, otypes=[object])(np.column_stack([x[:, 1:], y]))
    rows = rows - rows.sum(axis=0) / len(rows)
    (a, b, c), (_, d, e), _ = rows.T @ rows
    exact = [(d * c - b * e) / (a * d - b * b), (a * e - b * c) / (a * d - b * b)]
    np.testing.assert_allclose(fit.estimate[1:], [float(slope) for slope in exact], rtol=1e-12)


def with_dummies(x, codes):
    return np.column_stack([x[:, 1:], dummies_of(codes)])


def test_cr2_of_the_half_panel_adds_up_the_scores_that_it_gives_each_regression():
    """Scores of the three regressions come from the leverages of all rows of a document."""
    table = design_table([30, 12, 25, 8, 14, 40, 9], 1)
    (fit,) = fits_of(layers_of(table, halves=True, fixed_effects=True), "cluster", None)
    y, x, codes = columns_of(table, 0)
    data = pd.DataFrame(np.column_stack([y, x[:, 1:]]))

    def scores_of(rows):
        own = data[rows] - data[rows].groupby(codes[rows]).transform("mean")
        return cr2_scores(own[0].to_numpy(), own[[1, 2]].to_numpy(), codes[rows])[0]

    scores = half_panel(scores_of, codes)
    np.testing.assert_allclose(fit.covariance, scores.T @ scores, rtol=1e-9)


def test_the_jackknife_equals_fits_without_each_document():
    table = design_table([30, 12, 25, 8, 14, 40, 9], 1)
    layers = layers_of(table, rows=33)
    (fit,) = fits_of(layers, "cluster-jackknife", 5)
    y, x, codes = columns_of(table, 0)
    covariance, change = jackknifed(lambda kept: ols(y, x, kept), codes)
    np.testing.assert_allclose(fit.estimate, ols(y, x), rtol=1e-9)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-7)
    assert (fit.df == 6).all()
    influence = results.influence_table([fit])
    lag = influence[influence["term"] == "lag_1"]
    expected = pd.Series(-change[:, 1], index=layers[0].clusters)
    assert lag["document"].tolist() == expected.abs().sort_values(ascending=False).index.tolist()
    np.testing.assert_allclose(lag["change"], expected[lag["document"]], rtol=1e-7)
    np.testing.assert_allclose(
        lag["change_in_se"], lag["change"] / np.sqrt(fit.covariance[1, 1]), rtol=1e-9
    )
    assert_goodness(fit, loo_r_squared=r_squared_of_folds(y, x, codes))


@pytest.mark.parametrize("fixed_effects", [False, True])
def test_the_r_squared_of_lags_is_that_of_the_residuals_of_the_other_terms(fixed_effects):
    table = design_table(LENGTHS["many"], 2)
    trend = np.random.default_rng(4).normal(size=table.num_rows) + 1000
    table = table.append_column("position_1", pa.array(trend))
    layers = layers_of(table, fixed_effects=fixed_effects)
    for layer, fit in enumerate(fits_of(layers, "cluster", 5)):
        y, x, codes = columns_of(table, layer)
        effects = dummies_of(codes if fixed_effects else 0 * codes)
        lags, trend = x[:, 1:3], table["position_1"].to_numpy()[:, None]
        terms = [effects], [effects, trend], [effects, lags], [effects, trend, lags]
        of_means, rest, alone, whole = (sm.OLS(y, np.hstack(x)).fit().ssr for x in terms)
        assert_goodness(
            fit,
            rel=1e-7,
            partial_r_squared=1 - whole / rest,
            r_squared_lags=1 - alone / of_means,
            r_squared_others=1 - rest / of_means,
        )
        assert fit.goodness["partial_r_squared"] < fit.goodness["r_squared"]


HALVES = [30, 12, 25, 8, 14, 40, 9]


def short_table():
    """Return a design with a covariate that is constant in the second halves of documents."""
    table = design_table(HALVES, 1)
    early = np.minimum(np.concatenate([np.arange(n) for n in HALVES]), 3.0)
    y = table["layer_00.y"].to_numpy() + 0.5 * early
    return changed(table, {"layer_00.y": y, "position_1": early})


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
    """The oracles are own regressions: of all rows, halves, without and with more of a document."""
    table = short_table()
    layers = layers_of(table, rows=33, halves=True, fixed_effects=True)
    frame = table.to_pandas()
    (fit,) = fits_of(layers, "cluster-jackknife", 5)
    np.testing.assert_allclose(fit.estimate, corrected(frame, np.ones(7)), rtol=1e-9)
    covariance, _ = jackknifed(lambda kept: corrected(frame, kept.astype(float)), np.arange(7))
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-7)
    assert np.isnan(fit.goodness["log_likelihood"])
    (fit,) = fits_of(layers, "cluster-crv1", 5)
    steps = [1e-5 * (np.arange(7) == g) for g in range(7)]
    psi = np.stack([corrected(frame, 1 + e) - corrected(frame, 1 - e) for e in steps]) / 2e-5
    n = len(frame)
    np.testing.assert_allclose(fit.covariance, 7 / 6 * (n - 1) / (n - 4) * psi.T @ psi, rtol=1e-5)
    # Draws weight documents alike.
    weights = np.random.default_rng(0).integers(1, 4, (2, 7)).astype(float)
    drawn = bootstrap.weighted(solve(layers[0]), [weights])
    for one, weight in zip(drawn, weights, strict=True):
        np.testing.assert_allclose(one, corrected(frame, weight), rtol=1e-9)
    # A lag that a half does not tell is another matter.
    table = table.drop_columns("layer_00.lag_2")
    table = table.rename_columns(["document", "layer_00.y", "layer_00.lag_1", "lag_9"])
    layers = layers_of(table, halves=True, fixed_effects=True)
    (fit,) = fits_of(layers, "cluster", 5)
    assert fit.status == "a half of the documents alone does not tell lag_1 and lag_9"


@pytest.mark.parametrize("last", [31, 40, 50, 57])
def test_the_correction_hardly_worsens_a_fit_of_short_documents(last):
    """A half hardly identifies a spline of position; the correction must not extrapolate it."""
    knots = {"position_knots": (4, 16, last)}
    settings = design_settings(lags=(1, 2), covariates=("position",), **knots)
    table = design_of(corpus_of(dynamics=(0.3, 0.0), documents=20, tokens=63), settings)
    plain, corrected_for_bias = (
        fits_of(layers_of(table, halves=each, fixed_effects=True), "cluster", 5)
        for each in (False, True)
    )
    for without, with_it in zip(plain, corrected_for_bias, strict=True):
        assert with_it.status == "ok"
        assert 0 < without.goodness["r_squared"] - with_it.goodness["r_squared"] < 0.01


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("scale", [1, 40])
def test_cr2_and_its_degrees_of_freedom_equal_the_direct_formulas(effects, scale):
    """With document effects there is a dummy for each; ``scale`` makes most leverages small."""
    lengths = [30, 12, 5, 25, 8, 14, 4, 9 * scale]
    table = design_table(lengths, 2, missing=0.1)
    layers = layers_of(table, rows=20, fixed_effects=effects)
    names = layers[0].names
    both = np.eye(len(names))[[names.index("lag_1"), names.index("lag_2")]]
    difference = both[:1] - both[1:]
    fits = fits_of(layers, "cluster", 5, joint=[difference, both])
    for layer, fit in enumerate(fits):
        y, x, codes = columns_of(table, layer)
        if effects:
            x = with_dummies(x, codes)
        wide = np.zeros((len(names), x.shape[1]))
        wide[:, : len(names)] = np.eye(len(names))
        v, df = cr2(y, x, codes, [*wide, difference @ wide, both @ wide])
        np.testing.assert_allclose(fit.covariance, wide @ v @ wide.T, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(fit.df, df[: len(names)], rtol=1e-10)
        one, two = fit.joint
        assert one.df_residual == pytest.approx(df[-2], rel=1e-10)
        b = fit.estimate[[names.index("lag_1"), names.index("lag_2")]]
        t = (b[0] - b[1]) / np.sqrt((difference @ fit.covariance @ difference.T).item())
        assert one.p_value == pytest.approx(2 * stats.t.sf(abs(t), df[-2]), rel=1e-9)
        found = two.statistic, two.df, two.df_residual, two.p_value
        assert found == pytest.approx(aht(fit.estimate, fit.covariance, both, df[-1]), rel=1e-9)
        if effects:
            assert fit.wald.statistic == pytest.approx(two.statistic)


def test_the_root_for_small_leverages_is_precise_to_rounding():
    leverages = np.full((1, 2, 2), 0.49 * SMALL)
    (root,) = cr2_adjustment(leverages)
    np.testing.assert_allclose(root @ root @ (np.eye(2) - leverages[0]), np.eye(2), atol=1e-15)


def test_clustered_errors_are_exact_with_binned_documents(monkeypatch, tmp_path):
    monkeypatch.setattr(crossproducts, "FEWEST_BINS", 9)
    monkeypatch.setattr(crossproducts, "BLOCK_BYTES", 2000)
    table = design_table(LENGTHS["many"], 3, missing=0.1)
    whole, binned = layers_of(table), regressed(stored_of([table], tmp_path / "shards", 100.0))
    assert len(binned[0].clusters) == 9
    for one, other in zip(fits_of(whole, "cluster", 5), fits_of(binned, "cluster", 5), strict=True):
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-10)
        np.testing.assert_allclose(one.df, other.df, rtol=1e-10)
        assert one.n_documents == other.n_documents
        assert_goodness(one, effective_documents=other.goodness["effective_documents"])
        assert one.goodness["loo_r_squared"] != other.goodness["loo_r_squared"]
    jackknife = fits_of(binned, "cluster-jackknife", 5)
    assert [fit.df.tolist() for fit in jackknife] == [[8] * 3] * 3


@pytest.mark.parametrize(("first", "low", "high"), [(50, 10, 20), (2000, 1, 4)])
def test_effective_documents_are_fewer_if_documents_are_unequal(first, low, high):
    """Equal documents count in full. With one as large as all others there are about two."""
    table = design_table([first] + [50] * 19, 1)
    (fit,) = fits_of(layers_of(table), "cluster", 5)
    _, x, codes = columns_of(table, 0)
    inverse = np.linalg.inv(x.T @ x)
    gamma = [(inverse @ x[codes == g].T @ x[codes == g] @ inverse)[1, 1] for g in range(20)]
    expected = 20 / (1 + np.var(gamma) / np.mean(gamma) ** 2)
    assert_goodness(fit, effective_documents=expected)
    assert low < expected <= high


BY_DOCUMENT = np.repeat(np.arange(8.0), 20)
WITHIN = "lag_2 is constant within documents", {"fixed_effects": True}
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
    covariance, effects = options.get("covariance", "cluster"), options.get("fixed_effects", False)
    alone, fits = (
        fits_of(layers_of(each, fixed_effects=effects), covariance, 4) for each in (table, broken)
    )
    assert [fit.status for fit in fits] == ["ok", status]
    tidy = results.coefficients_table(fits, Errors())
    expected = results.coefficients_table(alone[:1], Errors())
    pd.testing.assert_frame_equal(tidy[tidy["layer"] == 0], expected)
    assert tidy.loc[tidy["layer"] == 1, "estimate"].isna().all()
    if options:
        assert fits_of(layers_of(broken), "cluster", 4)[1].status == "ok"


@pytest.mark.parametrize("rows", [3, 0])
def test_too_few_rows_are_counted(rows):
    (fit,) = fits_of(layers_of(design_table([5], 1).slice(0, rows)), "nonrobust", 2)
    assert fit.status == f"{rows} rows for 3 terms"


@pytest.mark.parametrize("first", [0, 3])
def test_only_the_first_layer_lacks_a_layer_before_it(first):
    names = ["document"]
    for layer in (first, first + 1):
        names += [f"layer_{layer:02d}.{term}" for term in ("y", "lag_1", "previous_layer")]
    table = design_table([5]).rename_columns(names).slice(0, 0)
    assert [fit.status for fit in fits_of(layers_of(table), "nonrobust", 2)] == [
        least_squares.NO_LAYER_BEFORE,
        "0 rows for 3 terms",
    ]


@pytest.mark.parametrize("adjust", ["holm", "benjamini-hochberg"])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_corrected_p_values_equal_those_of_statsmodels(count, adjust):
    random = np.random.default_rng(count)
    p = random.choice([*random.random(20) ** 4, 0.0, 1.0, 0.01, 0.01], count)
    method = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}[adjust]
    found = results.adjusted_p_values(pd.Series([np.nan, *p, np.nan]), adjust)
    assert found[1:-1].tolist() == multipletests(p, method=method)[1].tolist()
    assert np.isnan(found[[0, -1]]).all()


def test_the_jackknife_can_leave_out_a_document_with_most_rows():
    """Without the document all sums shrink to an eighth, and a product of twelve is still not 0."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(41), [8800] + [30] * 40)
    x = random.normal(size=(len(codes), 12))
    y = x @ np.linspace(0.5, 0, 12) + random.normal(size=len(codes))
    columns = {"document": pa.array(codes.astype(str)).dictionary_encode(), "layer_00.y": y}
    columns |= {f"layer_00.lag_{lag}": column for lag, column in enumerate(x.T, 1)}
    (fit,) = fits_of(layers_of(pa.table(columns)), "cluster-jackknife", 5)
    assert fit.status == "ok"
    constant = sm.add_constant(x)
    for document in (0, 7):
        expected = ols(y, constant, codes != document)[1:]
        found = fit.left_out.without[document][1:]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    assert np.linalg.cond(constant[codes != 0]) < 1.3
    for name in ("cv_r_squared", "loo_r_squared"):
        assert 0 < fit.goodness[name] < fit.goodness["r_squared"]


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_a_matrix_is_singular_by_its_eigenvalues_at_any_scale(k):
    random = np.random.default_rng(k)
    for ratio in (1.0, 1e-4, 3e-10, 3e-11, 0.0):
        for scale in (1.0, 1e-3, 1e-14):
            basis = np.linalg.qr(random.normal(size=(k, k)))[0]
            values = np.r_[ratio if k > 1 else 1.0, np.ones(k - 1)] * scale
            a = (basis * values) @ basis.T
            expected = values[0] < 1e-13 or values[0] < 1e-10 * scale
            assert least_squares.is_singular(a[None])[0] == expected, (ratio, scale)


@pytest.mark.parametrize(("alpha", "adjust"), [(0.05, "none"), (0.2, "holm")])
def test_findings_agree_with_tests_at_the_bound_corrected_over_the_layers(alpha, adjust):
    """The oracle tests against the bound with statsmodels, and corrects with statsmodels."""
    table, seen = design_table(LENGTHS["many"], 4), set()
    fits = fits_of(layers_of(table), "nonrobust", 5)
    oracles = [sm.OLS(*columns_of(table, layer)[:2]).fit() for layer in range(4)]
    for bound in (0.02, 0.05, 0.1, 0.2, 0.4):
        errors = Errors(covariance="nonrobust", alpha=alpha, adjust=adjust, equivalence_bound=bound)
        tidy = results.coefficients_table(fits, errors)
        # An intercept is in no unit that the bound is in.
        assert tidy.groupby("layer").nth(0)["equivalence"].isna().all()
        for place in (1, 2):
            low, high = (
                np.array([each.t_test((np.eye(3)[place], end)).tvalue.item() for each in oracles])
                for end in (-bound, bound)
            )
            of_t = stats.t(oracles[0].df_resid)
            ends = np.stack([of_t.cdf(high), of_t.sf(low)])
            # The size of the estimate is as far from either bound, if that were the truth.
            p_values = {"present": 1 - ends.max(axis=0) + ends.min(axis=0)}
            p_values["absent"] = ends.max(axis=0)
            expected = np.full(4, "undecided", dtype=object)
            for verdict, p in p_values.items():
                corrected = p if adjust == "none" else multipletests(p, method="holm")[1]
                expected[corrected < alpha] = verdict
            found = tidy.groupby("layer").nth(place)["equivalence"].tolist()
            assert found == expected.tolist()
            seen |= set(found)
    assert seen == {"absent", "present", "undecided"}


def test_what_is_present_is_significant_and_without_an_estimate_all_is_undecided():
    """The p-value of a coefficient beyond a bound is never below that of one beyond zero."""
    random = np.random.default_rng(0)
    b, s = random.normal(scale=0.3, size=300), random.uniform(0.01, 0.2, size=300)
    b[-1] = s[-1] = np.nan
    p = pd.Series(2 * stats.t.sf(np.abs(b) / s, 9))
    for adjust in ("none", "holm", "benjamini-hochberg"):
        significant = results.adjusted_p_values(p, adjust) < 0.05
        for bound in (0.01, 0.05, 0.2):
            settings = Errors(equivalence_bound=bound, adjust=adjust)
            found = results.equivalence_test(b, s, 9, settings)
            assert (found == "present").any()
            assert not ((found == "present") & ~significant).any()
            assert found[-1] == "undecided"


def test_repeated_documents_have_no_joint_test_of_more_than_they_tell():
    """Two texts, each four times, give a covariance of rank 1 to their pooled coefficients."""
    table = design_table([20, 20] * 4, 1)
    columns = {name: np.tile(table[name].to_numpy()[:40], 4) for name in table.column_names[1:]}
    layers = layers_of(changed(table, columns))
    (fit,) = fits_of(layers, "cluster-crv1", 2, joint=[np.eye(3)[1:], np.eye(3)[1:2]])
    assert fit.status == "ok"
    both, one = fit.joint
    assert np.isnan([both.statistic, both.p_value, fit.wald.statistic]).all()
    assert np.isfinite([one.statistic, one.p_value]).all()
