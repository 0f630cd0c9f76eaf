"""Predictions beside effects, against counts by hand."""

import numpy as np
import pandas as pd
import pytest
from designs import effects_table
from oracles import multipletests
from scipy import stats
from stage_settings import ELASTICITIES as SETTINGS

from attnlag.interventions import elasticities, prediction_vs_effect

PAIR = ("attention", "attention")
TARGET = 60


def effects_of(values):
    """Return sums of documents of 40 tokens each, given effects (documents, sources)."""
    return effects_table(
        (f"d{document}", source, TARGET, 1, 40, 40 * effect)
        for (document, source), effect in np.ndenumerate(values)
    )


def beside_predictions(effects, coefficients, target=TARGET):
    """Return elasticities beside a regression whose coefficients at lag 1 are given, by source."""
    columns = dict.fromkeys(elasticities.PREDICTIVE, np.nan)
    columns |= {"predictive": coefficients, "predictive_std_error": 0.01}
    sources = range(len(coefficients))
    prediction = pd.DataFrame({"source_layer": sources, "target_layer": target, "lag": 1} | columns)
    table = elasticities.table(effects, SETTINGS)
    return elasticities.with_predictive(table, {PAIR: prediction.assign(predictive_df=99)})


def test_counts_are_those_by_hand_after_holms_correction():
    random = np.random.default_rng(1)
    means = np.array([0.3, -0.2, 0.02, 0.0, 0.1, 0.0])
    values = means + random.normal(0, 0.01, (12, 6))
    # One effect is clear by itself and not after the correction.
    apart = values[:, 5] - values[:, 5].mean()
    values[:, 5] = apart + stats.t.isf(0.02, 11) * stats.sem(apart)
    coefficients = np.array([0.5, 0.3, -0.2, 0.4, 0.25, 0.001])
    rows = effects_of(values)
    table = beside_predictions(rows, coefficients)
    found = prediction_vs_effect.of_pairs(rows, table, SETTINGS)
    row = found.set_index("prediction").loc["alone"]
    p = stats.ttest_1samp(values, 0).pvalue
    clear = multipletests(p, method="holm")[0]
    assert (p < 0.05).sum() == clear.sum() + 1 == 5
    same = np.sign(values.mean(axis=0)) == np.sign(coefficients)
    assert (row["pairs"], row["clear"]) == (6, 4)
    assert row["same_sign"] == (clear & same).sum() == 2
    # Three of four coefficients are positive, and so are three of four effects.
    assert row["by_chance"] == pytest.approx(4 * (9 / 16 + 1 / 16))
    sizes = stats.spearmanr(np.abs(table["estimate"]), np.abs(coefficients)).statistic
    assert row["rank_correlation"] == pytest.approx(sizes)
    # All but the last coefficient exceed their interval.
    assert row["significant"] == 5


def test_pairs_of_layers_are_those_whose_target_comes_later():
    values = np.random.default_rng(0).normal(0.1, 0.05, (12, 5))
    rows = effects_of(values).assign(target_layer=3)
    table = beside_predictions(rows, np.full(5, 0.2), target=3)
    found = prediction_vs_effect.of_pairs(rows, table, SETTINGS)
    assert found["pairs"].tolist() == [3]


def test_a_layer_has_no_effect_on_itself():
    table = pd.DataFrame(
        {"layer": [0, 1, 2], "term": "lag_1", "p_adjusted": [0.001, 0.2, 0.03], "subset": "all"}
    )
    row = prediction_vs_effect.of_the_same_layer({"attention": table}, 0.05).iloc[0]
    assert (row["prediction"], row["pairs"]) == ("same layer", 3)
    assert row["significant"] == 2
