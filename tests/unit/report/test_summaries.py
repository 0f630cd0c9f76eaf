from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import columns_of, design_table, stack_of

from attnlag.regression import inference, labels, least_squares, results
from attnlag.report import summaries


@pytest.fixture(scope="module", name="results")
def fitted_results():
    table = design_table([30] * 10, 3)
    stack = stack_of(table)
    fits = inference.fit(stack, "nonrobust", 5)
    tidy = results.coefficients_table(
        fits, stack, covariance="nonrobust", alpha=0.05, adjust="holm", negligible=0.05
    )
    tests = ["jarque_bera", "breusch_pagan", "breusch_godfrey"]
    names = [*tests, *(f"{name}_p_value" for name in tests)]
    numbers = pd.DataFrame(0.25, range(3), [*names, "skewness", "kurtosis", "durbin_watson"])
    return fits, tidy, results.fits_table(fits, stack.layers, [0] * len(fits), numbers), table


def test_layer_summary_has_the_numbers_of_statsmodels(results):
    fits, tidy, rows, table = results
    text = summaries.layer_summary(
        fits[1],
        tidy[tidy["layer"] == 1],
        next(rows.iloc[[1]].itertuples()),
        title="a title",
        alpha=0.05,
        adjust="holm",
        notes=["a note"],
    )
    y, x, _ = columns_of(table, 1)
    oracle = sm.OLS(y, x).fit()
    assert text.splitlines()[0].strip() == "a title"
    for value in (*oracle.params, *oracle.bse):
        assert f"{value:.5f}" in text
    assert f"{oracle.rsquared:.4f}" in text
    assert f"{oracle.aic:.6g} / {oracle.bic:.6g}" in text
    assert f"{oracle.fvalue:.5g}" in text
    assert "[0.025" in text
    assert "nonrobust" in text
    assert "0.25 (p 0.25)" in text
    assert "a note\n" in text
    assert "predictive associations" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_layer_without_a_fit_says_why(results):
    _, tidy, _, _ = results
    solution = least_squares.Solution("the outcome is constant", 12, 4)
    fit = inference.unfitted(3, solution)
    text = summaries.layer_summary(fit, tidy[:3], None, title="t", alpha=0.05, adjust="holm")
    assert "Not fitted: the outcome is constant (12 rows)." in text


def test_findings_count_what_is_significant(results):
    _, tidy, fits, _ = results
    text = summaries.coefficient_findings(
        tidy, fits, name="m, c", alpha=0.05, adjust="holm", negligible=0.05
    )
    lag_1 = tidy[tidy["term"] == "lag_1"]
    number = (lag_1["p_adjusted"] < 0.05).sum()
    assert number >= 1
    lines = text.splitlines()
    assert lines[0] == "m, c: 3 of 3 layers fitted, 300 rows from 10 documents"
    assert lines[1].startswith(
        f"  lag 1: significant in {number} of 3 layers (p < 0.05, Holm over the layers)"
    )
    present, absent = ((lag_1["finding"] == verdict).sum() for verdict in ("present", "absent"))
    assert lines[1].endswith(f"; shown to be beyond ±0.05 in {present}, within it in {absent}")
    best = fits.loc[fits["r_squared"].idxmax()]
    assert f"to {best.r_squared:.3f} (highest in layer {best.layer})" in lines[3]


def test_findings_name_layers_without_a_fit(results):
    _, tidy, fits, _ = results
    fits = pd.concat([fits, fits.tail(1).assign(layer=3, status="the outcome is constant")])
    text = summaries.coefficient_findings(
        tidy, fits, name="m, c", alpha=0.05, adjust="none", negligible=0.05
    )
    assert "m, c: 3 of 4 layers fitted" in text
    assert text.endswith("  layer 3 was not fitted: the outcome is constant\n")


