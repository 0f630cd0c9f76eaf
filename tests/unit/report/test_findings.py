import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import design_table
from fits import columns_of, fit_settings, fits_of, layers_of

from attnlag.claims import training
from attnlag.regression import labels
from attnlag.regression.beyond.decomposition import EFFECTS, POOLED
from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.estimation.regress import LayerFit
from attnlag.regression.inference import bootstrap
from attnlag.regression.inference import results as tables_of_fits
from attnlag.regression.settings import Errors
from attnlag.report import findings, summaries


@pytest.fixture(scope="module", name="results")
def fitted_results():
    table = design_table([30] * 10, 3)
    layers = layers_of(table)
    fits = fits_of(layers, "nonrobust", 5)
    tidy = tables_of_fits.coefficients_table(fits, Errors(covariance="nonrobust"))
    tests = ["jarque_bera", "breusch_pagan", "breusch_godfrey"]
    names = [*tests, *(f"{name}_p_value" for name in tests)]
    numbers = pd.DataFrame(0.25, range(3), [*names, "skewness", "kurtosis", "durbin_watson"])
    return (
        fits,
        tidy,
        tables_of_fits.fits_table(fits, [0] * len(fits), numbers, {}, "holm"),
        table,
    )


def fitted_of(results, **changes):
    """Return a fitted regression of three layers, with other settings or tables."""
    fits, tidy, goodness, _ = results
    medians = bootstrap.medians_over_layers(fits, np.empty((0, 3, 3)), 0.05)
    parts = {"coefficients": tidy, "goodness": goodness, "medians": medians}
    parts |= {"settings": fit_settings(covariance="nonrobust"), "layers": [0, 1, 2]}
    return SimpleNamespace(**{**parts, "bins": None, "residual_sums": None, **changes})


def test_the_layer_summary_has_the_numbers_of_statsmodels(results):
    table = results[3]
    text = summaries.layer_summary(fitted_of(results), 1, "a name")
    y, x, _ = columns_of(table, 1)
    oracle = sm.OLS(y, x).fit()
    assert text.splitlines()[0].strip() == "a name: layer 1"
    for value in (*oracle.params, *oracle.bse):
        assert f"{value:.5f}" in text
    assert f"{oracle.rsquared:.4f}" in text
    assert f"{oracle.aic:.6g} / {oracle.bic:.6g}" in text
    assert f"{oracle.fvalue:.5g}" in text
    assert "[0.025" in text
    assert "nonrobust" in text
    assert "0.25 (p 0.25)" in text
    assert "predictive associations" in text
    assert "jackknife" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_summary_says_what_was_corrected_and_what_is_unknown(results):
    settings = fit_settings(fixed_effects="document", bias_correction="half-panel")
    goodness = results[2].assign(log_likelihood=np.nan)
    text = summaries.layer_summary(fitted_of(results, goodness=goodness, settings=settings), 1, "")
    assert "Lags and leads are corrected by the half-panel jackknife" in text
    assert "R-squared within docs:" in text
    # Estimates that do not maximise the likelihood have no criterion of it.
    assert not {"AIC", "likelihood", "nan"} & set(re.findall(r"\w+", text))
    solution = Solution(layers_of(results[3])[0], "the outcome is constant", 12)
    unfitted = [LayerFit(solution, "nonrobust")] * 3
    goodness = tables_of_fits.fits_table(
        unfitted, [0, 0, 0], pd.DataFrame(index=range(3)), {}, "holm"
    )
    text = summaries.layer_summary(fitted_of(results, goodness=goodness), 0, "a name")
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
        "permuted_within": "document",
    }
)

# Quantities before and after training, with the interval of their difference, by scale.
BEFORE = pd.DataFrame(
    [
        ("own", 0.042, "lag_1", 0.5, 0.22, 0.2, 0.4),
        ("own", 0.042, "lag_2", 0.43, 0.03, 0.2, 0.4),
        ("own", 0.042, "lags_summed", 0.93, 0.25, 0.2, 0.4),
        ("own", 0.042, "r_squared", 0.98, 0.1, np.nan, np.nan),
        ("default", 0.02, "lag_1", 1.43, 0.22, 0.9, 1.3),
        ("default", 0.02, "lag_2", -0.44, 0.03, -0.5, -0.3),
        ("default", 0.02, "lags_summed", 0.99, 0.25, 0.6, 0.8),
        ("default", 0.02, "r_squared", 1.0, 0.1, np.nan, np.nan),
        ("by-depth", 0.042, "lag_1", *[np.nan] * 4),
    ],
    columns="scale initializer_range quantity before trained conf_low conf_high".split(),
).assign(documents=16, left_out=[""] * 8 + ["the same as own"])
BEFORE["origin"] = BEFORE["scale"].map({"default": "transformers"}).fillna("stated")


