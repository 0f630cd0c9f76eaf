import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from attnlag import crossproducts, regression, summaries


@pytest.fixture(scope="module")
def results():
    generator = np.random.default_rng(0)
    p, layers, documents = 4, 3, 10
    products = np.empty((layers, documents, p, p))
    rows = []
    for layer in range(layers):
        for g in range(documents):
            x = generator.normal(size=(30, 2))
            y = layer * 0.5 * x[:, 0] + generator.normal(size=30)
            w = np.column_stack([np.ones(30), y, x])
            products[layer, g] = w.T @ w
            rows.append(w)
    terms = ["y", "lag_1", "lag_2"]
    names = [f"d{g}" for g in range(documents)]
    stack = crossproducts.Stack(terms, list(range(layers)), names, products, np.zeros((layers, p)))
    stack = crossproducts.merged([stack])
    fits = regression.fit(stack, "nonrobust", 5)
    tidy = regression.coefficients(fits, stack, covariance="nonrobust", alpha=0.05, adjust="holm")
    return fits, tidy, regression.fits_table(fits, stack.layers, [0] * len(fits)), np.array(rows)


def test_layer_summary_has_the_numbers_of_statsmodels(results):
    fits, tidy, _, rows = results
    text = summaries.layer_summary(
        fits[1], tidy[tidy["layer"] == 1], title="a title", alpha=0.05, adjust="holm"
    )
    w = rows[10:20].reshape(-1, 4)
    oracle = sm.OLS(w[:, 1], w[:, [0, 2, 3]]).fit()
    assert text.splitlines()[0].strip() == "a title"
    for value in (*oracle.params, *oracle.bse):
        assert f"{value:.5f}" in text
    assert f"{oracle.rsquared:.4f}" in text
    assert f"{oracle.aic:.6g} / {oracle.bic:.6g}" in text
    assert f"{oracle.fvalue:.5g}" in text
    assert "[0.025" in text
    assert "nonrobust" in text
    assert "predictive associations" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_layer_without_a_fit_says_why(results):
    _, tidy, _, _ = results
    fit = regression.unfitted(3, 12, 4, np.ones(3), "the outcome is constant")
    text = summaries.layer_summary(fit, tidy[:3], title="t", alpha=0.05, adjust="holm")
    assert "Not fitted: the outcome is constant (12 rows)." in text


def test_findings_count_what_is_significant(results):
    _, tidy, fits, _ = results
    text = summaries.findings(tidy, fits, name="m, c", alpha=0.05, adjust="holm")
    lag_1 = tidy[tidy["term"] == "lag_1"]
    number = (lag_1["p_adjusted"] < 0.05).sum()
    assert 1 <= number < 3
    lines = text.splitlines()
    assert lines[0] == "m, c: 3 of 3 layers fitted, 300 rows from 10 documents"
    assert lines[1].startswith(f"  lag 1: significant in {number} of 3 layers (p < 0.05, holm")
    best = fits.loc[fits["r_squared"].idxmax()]
    assert f"to {best.r_squared:.3f} (highest in layer {best.layer})" in lines[3]


def test_findings_name_layers_without_a_fit(results):
    _, tidy, fits, _ = results
    fits = pd.concat([fits, fits.tail(1).assign(layer=3, status="the outcome is constant")])
    text = summaries.findings(tidy, fits, name="m, c", alpha=0.05, adjust="none")
    assert "m, c: 3 of 4 layers fitted" in text
    assert text.endswith("  layer 3 was not fitted: the outcome is constant\n")