def test_coefficients_that_the_jackknife_leaves_are_named(results):
    fits, tidy, rows, _ = results
    fit = replace(fits[1], uncorrected=("position_1", "position_2"), log_likelihood=float("nan"))
    stated = summaries._corrected(fit, "half-panel")
    assert stated == [
        "Coefficients are corrected by the half-panel jackknife, but not those of position_1,",
        "position_2, which a half of the documents does not tell from the others.",
    ]
    assert summaries._corrected(fit, "none") == []
    row = next(rows.iloc[[1]].itertuples())
    text = summaries.layer_summary(
        fit,
        tidy[tidy["layer"] == 1],
        row,
        title="t",
        alpha=0.05,
        adjust="holm",
        within=True,
        notes=stated,
    )
    assert "R-squared within docs:" in text
    # Estimates that do not maximise the likelihood have no criterion of it.
    assert "AIC" not in text
    assert "likelihood" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("lags", "words"),
    [([3], "lag 3"), ([3, 4], "lags 3 and 4"), ([3, 4, 6, 7, 8, 10], "lags 3, 4, 6 to 8 and 10")],
)
def test_lags_are_said_in_spans(lags, words):
    assert labels.spans(lags) == words


def test_findings_of_residuals_have_the_size_beside_the_test(monkeypatch):
    fits = pd.DataFrame({"status": "ok", "breusch_godfrey_p_value": [0.001, 0.03, 0.9]})
    left = pd.Series([0.1, 0.16, 0.3])
    monkeypatch.setattr(summaries, "order_left", lambda sums: ([3, 4, 5], left))
    assert summaries.residual_findings(fits, None, alpha=0.05, adjust="max-t") == (
        "  residuals are autocorrelated in 1 of 3 layers (Breusch-Godfrey, lags 1 to 10, p < 0.05, "
        "Holm over the layers); partial autocorrelations at lags 3 to 5, which the regression "
        "leaves out, sum to 0.160 in the median layer (0.100 to 0.300)\n"
    )


def test_findings_of_groups_are_sizes_and_who_has_none():
    table = pd.DataFrame(
        {
            "subset": np.repeat(["prose", "verse", "rare", "odd"], 2),
            "term": "lag_1",
            "estimate": [0.1, 0.3, 0.5, 0.4, *[np.nan] * 4],
            "status": ["ok"] * 4 + ["2 documents: too few to cluster by"] * 4,
        }
    )
    assert summaries.group_findings(table).splitlines() == [
        "  lag 1 by group of documents, median over the layers: 0.200 (prose) to 0.450 (verse)",
        "  no coefficients of 2 groups (rare, odd): 2 documents: too few to cluster by",
    ]
    # One group is the whole corpus.
    assert summaries.group_findings(table[:2]) == ""


def test_advice_where_documents_are_few_or_unequal():
    settings = {"covariance": "cluster", "wild_bootstrap": 0}
    fits = pd.DataFrame({"status": "ok", "n_documents": [200], "effective_documents": [180.0]})
    assert summaries.advice(fits, **settings) == ""
    unequal = fits.assign(effective_documents=[12.3])
    text = summaries.advice(unequal, **settings)
    assert "200 documents, which count as 12 equal ones" in text
    assert "the wild bootstrap (9,999 draws)" in text
    assert "the cluster jackknife" in text
    few = fits.assign(n_documents=[20], effective_documents=[19.0])
    assert "wild bootstrap" not in summaries.advice(few, covariance="cluster", wild_bootstrap=999)
    assert summaries.advice(few, covariance="hac", wild_bootstrap=0) == ""
    text = summaries.advice(unequal, **settings, groups=13)
    assert "errors by group rest on 13 groups, which count as 12 equal ones" in text


def test_findings_of_a_null_compare_it_with_the_real_order():
    rows = pd.DataFrame(
        {
            "layer": [0, 1],
            "term": "lag_1",
            "estimate": [0.1, 0.2],
            "observed": [0.5, 0.6],
            "p_adjusted": [0.01, 0.3],
        }
    )
    fits = pd.DataFrame(
        {"layer": [0, 1], "n_obs": 90, "n_documents": 7, "draws": 200, "status": "ok"}
    )
    text = summaries.null_findings(rows, fits, name="m", alpha=0.05, adjust="holm")
    assert text.splitlines() == [
        "m: the order of tokens within documents permuted, 200 times, 90 rows from 7 documents",
        "  lag 1: 0.100 to 0.200 if order means nothing, 0.500 to 0.600 in the real order; they "
        "differ in 1 of 2 layers (p < 0.05, Holm over the layers)",
    ]