def test_findings_state_sizes_with_the_interval_of_the_median():
    medians = pd.DataFrame(
        {"median": 0.3, "conf_low": [0.25, np.nan], "conf_high": [0.35, np.nan], "lowest": 0.2},
        index=pd.Index(["lag_1", "lag_2"], name="term"),
    ).assign(highest=0.4)
    fits = pd.DataFrame({"status": ["ok"], "n_documents": 20})
    settings = SimpleNamespace(fixed_effects="document", alpha=0.05)
    fitted = SimpleNamespace(
        medians=medians.reset_index(), coefficients=CONTROLS, goodness=fits, settings=settings
    )
    assert findings.sizes(fitted) == [
        "lag 1, within documents: median 0.30 over the layers (95% interval 0.25 to 0.35)",
        "lag 1 is 0.20 to 0.40, positive in 2 of 2 layers",
        "lag 2, within documents: median 0.30 over the layers (no interval: too few documents to "
        "draw from)",
        "lag 2 is 0.20 to 0.40, positive in 1 of 2 layers",
    ]
    fitted.settings = SimpleNamespace(fixed_effects="none", alpha=0.05)
    fitted.coefficients = CONTROLS[CONTROLS["layer"] == 0]
    first, _ = findings.sizes(fitted)
    assert first == "lag 1, pooled over documents: 0.30 in the one layer"
    fitted.goodness = fits.assign(n_documents=1)
    assert findings.sizes(fitted)[0] == "lag 1, in one document: 0.30 in the one layer"
    # Intervals of pooled medians need more documents than those within documents.
    fitted.coefficients = CONTROLS
    for documents, lines in ((39, 5), (40, 4)):
        fitted.goodness = pd.concat([fits, fits]).assign(n_documents=documents)
        assert len(findings.sizes(fitted)) == lines
    fitted.goodness["n_documents"] = 39
    assert findings.sizes(fitted)[-1].startswith("with 39 documents pooled, intervals of medians")


def test_the_finding_on_order_covers_all_lags_together():
    settings = fit_settings()
    assert findings.order_findings(CONTROLS, settings) == [
        "lags 1 and 2 depend on the order of tokens in 1 of 2 layers (tokens permuted within "
        "their documents 99 times, one joint test per layer, p < 0.05, max over the layers)",
        "if order meant nothing, lag 1 would be 0.02 to 0.04",
    ]
    (line,) = findings.order_findings(CONTROLS[["layer", "term"]], settings)
    assert line == "the order of tokens was not permuted: no control for it"


def test_the_finding_on_random_weights_holds_at_every_scale():
    scales = "the model's own 0.042; transformers' 0.02; by depth left out: the same as own"
    assert findings.random_weights_findings(BEFORE) == [
        "before training, lag 1 is 0.50 to 1.43 and R² 0.98 to 1.00 in the median layer, by the "
        "scale of the initial weights; after it, 0.22 and 0.10 (the same 16 documents, neither "
        "corrected for bias)",
        "before training, lags 1 and 2 add up to 0.93 to 0.99; after it, to 0.25",
        f"scales of the initial weights: {scales}",
        "lag 1 is smaller than before training at every scale drawn (mean over the layers, "
        "jackknife over documents)",
    ]
    assert training.range_of(BEFORE, "lag_1").direction == "more"
    # It has the opposite sign at another scale.
    assert training.range_of(BEFORE, "lag_2").direction == ""
    assert training.range_of(BEFORE, "r_squared").direction == ""
    doubtful = BEFORE.assign(conf_low=BEFORE["conf_low"] - 0.25)
    *_, line = findings.random_weights_findings(doubtful)
    assert line.startswith("lag 1 is neither shown to be smaller nor larger than before training")
    assumed = BEFORE.replace({"origin": {"stated": "assumed"}})
    assert training.assumed_scale(assumed) == "its own scale is not stated, 0.042 assumed"
    assert "the model's own 0.042 (assumed);" in training.scales_in_words(assumed)
    columns = ["random_weights", "random_weights_own", "random_weights_by_depth"]
    assert list(map(training.scale_of, columns)) == ["first", "own", "by-depth"]
    constant = BEFORE.assign(before=np.nan)
    (line,) = findings.random_weights_findings(constant)
    assert line.startswith("random weights say nothing here")
    (line,) = findings.random_weights_findings(None)
    assert "no control for it" in line


