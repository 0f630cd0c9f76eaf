"""Verdicts on predictions against own counts, and the coverage of their intervals."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attnlag.regression.beyond import cross_layer, elasticities, verdicts
from attnlag.regression.settings import ElasticitiesSettings

SETTINGS = ElasticitiesSettings(alpha=0.05, bootstrap=0, seed=0, drop_first=1, negligible=0.05)
PAIR = ("attention", "attention")
TARGET = 60


def effects_of(values):
    """Return sums of documents of 40 tokens each, given effects (documents, sources)."""
    documents, sources = np.indices(values.shape).reshape(2, -1)
    return pd.DataFrame(
        {
            "document": pd.Categorical([f"d{number}" for number in documents]),
            **{"source_site": PAIR[0], "target_site": PAIR[1], "target_layer": TARGET, "lag": 1},
            **{"source_layer": sources, "intervention": "derivative", "alpha": np.nan},
            **{"positions": 40, "effect_sum": 40 * values.ravel(), "probes": 1},
        }
    )


def prediction_of(coefficients, error=0.01, scores=None):
    """Return a regression whose coefficients at lag 1 are given, by source."""
    shape = (1, len(coefficients), 2)
    alone = np.full(shape, np.nan)
    alone[0, :, 1] = coefficients
    noise = np.zeros((verdicts.DOCUMENT_DRAWS, *shape)) if scores is None else scores
    nothing = np.full(shape, np.nan)
    return cross_layer.CrossLayer(
        [TARGET],
        cross_layer.Coefficients(alone, np.full(shape, error), noise),
        cross_layer.Coefficients(nothing, nothing, noise),
        *(100, 5000),
    )


def verdict_of(values, coefficients):
    rows = effects_of(values)
    table = elasticities.table(rows, SETTINGS)
    found = verdicts.of_pairs(rows, table, {PAIR: prediction_of(coefficients)}, SETTINGS)
    return found.set_index("prediction").loc["alone"], table


def test_verdicts_equal_counts_by_hand():
    random = np.random.default_rng(1)
    means = np.array([0.3, -0.2, 0.02, 0.0, 0.1, -0.01])
    values = means + random.normal(0, 0.01, (12, 6))
    coefficients = np.array([0.5, 0.3, -0.2, 0.4, 0.25, 0.001])
    row, table = verdict_of(values, coefficients)
    low, high = table["conf_low"].to_numpy(), table["conf_high"].to_numpy()
    clear = (low > 0) | (high < 0)
    assert clear.tolist()[:5] == [True, True, True, False, True]
    signs = np.sign(table["estimate"].to_numpy()) == np.sign(coefficients)
    assert (row["pairs"], row["clear"]) == (6, clear.sum())
    assert row["agreement"] == pytest.approx(signs[clear].mean())
    sizes = stats.spearmanr(np.abs(table["estimate"]), np.abs(coefficients)).statistic
    assert row["rank_correlation"] == pytest.approx(sizes)
    # All but the last coefficient exceed their interval; the effects of two of them are below 0.05.
    assert (row["significant"], row["without_effect"]) == (5, 2)
    assert row["agreement_low"] < row["agreement"] < row["agreement_high"]


def test_pairs_of_layers_are_those_whose_target_comes_later():
    values = np.random.default_rng(0).normal(0.1, 0.05, (12, 5))
    rows = effects_of(values).assign(target_layer=3)
    fits = dataclasses.replace(prediction_of(np.full(5, 0.2)), targets=[3])
    table = elasticities.table(rows, SETTINGS)
    found = verdicts.of_pairs(rows, table, {PAIR: fits}, SETTINGS)
    assert found["pairs"].tolist() == [3]


def test_draws_of_documents_have_the_errors_of_the_estimates():
    """In effects and in coefficients, and shared by the two where the scores are."""
    random = np.random.default_rng(2)
    values = random.normal(0.1, 0.05, (15, 3))
    rows = effects_of(values)
    table = elasticities.table(rows, SETTINGS)
    draw = verdicts.multipliers(0)
    drawn = verdicts._noise(rows, table["estimate"].to_numpy(), draw)
    np.testing.assert_allclose(drawn.std(axis=0), table["std_error"], rtol=0.08)

    logs = random.normal(size=(15, 7, 30)) + random.normal(size=(15, 1, 30))
    found = cross_layer.cross_layer(
        lambda: ((f"d{number}", [one], [one]) for number, one in enumerate(logs)),
        *([6], 1, draw),
    )
    np.testing.assert_allclose(found.alone.noise.std(axis=0), found.alone.std_error, rtol=0.08)
    spread = found.given.noise[..., 1].std(axis=0)
    np.testing.assert_allclose(spread[:, :6], found.given.std_error[:, :6, 1], rtol=0.08)


def test_the_interval_covers_a_half_where_signs_are_random():
    """57 pairs of 13 documents, about a third of them clear, as in the default run."""
    random = np.random.default_rng(3)
    inside = sizes = 0
    for _ in range(100):
        signs = random.choice([-1, 1], 57)
        size = random.exponential(0.01, 57)
        values = signs * size + 0.02 * random.normal(size=(13, 57)) / np.sqrt(random.gamma(4, 0.25))
        row, _ = verdict_of(values, random.normal(0, 0.2, 57))
        inside += row["agreement_low"] < 0.5 < row["agreement_high"]
        sizes += row["rank_correlation_low"] < 0 < row["rank_correlation_high"]
    assert inside / 100 > 0.9
    assert sizes / 100 > 0.9


def test_a_layer_has_no_effect_on_itself():
    table = pd.DataFrame(
        {"layer": [0, 1, 2], "term": "lag_1", "p_adjusted": [0.001, 0.2, 0.03], "subset": "all"}
    )
    row = verdicts.of_the_same_layer({"attention": table}, 0.05).iloc[0]
    assert (row["prediction"], row["pairs"]) == ("same layer", 3)
    assert (row["significant"], row["without_effect"]) == (2, 2)
