"""The answers of a run, from tables whose numbers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from described import as_fits, in_memory, regressions_in, settings_stated
from pictures import grid, with_interval

from attnlag.regression.slopes.decomposition import EFFECTS
from attnlag.report import answers
from attnlag.storage import tables

RECORD = {
    "model": {"name": "tiny", "bits": 4, "source": "path"},
    "corpus": {"name": "small", "documents": 20, "texts": 20},
    "stages": {"tokens": {"shards": 1}, "design": {"covariates": ["position"]}},
}


def regression(folder, size, effects, medians, origin="stated", **settings):
    """Write the tables of a regression with two lags in three layers."""
    correction = "half-panel" if effects == "document" else "none"
    stated = settings_stated(fixed_effects=effects, bias_correction=correction, **settings)
    record = {**RECORD, "stages": {**RECORD["stages"], "regression": stated}}
    rows = grid(term=["lag_1", "lag_2"], layer=range(3)).assign(
        subset="all",
        estimate=[size - 0.1, size, size + 0.1, -0.2, 0.01, 0.1],
        equivalence="present present undecided present absent undecided".split(),
    )
    rows["uncorrected"] = rows["estimate"] - 0.01
    fits = pd.DataFrame({"layer": range(3), "r_squared": [0.1, 0.28, 0.4]}).assign(
        status="ok",
        n_documents=20,
        r_squared_others=[0.05, 0.1, 0.2],
        r_squared_lags=[0.09, 0.26, 0.38],
        omitted_p_value=[1e-6, 0.4, 1e-6],
        omitted_p_adjusted=[3e-6, 0.4, 3e-6],
        omitted_sum=[0.1, 0.0, 0.2],
        omitted_sum_low=[0.05, -0.05, 0.15],
        omitted_sum_high=[0.15, 0.05, 0.25],
        omitted_df=8,
        halves_p_adjusted=[0.01, 0.5, 0.5] if effects == "document" else np.nan,
    )
    controls = rows[["layer", "term"]].assign(permuted_mean=-0.001, order_p_adjusted=np.nan)
    before = pd.DataFrame({"scale": ["own", "default"], "before": [0.46, 1.42]}).assign(
        trained=size - 0.01, quantity="lag_1", initializer_range=0.02, origin=origin, left_out=""
    )
    before = with_interval(before, "before")
    before["above_own"] = False
    before["difference"] = before["before"] - before["trained"]
    before["documents"] = 20
    before["level"] = 0.95
    before["before_low"] = before["conf_low"]
    before["before_high"] = before["conf_high"]
    names = ("coefficients", "fits", "controls", "untrained_scales")
    for name, frame in zip(names, (rows, as_fits(fits), controls, before), strict=True):
        tables.write_frame(frame, folder / f"{name}.parquet", record)
    write_medians(folder, medians)


def interval(median, low=np.nan, high=np.nan):
    return {"median": median, "conf_low": low, "conf_high": high, "level": 0.95}


def write_medians(folder, medians):
    """Write the median of each term with its interval."""
    table = pd.DataFrame.from_dict(medians, orient="index", dtype=float)
    table.rename_axis("term").reset_index().to_parquet(folder / "medians.parquet")


SITE = ("tiny", "small", "attention")


def answered(base, *names):
    """Return the answers of the one site from some regressions."""
    run = in_memory(regressions_in(base, *names))
    return answers.answers_for_site(run, SITE)


@pytest.fixture
def base(tmp_path):
    """Return the folder of a model and a corpus with two regressions and one site."""
    base = tmp_path / "results" / "tiny" / "small"
    medians = {"lag_1": interval(0.23, 0.21, 0.245), "lag_2": interval(0.01)}
    medians |= {
        "response_2": interval(0.07, 0.05, 0.09),
        "response_5": interval(0.002, 0.001, 0.003),
    }
    for name, size, effects in (("pooled", 0.32, "none"), ("within", 0.23, "document")):
        (base / "attention" / name).mkdir(parents=True)
        regression(base / "attention" / name, size, effects, medians)
    steps = grid(step=["pooled", *EFFECTS], layer=range(2)).assign(term="lag_1", n_documents=20)
    steps["estimate"] = steps["step"].map({"pooled": 0.31, "document": 0.27}).fillna(0.5)
    steps["effects"] = steps["step"].map({"pooled": 1, "document": 20}).fillna(40)
    steps.to_parquet(base / "attention" / "pooled" / "nested_models.parquet")
    write_norms(base, RECORD)
    return base


def write_norms(base, record):
    """Write norms of three layers."""
    folder = base / "attention" / "norms"
    folder.mkdir(exist_ok=True)
    norms = pd.DataFrame({"document": ["a"] * 1234, "layer_00": 1.0})
    norms = norms.assign(layer_01=1.0, layer_02=1.0)
    tables.write_frame(norms, folder / "0000.parquet", record)


def test_the_answers_state_each_number_once(base):
    (base / "causal").mkdir()
    effects = pd.DataFrame(
        {"target_layer": [1, 2], "estimate": [0.04, -0.03], "coefficient": [0.34, 0.28]}
    ).assign(source_site="attention", target_site="attention", lag=1, documents=13)
    effects = with_interval(effects, reach=0.02)
    effects = effects.assign(share_low=[0.06, -0.16], share_high=[0.14, -0.06], predicted=0.5)
    effects = effects.assign(predicted_conf_low=-0.1, predicted_conf_high=1.1)
    effects = effects.assign(documents_to_decide=np.nan, share=0.1, level=0.95)
    effects = effects.assign(coefficient_conf_low=0.2, coefficient_conf_high=0.4)
    effects = pd.concat([effects, effects.assign(lag=2, estimate=9.0)])
    path = base / "causal" / "total_effects.parquet"
    sites = ["attention"]
    stages = {"elasticities": {"alpha": 0.05}}
    stages["effects"] = {"source_sites": sites, "target_sites": sites}
    tables.write_frame(effects, path, {**RECORD, "stages": stages})
    for name in ("elasticities", "prediction_vs_effect", "finite_effects"):
        tables.write_frame(pd.DataFrame(), path.with_name(f"{name}.parquet"), RECORD)
    stored = Path(__file__).with_name("answers.txt").read_text(encoding="utf-8")
    assert answers.answers_text(in_memory(regressions_in(base, "pooled", "within"))) == stored


@pytest.mark.parametrize(
    ("median", "low", "high", "word"),
    [
        (0.23, 0.2, 0.3, "Yes, neighbours have similar norms: 10% larger → 2.2% larger"),
        (0.06, 0.02, 0.1, "Undecided: 10% larger → 0.6% larger"),
        (0.01, -0.02, 0.04, "No: 10% larger → 0.1% larger"),
        # No layer is shown to be below the bound.
        (-0.2, -0.3, -0.1, "Undecided: 10% larger → 1.9% smaller"),
        (0.23, np.nan, np.nan, "Not tested: 10% larger → 2.2% larger"),
    ],
)
def test_the_first_word_depends_on_the_interval(base, median, low, high, word):
    medians = {"lag_1": interval(median, low, high), "lag_2": interval(0.0)}
    write_medians(base / "attention" / "within", medians)
    lines = answered(base, "within").lines
    assert lines[0].text.startswith(word)
    # Without a pooled regression or interventions, there are no lines on them.
    assert [line.label for line in lines[4:]] == ["before training", "Check"]


def test_relative_norms_and_an_assumed_scale_are_answered_for_as_such(base):
    medians = dict.fromkeys(("lag_1", "lag_2"), interval(0.03, 0.0, 0.06))
    kind = {"origin": "assumed", "outcome": "relative"}
    regression(base / "attention" / "within", 0.03, "document", medians, **kind)
    lines = answered(base, "within", "pooled").lines
    assert lines[0].label == "Does a large adjustment, relative to its stream, follow a large one?"
    texts = {line.label: line.text for line in lines}
    assert texts["before training"].endswith("; the model's own scale is not stated, 0.02 assumed")
    # The pooled regression has another outcome.
    assert "pooled over documents" not in texts


def test_a_pooled_regression_stands_beside_what_else_differs_where_no_models_are_nested(base):
    (base / "attention" / "pooled" / "nested_models.parquet").unlink()
    lines = answered(base, "pooled", "within").lines
    texts = {line.label: line.text for line in lines}
    assert texts["pooled over documents"] == (
        "lag 1 0.23 in pooled, which differs in fixed effects, bias correction"
    )


def test_where_no_response_is_implied_further_terms_are_given_the_others(base):
    write_medians(
        base / "attention" / "within", {"lag_1": interval(0.2), "lag_2": interval(0.0, -0.02, 0.02)}
    )
    lines = answered(base, "within").lines
    assert lines[1].label == "lag 2, other terms held fixed"
    assert lines[1].text.startswith(
        "lag 2: 0.00 (median layer, 95% interval −0.02 to 0.02); layers"
    )


def test_copies_of_few_texts_tell_of_these_texts_alone(base):
    (within,) = regressions_in(base, "within")
    within.record["corpus"]["texts"] = 5
    write_norms(base, {**RECORD, "corpus": {**RECORD["corpus"], "texts": 5}})
    found = answers.answers_for_site(in_memory([within]), SITE)
    assert ": documents: 20, different texts: 5, tokens: 1,234 · " in found.title
    assert found.lines[0].text.startswith("Too few texts to tell (5; at least 6): 10% larger")
    assert "(lag 1, median layer: 0.23, no interval; " in found.lines[0].text


def test_a_regression_without_a_fitted_layer_leaves_the_answer_to_the_next(base):
    of_both = regressions_in(base, "within", "pooled")
    within, pooled = of_both
    within.fits["status"] = "too few rows"
    lines = answers.answers_for_site(in_memory(of_both), SITE).lines
    assert lines[0].text.startswith(
        "Yes, neighbours have similar norms: 10% larger → 2.2% larger (lag 1, median layer: 0.23"
    )
    assert lines[1] == ("regression", "pooled; no layer of within was fitted", True)
    # It does not stand beside itself.
    assert lines[-2].label == "before training"
    pooled.fits["status"] = "too few rows"
    lines = answers.answers_for_site(in_memory(of_both), SITE).lines
    # A question of its own, not a part of another.
    assert lines[0][1:] == ("no layer was fitted", False)


def test_earlier_checkpoints_are_told_by_the_first_the_highest_and_the_final_step(base):
    steps = [0, 16, 1024, None]
    values = np.array([1.1, 1.4, 0.12, 0.11])
    training = pd.DataFrame({"step": pd.array(steps, dtype="Int64"), "estimate": values}).assign(
        revision="a",
        quantity="lag_1",
        conf_low=values - 0.02,
        conf_high=values + 0.02,
        difference=values - 0.11,
        difference_low=values - 0.13,
        difference_high=values - 0.09,
        level=0.95,
        layers=3,
        documents=16,
        loss=np.nan,
    )
    tables.write_frame(training, base / "attention" / "within" / "training.parquet", RECORD)
    texts = {line.label: line.text for line in answered(base, "within").lines}
    assert texts["during training"] == (
        "lag 1 1.10 at step 0; highest at step 16 (1.40); final 0.11 (same texts: 16; none "
        "corrected for bias); steps measured: 3"
    )
    # They stand in place of the random weights.
    assert "before training" not in texts


def test_regressions_of_directions_alone_have_no_answers(base):
    medians = dict.fromkeys(("lag_1", "lag_2"), interval(0.2))
    regression(base / "attention" / "within", 0.2, "document", medians, outcome="angle")
    assert answers.answers_text(in_memory(regressions_in(base, "within"))).splitlines() == [
        "tiny (4-bit) · small: documents: 20, different texts: 20, tokens: 1,234 · attention, "
        "layers: 3"
    ]