def test_the_findings_name_layers_whose_halves_differ():
    fits = pd.DataFrame({"layer": [0, 1, 2], "halves_p_adjusted": [0.001, 0.2, 0.03]})
    rows = pd.DataFrame({"layer": [0, 1, 2], "term": "lag_1", "estimate": [0.4, 0.3, 0.2]})
    rows["uncorrected"] = rows["estimate"] - 0.05
    settings = fit_settings(bias_correction="half-panel")
    fitted = SimpleNamespace(coefficients=rows, goodness=fits, settings=settings)
    assert findings.halves_findings(fitted) == [
        "first and second halves of texts differ in 2 of 3 layers; the correction is doubtful "
        "there (lag 1 0.25 without it, 0.30 with it): layers 0 and 2 (AHT test of equal lags, p < "
        "0.05, Holm over the layers)",
    ]
    fitted.goodness = fits.assign(halves_p_adjusted=0.5)
    none = findings.halves_findings(fitted)
    assert none[0].startswith("first and second halves of texts differ in 0 of 3 layers (AHT")
    assert none[1].endswith("in the median layer")
    fitted.goodness = fits.assign(halves_p_adjusted=np.nan)
    assert findings.halves_findings(fitted) == []


def test_the_findings_count_layers_with_effects_that_matter(results):
    _, tidy, fits, _ = results
    rows = tidy.assign(equivalence=["absent", "present", "present", "undecided"] * 2 + ["present"])
    lines = findings.counts(fitted_of(results, coefficients=rows))
    assert lines[:2] == [
        "lag 1 is above 0.05 in 1 of 3 layers, shown to be smaller in size in 1, undecided in 1 "
        "(p < 0.05, Holm over the layers)",
        "lag 2 is above 0.05 in 0 of 3 layers, below −0.05 in 3 (p < 0.05, Holm over the layers)",
    ]
    best = fits.loc[fits["r_squared"].idxmax()]
    assert lines[2].endswith(f"to {best.r_squared:.2f} (highest in layer {best.layer})")
    assert lines[3].startswith("R² in unseen documents is ")
    partial = fits["partial_r_squared"].median()
    assert not any("of the lags" in line for line in lines)
    position = rows.assign(term=rows["term"].replace("lag_2", "position_1"))
    last = findings.counts(fitted_of(results, coefficients=position))[-1]
    assert last.startswith(f"R² of the lags, given the other terms, is {partial:.2f} in the ")
    within = fit_settings(covariance="nonrobust", fixed_effects="document")
    given = "R² in unseen documents, their means being given, is "
    fitted = fitted_of(results, coefficients=rows, settings=within)
    assert findings.counts(fitted)[3].startswith(given)
    unknown = fitted_of(results, goodness=fits.assign(cv_r_squared=np.nan))
    assert not any("nan" in line for line in findings.counts(unknown))


def finding_of(results, goodness):
    tidy, settings = results[1], fit_settings(covariance="hac", adjust="none")
    tables = {"groups": tidy.assign(subset="one", status="ok"), "controls": tidy[["layer", "term"]]}
    tables["goodness"] = goodness.assign(breusch_godfrey_p_value=np.nan)
    fitted = fitted_of(results, settings=settings, before_training=None, **tables)
    return findings.of_regression(fitted, "m, c")


def test_findings_name_layers_without_a_fit(results):
    goodness = results[2]
    more = pd.concat([goodness, goodness.tail(1).assign(layer=3, status="the outcome is constant")])
    text = finding_of(results, goodness=more)
    assert text.startswith(
        "m, c: 3 of 4 layers fitted, 300 rows from 10 documents\n  lag 1, pooled"
    )
    assert "\n  layer 3 was not fitted: the outcome is constant\n" in text
    none = goodness.assign(status="the outcome is constant")
    assert "nan" not in finding_of(results, goodness=none)


@pytest.mark.parametrize(
    ("odd", "line"),
    [
        (
            {"mixer": ["Mamba", "attention", "Mamba"]},
            "attention: Mamba in layers 0 and 2",
        ),
        (
            {"r_squared": [-0.31, 0.2, 0]},
            "in 1 layer (0) the regression predicts worse than the mean does (R² down to −0.31)",
        ),
        ({"n_dropped": [0, 3, 4]}, "7 rows of 2 layers dropped for zero or non-finite norms"),
    ],
)
def test_findings_name_what_is_odd_about_layers(results, odd, line):
    assert line in finding_of(results, results[2].assign(**odd))
    assert line not in finding_of(results, results[2])


def test_consecutive_lags_are_written_as_spans():
    lags = [3], [3, 4], [3, 4, 6, 7, 8, 10]
    assert list(map(labels.spans, lags)) == ["lag 3", "lags 3 and 4", "lags 3, 4, 6 to 8 and 10"]


