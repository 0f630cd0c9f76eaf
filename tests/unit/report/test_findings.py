"""The findings of a regression and the summary of a layer, from tables whose numbers are known."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import changed, design_table
from fits import columns_of, fit_settings, fits_of, fitted, layers_of
from pictures import grid

from attnlag import wording
from attnlag.claims import fits as claims_of_fits
from attnlag.claims import lags, training
from attnlag.claims.regression import claims_of_regression
from attnlag.claims.row import Verdict
from attnlag.claims.run import Claims
from attnlag.fields import scale_label
from attnlag.regression import labels
from attnlag.regression.inference import layer_fit
from attnlag.regression.inference import results as tables_of_fits
from attnlag.regression.settings import Errors
from attnlag.regression.slopes.decomposition import EFFECTS, POOLED
from attnlag.report import findings, summaries


@pytest.fixture(scope="module", name="results")
def fitted_results():
    table = design_table([30] * 10, 3)
    layers = layers_of(table)
    fits = fits_of(layers, "nonrobust", 5)
    tidy = layer_fit.coefficients_table(fits, Errors(covariance="nonrobust"))
    tests = ["jarque_bera", "breusch_pagan", "omitted"]
    names = [*tests, *(f"{name}_p_value" for name in tests)]
    names += ["skewness", "kurtosis", "durbin_watson", "omitted_f"]
    numbers = pd.DataFrame(0.25, range(3), names)
    return tidy, tables_of_fits.fits_table(fits, [0] * 3, numbers, {}, "holm"), table


def fitted_of(results, **changes):
    """Return a fitted regression of three layers, with other settings or tables."""
    tidy, goodness, _ = results
    parts = {"coefficients": tidy, "goodness": goodness, "layers": [0, 1, 2]}
    parts |= {"settings": fit_settings(covariance="nonrobust")}
    return SimpleNamespace(**parts | changes)


def test_the_layer_summary_has_the_numbers_of_statsmodels(results, subtests):
    table = results[2]
    text = summaries.layer_summary(fitted_of(results), 1, "a name")
    y, x, _ = columns_of(table, 1)
    oracle = sm.OLS(y, x).fit()
    assert text.splitlines()[0].strip() == "a name: layer 1"
    numbers = [f"{value:.5f}" for value in (*oracle.params, *oracle.bse)]
    numbers += [f"{oracle.rsquared:.4f}", f"{oracle.fvalue:.5g}"]
    numbers += [f"{oracle.aic:.6g} / {oracle.bic:.6g}", "0.25 (p 0.25)", "[0.025"]
    for words in (*numbers, "nonrobust", "predictive associations"):
        with subtests.test(words=words):
            assert words in text
    assert "jackknife" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_summary_says_what_was_corrected_and_what_is_unknown(results):
    settings = fit_settings(fixed_effects="document", bias_correction="half-panel")
    goodness = results[1].assign(log_likelihood=np.nan)
    text = summaries.layer_summary(fitted_of(results, goodness=goodness, settings=settings), 1, "")
    assert "Lags and leads are corrected by the half-panel jackknife" in text
    assert "R-squared within docs:" in text
    # Estimates that do not maximise the likelihood have no criterion of it.
    assert not {"AIC", "likelihood", "nan"} & set(re.findall(r"\w+", text))
    flat = {f"layer_{layer:02d}.y": np.full(300, 2.5) for layer in range(3)}
    unfitted = fitted(changed(results[2], flat), "nonrobust")
    goodness = tables_of_fits.fits_table(
        unfitted, [0] * 3, pd.DataFrame(index=range(3)), {}, "holm"
    )
    text = summaries.layer_summary(fitted_of(results, goodness=goodness), 0, "a name")
    assert "Not fitted: the outcome is constant (300 rows)." in text


# A regression of three layers.
ROWS = grid(term=["lag_1", "lag_2"], layer=range(3))
COEFFICIENTS = ROWS.assign(
    estimate=[0.03, 0.3, 0.4, -0.1, -0.2, 0.04],
    uncorrected=[0.01, 0.25, 0.35, -0.1, -0.2, 0.04],
    equivalence="absent present present present present undecided".split(),
    vcov_type="cluster",
)
MEDIANS = pd.DataFrame(
    {
        "term": ["lag_1", "lag_2"],
        "median": [0.3, -0.1],
        "conf_low": [0.25, np.nan],
        "conf_high": [0.35, np.nan],
        "lowest": [0.03, -0.2],
        "highest": [0.4, 0.04],
        "level": 0.95,
        "clusters": 13,
    }
)
FITS = pd.DataFrame(
    {
        "layer": range(3),
        "r_squared": [0.1, 0.4, 0.28],
        "cv_r_squared": [0.08, 0.35, 0.2],
        "partial_r_squared": [0.09, 0.3, 0.2],
        "r_squared_others": [0.02, 0.15, 0.1],
        "r_squared_lags": [0.09, 0.36, 0.25],
        "kurtosis": [3.1, 5.2, 4.0],
        "halves_p_adjusted": [0.001, 0.2, 0.03],
        "omitted_p_value": [0.001, 0.03, 0.9],
        "omitted_p_adjusted": [0.003, 0.06, 0.9],
        "omitted_sum": [0.30, 0.16, 0.10],
        "omitted_sum_low": [0.25, 0.11, -0.05],
        "omitted_sum_high": [0.35, 0.21, 0.25],
        "omitted_df": 3,
        "curvature_p_value": [0.001, 0.4, 0.9],
        "curvature_p_adjusted": [0.003, 0.8, 0.9],
        "curvature": [-0.20, -0.02, 0.03],
        "curvature_low": [-0.30, -0.07, -0.08],
        "curvature_high": [-0.10, 0.03, 0.14],
        "curvature_share": [0.021, 0.004, 0.0],
        "level": 0.95,
    }
).assign(status="ok", n_obs=300, n_documents=40, effective_documents=12.3, n_dropped=0)
FITS = FITS.assign(largest_cluster="tables-03", largest_cluster_rows=74)
FITS["mixer"] = "attention"
CONTROLS = ROWS.assign(
    permuted_mean=[0.02, 0.03, 0.04, 0.01, 0.01, 0.01],
    order_p_adjusted=[0.01, 0.2, 0.2] * 2,
    permutations=1999,
    permuted_within="document",
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
        ("own-x1.5", 0.063, "lag_1", 0.01, 0.22, -0.3, -0.1),
        ("own-x1.5", 0.063, "lag_2", 0.0, 0.03, -0.1, 0.1),
        ("own-x1.5", 0.063, "lags_summed", 0.01, 0.25, -0.4, -0.1),
        ("own-x1.5", 0.063, "r_squared", 0.72, 0.1, np.nan, np.nan),
    ],
    columns="scale initializer_range quantity before trained conf_low conf_high".split(),
).assign(documents=16, left_out=[""] * 8 + ["the same as own"] + [""] * 4)
BEFORE["above_own"] = BEFORE["scale"] == "own-x1.5"
BEFORE["before_low"] = BEFORE["before"] - 0.02
BEFORE["before_high"] = BEFORE["before"] + 0.02
BEFORE["level"] = 0.95
BEFORE["difference"] = (BEFORE["conf_low"] + BEFORE["conf_high"]) / 2
BEFORE["origin"] = BEFORE["scale"].map({"default": "transformers"}).fillna("stated")
GROUPS = grid(subset=["prose", "verse", "rare", "odd"], layer=range(2)).assign(
    term="lag_1",
    estimate=[0.1, 0.3, 0.5, 0.4, *[np.nan] * 4],
    status=["ok"] * 4 + ["2 documents: too few to cluster by"] * 4,
    median=[0.2] * 2 + [0.45] * 2 + [np.nan] * 4,
    median_low=[0.1] * 2 + [0.4] * 2 + [np.nan] * 4,
    median_high=[0.3] * 2 + [0.5] * 2 + [np.nan] * 4,
    level=0.95,
)
WITHIN = {"fixed_effects": "document", "bias_correction": "half-panel"}


def of_layers(**columns):
    return {"goodness": FITS.assign(**columns)}


# What may be otherwise about the regression.
CHANGES = {
    "pooled over documents": {"settings": {}},
    "pooled over few documents": {"settings": {}, **of_layers(n_documents=39)},
    "pooled over as many as 80 of equal size": {
        "settings": {},
        **of_layers(effective_documents=80.0),
    },
    "a text with a quarter of the rows": of_layers(largest_cluster_rows=75),
    "pooled, with clusters of groups": {"settings": {"cluster": "group"}},
    "errors that do not allow for few documents": {
        "settings": {**WITHIN, "covariance": "cluster-crv1"}
    },
    "errors that are not clustered, without correction": {
        "settings": {**WITHIN, "covariance": "hac", "adjust": "none"}
    },
    "one document": {
        **of_layers(n_documents=1),
        "coefficients": COEFFICIENTS.assign(vcov_type="hac"),
    },
    "one layer": {
        "coefficients": COEFFICIENTS.query("layer == 1"),
        "goodness": FITS.query("layer == 1"),
    },
    "another term than lags": {"coefficients": COEFFICIENTS.replace({"lag_2": "position_1"})},
    "order that was not permuted": {"controls": ROWS},
    # The least p of 19 draws is alpha.
    "order with a p of 1 / 20": {
        "controls": CONTROLS.assign(order_p_adjusted=1 / 20, permutations=19)
    },
    "order with a p of 2 / 20": {
        "controls": CONTROLS.assign(order_p_adjusted=2 / 20, permutations=19)
    },
    "no control before training": {"untrained_scales": None},
    "norms that are constant before training": {"untrained_scales": BEFORE.assign(before=np.nan)},
    "an interval around no change by training": {
        "untrained_scales": BEFORE.assign(conf_low=BEFORE["conf_low"] - 0.25)
    },
    "scales that agree": {"untrained_scales": BEFORE[BEFORE["scale"] != "own-x1.5"]},
    "one scale": {"untrained_scales": BEFORE[BEFORE["scale"] == "own"]},
    "only a scale above the model's own": {
        "untrained_scales": BEFORE[BEFORE["scale"] == "own-x1.5"]
    },
    "an untrained model with a smaller R²": {
        "untrained_scales": BEFORE.assign(
            before=BEFORE["before"].where(BEFORE["before"] < 0.9, 0.8)
        )
    },
    "too few documents to test an interval of the change by training": {
        "untrained_scales": BEFORE.assign(conf_low=np.nan, conf_high=np.nan, documents=3)
    },
    "halves that do not differ": of_layers(halves_p_adjusted=0.5),
    "a correction that changes nothing": {
        "coefficients": COEFFICIENTS.assign(uncorrected=COEFFICIENTS["estimate"] + 0.001),
    },
    "halves, other documents and residuals of which nothing is known": of_layers(
        **dict.fromkeys(("halves_p_adjusted", "cv_r_squared", "omitted_p_value"), np.nan)
    ),
    "residuals without order": of_layers(omitted_p_adjusted=0.9),
    "a layer that is predicted worse than by its mean": of_layers(r_squared=[-0.31, 0.2, 0]),
    "norms that are zero": of_layers(n_dropped=[0, 3, 4]),
    "layers without attention": of_layers(mixer=["Mamba", "attention", "Mamba"]),
    "a layer that was not fitted": of_layers(status=["ok", "ok", "the outcome is constant"]),
    "no layer that was fitted": of_layers(status="the outcome is constant", n_dropped=[7, 7, 0]),
    # Extremes of noisy medians are not stated without intervals.
    "groups without intervals": {"groups": GROUPS.assign(median_low=np.nan)},
    "one group": {"groups": GROUPS[:2]},
}
# The text; for each change, how many of its lines go, and those that come.
STORED = Path(__file__).with_name("findings.txt").read_text(encoding="utf-8").rstrip()
TEXT, *CHANGED = STORED.split("\n\n")


@pytest.fixture
def text_of():
    """Return the function that gives the findings, with other settings or tables."""
    tables = {"coefficients": COEFFICIENTS, "medians": MEDIANS, "goodness": FITS}
    tables |= {"controls": CONTROLS, "untrained_scales": BEFORE, "groups": GROUPS}
    tables["influence"] = pd.DataFrame()

    def text(settings=WITHIN, **changed):
        settings = fit_settings(**{"covariance": "cluster", **settings})
        fitted = SimpleNamespace(settings=settings, **tables | changed)
        texts = int(fitted.goodness["n_documents"].max())
        claims = Claims(tuple(claims_of_regression(fitted, texts)))
        return findings.findings_of_regression(claims, "m, c", "norm").rstrip()

    return text


def test_findings_state_sizes_controls_counts_and_groups(text_of):
    assert text_of() == TEXT


@pytest.mark.parametrize(
    ("change", "stated"), list(zip(CHANGES, CHANGED, strict=True)), ids=list(CHANGES)
)
def test_what_is_otherwise_changes_its_own_lines(text_of, change, stated):
    text, lines = TEXT.splitlines(), text_of(**CHANGES[change]).splitlines()
    gone = sum(line not in lines for line in text)
    come = [line for line in lines if line not in text]
    assert "\n".join([f"{change}, lines gone: {gone}", *come]) == stated


# Lag 1 of the default model by multiple of its own scale, in 8 texts and in 9 others with another
# seed, and with the trained weights in the same texts; which scales are drawn, and what is said.
EIGHT_TEXTS = {"own": 0.497, "own-x1.2": 0.248, "own-x1.3": 0.089, "own-x1.5": 0.006}
NINE_TEXTS = {"own": 0.491, "own-x1.2": 0.196, "own-x1.3": 0.069, "own-x1.5": 0.004}
OTHER_DEFAULTS = [
    (EIGHT_TEXTS, 0.229, {"own": "smaller after", "own-x1.5": "larger after"}, ["own-x1.5"]),
    (NINE_TEXTS, 0.239, {"own": "smaller after", "own-x1.5": "larger after"}, ["own-x1.5"]),
    (EIGHT_TEXTS, 0.229, {"own": "smaller after", "own-x1.2": "not shown to differ"}, []),
    (EIGHT_TEXTS, 0.229, {"own-x1.3": "larger after", "own-x1.5": "larger after"}, ["own-x1.5"]),
]


@pytest.mark.parametrize(("values", "trained", "expected", "gone"), OTHER_DEFAULTS)
def test_the_control_before_training_says_what_other_texts_and_scales_show(
    values, trained, expected, gone, subtests
):
    before = np.array([values[scale] for scale in expected])
    rows = pd.DataFrame({"scale": [*expected], "before": before, "trained": trained})
    rows["above_own"] = rows["scale"] != "own"
    rows = rows.assign(
        quantity="lag_1",
        difference=before - trained,
        conf_low=before - trained - 0.06,
        conf_high=before - trained + 0.06,
        before_low=before - 0.02,
        before_high=before + 0.02,
        level=0.95,
        initializer_range=0.04,
        origin="stated",
        documents=8,
        left_out="",
    )
    claims = [*training.by_scale(rows, bound=0.05, nearest="lag_1")]
    changes = [row for row in claims if row.claim == "change_by_training"]
    assert [row.subject for row in changes] == [f"lag_1, {scale}" for scale in expected]
    for row, (scale, words) in zip(changes, expected.items(), strict=True):
        with subtests.test(scale=scale):
            assert words in wording.text(row, "finding")
    within = [row.names[1] for row in claims if row.verdict is Verdict.WITHIN]
    assert within == gone


def test_scales_have_names_and_origins():
    assumed = BEFORE.replace({"origin": {"stated": "assumed"}})
    texts = wording.texts([*training.scales(assumed)], "finding")
    assert texts[0] == "the model's own scale 0.042 (assumed, not stated)"
    assert texts[2] == "the model's own scale by depth left out: the same as own"
    columns = ["untrained_own", "untrained_by_depth", "untrained_own_x1.5"]
    scales = [labels.scale_of(column) for column in columns]
    assert scales == ["own", "by-depth", "own-x1.5"]
    labels_of_scales = [scale_label(scale) for scale in scales]
    assert labels_of_scales == ["own", "by-depth", "1.5 × own"]
    controls = pd.DataFrame(columns=[*columns, "untrained_own_sum", "untrained_documents"])
    assert labels.untrained_columns(controls) == columns


def test_consecutive_lags_are_written_as_spans():
    lags = [3], [3, 4], [3, 4, 6, 7, 8, 10]
    assert list(map(labels.spans, lags)) == ["lag 3", "lags 3 and 4", "lags 3, 4, 6 to 8 and 10"]


def steps(tags=5):
    """Return nested models of two layers, in which parts of speech add some effects."""
    rows = grid(step=[POOLED, *EFFECTS], layer=range(2))
    means = dict(zip([POOLED, *EFFECTS], [0.31, 0.27, 0.26, 0.25, 0.28, 0.32], strict=True))
    rows["estimate"] = rows["step"].map(means) + rows["layer"].map({0: 0.1, 1: -0.1})
    effects = [1, 9, 9 + tags, 9 + 2 * tags, 60, 90]
    rows["effects"] = rows["step"].map(dict(zip(means, effects, strict=True)))
    return rows.assign(term="lag_1", n_documents=9)


def test_each_line_holds_one_thing_more_fixed():
    table = steps()
    # A layer without an estimate in one step counts in none.
    table.loc[len(table)] = {"step": POOLED, "layer": 2, "estimate": 9.0, "term": "lag_1"}
    assert wording.texts(lags.as_more_is_held_fixed(table), "finding") == [
        "lag 1, nothing held fixed: 0.31 (mean over layers: 2; documents: 9)",
        "lag 1, documents held fixed: 0.27 (mean over layers: 2; documents: 9)",
        "lag 1, parts of speech held fixed too: 0.26 (mean over layers: 2; documents: 9)",
        "lag 1, parts of speech of previous tokens held fixed too: 0.25 (mean over layers: 2; "
        "documents: 9)",
        "lag 1, tokens held fixed too: 0.28 (mean over layers: 2; documents: 9)",
        "lag 1, previous tokens held fixed too: 0.32 (mean over layers: 2; documents: 9)",
    ]


def test_parts_of_speech_are_not_held_fixed_without_a_tagger():
    lines = wording.texts(lags.as_more_is_held_fixed(steps(tags=0)), "finding")
    assert [line.partition(":")[0] for line in lines] == [
        "lag 1, nothing held fixed",
        "lag 1, documents held fixed",
        "lag 1, tokens held fixed too",
        "lag 1, previous tokens held fixed too",
    ]
    assert lags.as_more_is_held_fixed(steps().assign(estimate=np.nan)) == []


@pytest.mark.parametrize("fields", [{"largest_cluster_rows": 74}, {"n_documents": 5}])
def test_a_text_of_fewer_rows_or_among_few_texts_is_not_named(fields):
    fits = FITS.assign(**{"largest_cluster_rows": 150} | fields)
    assert list(claims_of_fits.dominating_document(fits)) == []


# What the findings of a comparison of models say, without lines.
OF_COMPARISON = {"models_differ", "replicated"}


def test_each_claim_that_findings_have_words_for_stands_in_a_line():
    lines = [*findings.REGRESSION, findings.FEW_TEXTS]
    for of_analysis in findings.LINES_OF_ANALYSES.values():
        lines += of_analysis
    named = {"fitted", *(claim for line in lines for claim in line.claims)}
    said = {name for name, words in wording.CLAIMS.items() if words.finding}
    assert named == said - OF_COMPARISON
