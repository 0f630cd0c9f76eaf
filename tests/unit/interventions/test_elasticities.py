"""Ratios of document sums and their intervals, on effects whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from designs import effects_table
from oracles import mean_of
from stage_settings import ELASTICITIES as SETTINGS

from attnlag.interventions import cross_layer, elasticities, prediction_vs_effect
from attnlag.interventions.edits import Effect
from attnlag.interventions.effects import EFFECTS_SCHEMA, table
from attnlag.report.causal import causal_findings

NO_PREDICTIONS = pd.DataFrame(columns=cross_layer.PREDICTION)
NO_TRIALS = pd.DataFrame(columns=[*prediction_vs_effect.TRIAL_KEYS, *prediction_vs_effect.COUNTS])


def test_an_exact_effect_has_no_error_and_one_document_no_interval():
    effects = [("a", 0, 0, 0, 3, 3 * 0.6), ("a", 0, 1, 0, 3, 0.4)]
    effects += [("b", 0, 0, 0, 5, 5 * 0.6), ("b", 0, 1, 0, 5, 0.1)]
    both = elasticities.table(effects_table(effects), SETTINGS)
    # But for rounding, which is not taken for a difference between documents.
    assert both.loc[0, ["std_error", "conf_low", "conf_high"]].tolist() == [0, 0.6, 0.6]
    # As many tokens in each document, each with an equal part of the effect.
    expected = mean_of([0.4 / 3] * 3 + [0.1 / 5] * 5, np.array(list("aaabbbbb")), 0.05)
    expected["estimate"] = expected.pop("mean")
    assert both.loc[1, list(expected)].to_dict() == pytest.approx(expected)
    alone = elasticities.table(effects_table(effects[:2]), SETTINGS)
    assert alone["std_error"].isna().all()


def lags_of(estimates):
    """Return lag 1 of a regression in the layers from 1 on."""
    layers = range(1, 1 + len(estimates))
    table = pd.DataFrame({"layer": layers, "estimate": estimates, "regression": "within"})
    return table.assign(term="lag_1", std_error=0.01, conf_low=0.1, conf_high=1)


def test_the_sum_over_sources_is_that_of_each_document():
    effects = effects_table(
        [
            *[("a", layer, 2, 1, 10, effect) for layer, effect in ((0, 1.0), (1, 2.0), (2, 0.0))],
            *[("b", layer, 2, 1, 30, effect) for layer, effect in ((0, 0.5), (1, -0.5), (2, 0.0))],
            *[("a", 0, 1, 1, 10, 0.3), ("b", 0, 1, 1, 30, 0.5)],
            *[("a", 2, 2, 0, 10, 10.0), ("b", 2, 2, 0, 30, 30.0)],
        ]
    )
    found = elasticities.over_sources(effects, SETTINGS).set_index("target_layer")
    assert found.loc[2, "estimate"] == pytest.approx(3 / 40)
    assert found.loc[1, "estimate"] == pytest.approx(0.8 / 40)
    # 3/10 and 0 per token: not the sum of the errors of the single sources.
    alone = effects_table([("a", 0, 2, 1, 10, 3.0), ("b", 0, 2, 1, 30, 0.0)])
    expected = elasticities.table(alone, SETTINGS)
    assert found.loc[2, "std_error"] == pytest.approx(expected.loc[0, "std_error"])

    coefficients = lags_of([0.4, 0.6])
    predicted = pd.DataFrame(
        [("attention", "attention", 1, 1, 0.1, 0.02, 4.0)], columns=cross_layer.PREDICTION
    )
    given = found.reset_index(), predicted, {"attention": coefficients}
    table = elasticities.beside_predictions(*given, 0.05).set_index("target_layer")
    assert table["coefficient"].to_dict() == {1: 0.4, 2: 0.6}
    assert table["share"].to_dict() == pytest.approx({1: 0.8 / 40 / 0.4, 2: 3 / 40 / 0.6})
    # The relative errors add up, on the t distribution of two documents.
    errors = expected.loc[0, "std_error"] / (3 / 40), 0.01 / 0.6
    reach = 12.7062047 * table.loc[2, "share"] * np.hypot(*errors)
    assert table.loc[2, "share_high"] - table.loc[2, "share"] == pytest.approx(reach)
    # t with 4 degrees of freedom has its 97.5th percentile at 2.776.
    assert table.loc[1, "predicted_conf_low"] == pytest.approx(0.1 - 2.776445 * 0.02)
    assert np.isnan(table.loc[2, "predicted_conf_low"])
    text = causal_findings(table.reset_index(), NO_TRIALS, name="tiny, small", alpha=0.05)
    assert "1% longer in all earlier layers changes the next by 0.02% (" in text
    assert "together, in the same tokens, predicts 0.10% (0.04 to 0.16) in layer 1" in text
    assert "lag 1 of these layers themselves is 0.40, 0.60 in within" in text
    assert "the effects of all earlier layers together are 0.05 (" in text
    # No share of a coefficient that may be zero.
    none = {"attention": coefficients.assign(conf_low=-0.1)}
    assert elasticities.beside_predictions(*given[:2], none, 0.05)["share"].isna().all()
    alone = elasticities.beside_predictions(given[0], NO_PREDICTIONS, {}, 0.05)
    told = ["regression", "coefficient", "share", "share_low", "share_high", "predicted"]
    assert alone[told].isna().all(axis=None)


def test_a_scale_becomes_an_arc_elasticity():
    changed = [
        Effect("attention", 0, "attention", 1, "scale", alpha, np.array([np.log(alpha) * 0.3]))
        for alpha in (0.5, 2.0)
    ]
    changed += [
        Effect("attention", 0, "surprisal", None, "scale", 0.5, np.array([0.1, np.nan])),
        Effect("attention", 0, "attention", 0, "zero", np.nan, np.array([np.nan])),
    ]
    other = [one._replace(effects=one.effects * 1.1) for one in changed]
    rows = table({("a", 0): changed, ("b", 0): other}, 1)
    assert rows.schema == EFFECTS_SCHEMA
    found = elasticities.table(rows.to_pandas(), SETTINGS)
    norms = found[found["target_site"] == "attention"]
    assert norms["estimate"].tolist() == pytest.approx([0.315, 0.315])
    # About their mean, 0.3 and 0.33 of one token each.
    assert norms["std_error"].tolist() == pytest.approx([0.015, 0.015])
    assert (norms["conf_low"] < norms["conf_high"]).all()
    words = found[found["target_site"] == "surprisal"]
    assert words["estimate"].tolist() == pytest.approx([0.105])
    assert words["target_layer"].isna().all()


def test_elasticities_are_compared_with_the_regression_of_their_own_sites():
    effects = [("a", 0, 1, 1, 10, 0.3), ("b", 0, 1, 1, 30, 0.5), ("a", 0, 1, 2, 9, 0.1)]
    whole = [
        effects_table(effects),
        effects_table(effects[:1]).assign(target_site="mlp"),
        effects_table([("a", 0, 1, 1, 10, 0.2)]).assign(intervention="zero"),
    ]
    whole = elasticities.table(pd.concat(whole), SETTINGS)
    partners = {
        ("attention", target): pd.DataFrame(
            [(0, 1, lag, *(np.arange(4.0) + lag + start)) for lag in (1, 2)],
            columns=["source_layer", "target_layer", "lag", *elasticities.PREDICTIVE],
        ).assign(predictive_df=9)
        for target, start in (("attention", 0.0), ("mlp", 100.0))
    }
    assert whole["estimate"].tolist() == pytest.approx([0.8 / 40, 0.1 / 9, 0.3 / 10, 0.2 / 10])
    found = elasticities.with_predictive(whole, partners)
    found = found.set_index(["target_site", "intervention", "lag"])[elasticities.PREDICTIVE]
    assert found.loc[("attention", "derivative", 1)].tolist() == [1, 2, 3, 4]
    assert found.loc[("attention", "derivative", 2)].tolist() == [2, 3, 4, 5]
    assert found.loc[("mlp", "derivative", 1)].tolist() == [101, 102, 103, 104]
    # Finite interventions have no such partner, and without any there is none.
    assert found.loc[("attention", "zero", 1)].isna().all()
    alone = elasticities.with_predictive(whole, {})
    assert alone[elasticities.PREDICTIVE].isna().all(axis=None)
    assert len(alone) == len(whole) == 4


def test_effects_by_part_of_speech_average_to_those_of_all_tokens():
    kind = ("attention", 0, "attention", 1, "zero", np.nan)
    changed = {
        (document, 0): [
            Effect(*kind, np.array([effect]), tag)
            for tag, effect in (("NOUN", size), ("NOUN", 3 * size), ("VERB", -size))
        ]
        for document, size in (("a", 1.0), ("b", 2.0))
    }
    rows = table(changed, 1).to_pandas()
    by_tag = elasticities.by_part_of_speech(rows, SETTINGS).set_index("upos")
    assert by_tag["estimate"].to_dict() == {"NOUN": 3.0, "VERB": -1.5}
    assert by_tag["positions"].to_dict() == {"NOUN": 4, "VERB": 2}
    # Sums of two documents: 4 and 8, about their mean.
    assert by_tag.loc["NOUN", "std_error"] == pytest.approx(np.sqrt(2 * (2**2 + 2**2)) / 4)
    assert elasticities.table(rows, SETTINGS)["estimate"].tolist() == [1.5]


@pytest.mark.parametrize("documents", [0, 1])
def test_one_document_or_none_gives_no_interval_and_no_error(documents):
    """The findings are still a sentence."""
    changed = [Effect("attention", 0, "attention", 1, "zero", np.nan, np.array([0.1, 0.2]))]
    for layer, sums in enumerate(([0.3, 0.2], [9.0, 0.0])):
        place = "attention", layer, "attention", 1, "derivative", np.nan
        changed.append(Effect(*place, np.array(sums), positions=np.array([9, 8])))
    rows = table({key: changed for key in [("a", 0)][:documents]}, 1).to_pandas()
    assert len(elasticities.table(rows, SETTINGS)) == 6 * documents
    summed = elasticities.over_sources(rows, SETTINGS)
    lags = {"attention": lags_of([0.4])}
    beside = elasticities.beside_predictions(summed, NO_PREDICTIONS, lags, 0.05)
    assert len(beside) == documents
    text = causal_findings(beside, NO_TRIALS, name="tiny, small", alpha=0.05)
    told = "changes the next by 0.03% in layer 1; 1 document\n"
    assert (told if documents else "no document has a token") in text