def test_findings_on_residuals_state_the_size_beside_the_test(monkeypatch):
    fits = pd.DataFrame({"status": "ok", "breusch_godfrey_p_value": [0.001, 0.03, 0.9]})
    remaining = pd.Series([0.1, 0.16, 0.3])
    monkeypatch.setattr(findings, "order_left", lambda sums: ([3, 4, 5], remaining))
    settings = fit_settings()
    fitted = SimpleNamespace(goodness=fits, residual_sums=None, settings=settings)
    assert findings.residual_findings(fitted) == [
        "the lags are too few in 1 of 3 layers (autocorrelation of residuals: Breusch-Godfrey, "
        "lags 1 to 10, p < 0.05, Holm over the layers)",
        "lags 3 to 5, which are not in the regression, still carry 0.16 in the median layer "
        "(sum of partial autocorrelations, 0.10 to 0.30)",
    ]
    fitted.goodness = fits.assign(breusch_godfrey_p_value=0.9)
    (only,) = findings.residual_findings(fitted)
    assert only.startswith("no layer is shown to need more lags (autocorrelation of residuals: ")


@pytest.mark.parametrize(
    ("held", "tags", "fixed", "change", "documents"),
    [
        (
            0.2,
            5,
            "documents, parts of speech and tokens",
            "moves lag 1 from 0.31 to 0.20",
            "9 documents with parts of speech",
        ),
        # Without a tagger, no part of speech is held fixed.
        (0.313, 0, "documents and tokens", "leaves lag 1 at 0.31", "9 documents"),
    ],
)
def test_what_is_held_fixed_moves_or_leaves_the_nearest_lag(held, tags, fixed, change, documents):
    steps = pd.DataFrame({"step": [POOLED, *EFFECTS], "estimate": [0.31, 0.3, 0.3, 0.3, 0.3, held]})
    steps["effects"] = [1, 9, *(9 + tags + more for more in (0, tags, 40, 80))]
    steps = steps.assign(term="lag_1", layer=0, sampled=False, n_documents=9)
    assert findings.decomposition_findings(steps) == [
        f"holding {fixed} fixed {change} (mean over the layers; {documents})"
    ]


def test_findings_on_groups_state_sizes_and_name_groups_without_one():
    table = pd.DataFrame(
        {
            "subset": np.repeat(["prose", "verse", "rare", "odd"], 2),
            "term": "lag_1",
            "estimate": [0.1, 0.3, 0.5, 0.4, *[np.nan] * 4],
            "status": ["ok"] * 4 + ["2 documents: too few to cluster by"] * 4,
            "median": [0.2] * 2 + [0.45] * 2 + [np.nan] * 4,
            "median_low": [0.1] * 2 + [0.4] * 2 + [np.nan] * 4,
            "median_high": [0.3] * 2 + [0.5] * 2 + [np.nan] * 4,
        }
    )
    # Extremes of noisy medians are not stated without intervals.
    without = findings.group_findings(table.assign(median_low=np.nan))
    assert findings.group_findings(table)[1:] == without
    assert findings.group_findings(table) == [
        "lag 1 is positive in every group of documents: 0.20 (prose) to 0.45 (verse) in the median "
        "layer; medians over the layers: 0.20 (0.10 to 0.30) in prose to 0.45 (0.40 to 0.50) in "
        "verse; intervals hold jointly for all 2",
        "no coefficients of 2 groups (rare, odd): 2 documents: too few to cluster by",
    ]
    assert findings.group_findings(table[:2]) == [
        "all documents are in one group, so there are no groups to compare"
    ]


def test_a_warning_is_given_where_intervals_may_cover_too_little():
    def warnings(effective, **settings):
        columns = {"status": "ok", "n_documents": [200], "effective_documents": effective}
        return findings.few_clusters(
            SimpleNamespace(
                goodness=pd.DataFrame(columns),
                settings=fit_settings(**settings),
                medians=pd.DataFrame({"clusters": [13]}),
            )
        )

    assert warnings(80.0, covariance="cluster") == []
    (line,) = warnings(12.3, covariance="cluster")
    assert "200 documents, which are as informative as 12 of equal size" in line
    fewer = "with fewer than 50, intervals may cover less than they state"
    assert line.endswith(f"{fewer}, if documents differ in level; document effects mend it")
    assert warnings(12.3, covariance="cluster", fixed_effects="document") == []
    (line,) = warnings(12.3, covariance="cluster-crv1", fixed_effects="document")
    assert "`cluster` allows for it" in line
    (line,) = warnings(12.3, covariance="cluster", cluster="group")
    assert "13 groups" in line
    assert line.endswith(fewer)
    assert warnings(12.3, covariance="hac") == []
