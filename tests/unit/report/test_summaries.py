from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import columns_of, design_table, stack_of

from attnlag.regression import bootstrap, inference, least_squares, results
from attnlag.report import summaries


@pytest.fixture(scope="module", name="results")
def fitted_results():
    table = design_table([30] * 10, 3)
    stack = stack_of(table)
    fits = inference.fit(stack, "nonrobust", 5)
    tidy = results.coefficients_table(
        fits, stack, covariance="nonrobust", alpha=0.05, adjust="holm"
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


CONTROLS = pd.DataFrame(
    {
        "layer": [0, 0, 1, 1],
        "term": ["lag_1", "lag_2"] * 2,
        "estimate": [0.2, 0.1, 0.4, -0.1],
        "r_squared": [0.1, 0.1, 0.3, 0.3],
        "permuted_mean": [0.02, 0.01, 0.04, 0.03],
        "order_p_adjusted": [0.01, 0.01, 0.2, 0.2],
        "permutations": 99,
        "random_weights": [1.5, -0.5, 1.7, -0.7],
        "random_weights_r_squared": [0.98, 0.98, 1.0, 1.0],
        "random_weights_documents": 32,
    }
)


def test_sizes_and_directions_come_with_the_interval_of_the_median():
    medians = pd.DataFrame(
        {"median": 0.3, "conf_low": [0.25, np.nan], "conf_high": [0.35, np.nan], "lowest": 0.2},
        index=["lag_1", "lag_2"],
    ).assign(highest=0.4)
    settings = SimpleNamespace(fixed_effects="document", alpha=0.05)
    assert summaries.sizes(medians, CONTROLS, settings) == [
        "lag 1, within documents: median 0.300 over the layers (95% interval 0.250 to 0.350), "
        "0.200 to 0.400; positive in 2 of 2 layers",
        "lag 2, within documents: median 0.300 over the layers (no interval: too few documents to "
        "draw from), 0.200 to 0.400; positive in 1 of 2 layers",
    ]
    settings = SimpleNamespace(fixed_effects="none", alpha=0.05)
    one = CONTROLS[CONTROLS["layer"] == 0]
    first, _ = summaries.sizes(medians, one, settings)
    assert first == "lag 1, pooled over documents: 0.300 in the one layer"


def test_what_permuted_order_says_is_said_of_all_lags_together():
    (line,) = summaries.order_finding(CONTROLS, alpha=0.05, adjust="holm")
    assert line == (
        "order matters in 1 of 2 layers (tokens permuted within their documents 99 times, one test "
        "a layer of all its lags, p < 0.05, max over the layers); if it meant nothing, lag 1 would "
        "be 0.020 to 0.040, lag 2 would be 0.010 to 0.030"
    )
    (line,) = summaries.order_finding(CONTROLS[["layer", "term"]], alpha=0.05, adjust="holm")
    assert line == "the order of tokens was not permuted: no control for it"


def test_what_random_weights_give_stands_beside_what_training_made_of_it():
    (line,) = summaries.random_weights_finding(CONTROLS)
    assert line == (
        "random weights, over 32 documents: lag 1 has a median of 1.600 (1.500 to 1.700) and R² "
        "one of 0.990; after training they are 0.300 and 0.200: training makes lag 1 smaller"
    )
    (line,) = summaries.random_weights_finding(CONTROLS.assign(random_weights=np.nan))
    assert line.startswith("random weights say nothing here")
    (line,) = summaries.random_weights_finding(CONTROLS.drop(columns="random_weights"))
    assert "no control for it" in line


def test_findings_count_what_differs_from_zero(results):
    _, tidy, fits, _ = results
    first, second = summaries.counts(tidy, fits, alpha=0.05, adjust="holm")
    number = (tidy.loc[tidy["term"] == "lag_1", "p_adjusted"] < 0.05).sum()
    assert number >= 1
    assert first.startswith(f"layers, of 3, with a coefficient other than zero: lag 1 in {number}")
    assert first.endswith("(p < 0.05, Holm over the layers)")
    best = fits.loc[fits["r_squared"].idxmax()]
    assert f"to {best.r_squared:.3f} (highest in layer {best.layer}); of documents not" in second
    assert (
        "nan"
        not in summaries.counts(tidy, fits.assign(cv_r_squared=np.nan), alpha=0.05, adjust="holm")[
            1
        ]
    )


def finding_of(results, **changes):
    fits, tidy, goodness, table = results
    settings = SimpleNamespace(
        **{"alpha": 0.05, "adjust": "none", "covariance": "hac", "wild_bootstrap": 0},
        fixed_effects="none",
    )
    medians = bootstrap.medians_over_layers(fits, stack_of(table), np.empty((0, 3, 3)), 0.05)
    parts = {"coefficients": tidy, "goodness": goodness, "medians": medians, **changes}
    fitted = SimpleNamespace(settings=settings, bins=None, **parts)
    return summaries.findings(fitted, tidy[["layer", "term"]], "m, c")


def test_findings_name_layers_without_a_fit(results):
    goodness = results[2]
    more = pd.concat([goodness, goodness.tail(1).assign(layer=3, status="the outcome is constant")])
    text = finding_of(results, goodness=more)
    assert text.startswith(
        "m, c: 3 of 4 layers fitted, 300 rows from 10 documents\n  lag 1, pooled"
    )
    assert text.endswith("  layer 3 was not fitted: the outcome is constant\n")
    none = goodness.assign(status="the outcome is constant")
    assert "nan" not in finding_of(results, goodness=none)


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
