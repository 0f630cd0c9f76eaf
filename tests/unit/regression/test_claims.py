"""Claims about all models, on profiles whose means and errors are known."""

import numpy as np
import pandas as pd
import pytest
from designs import profile_of_documents
from scipy import stats

from attnlag.regression.beyond import claims
from attnlag.regression.beyond.comparison import ComparedStudy

DOCUMENTS, LAYERS = 40, 6


def verdicts_of(model, means, seed=0):
    """Return the verdicts on lags 1 and 2 with these means, and the values of the documents."""
    random = np.random.default_rng(seed)
    values = means + 0.2 * random.normal(size=(DOCUMENTS, *np.shape(means)))
    profile = profile_of_documents(values, ["lag_1", "lag_2"])
    controls = pd.DataFrame(
        {
            **{"layer": range(LAYERS), "term": "lag_1", "permuted_mean": 0.0},
            **{"random_weights": 1.4, "trained": 0.3, "random_weights_documents": 20},
        }
    )
    study = ComparedStudy(model, "prompts", "attention", "within", False, pd.DataFrame(), {}, [])
    return claims.of_study(study, profile, controls, alpha=0.05, negligible=0.05), values


def test_a_claim_is_a_t_test_of_the_means_of_documents():
    means = np.full((LAYERS, 2), 0.1)
    means[3:, 0] += 0.2
    table, lags = verdicts_of("one", means)
    table = table.set_index("claim")
    for claim, values in {
        "a large adjustment follows a large one": lags[:, :, 0].mean(axis=1),
        "lag 1 is above the negligible size": lags[:, :, 0].mean(axis=1) - 0.05,
        "lag 1 is larger than lag 2": (lags[:, :, 0] - lags[:, :, 1]).mean(axis=1),
        "lag 1 is larger in the deeper half of the layers": (
            lags[:, 3:, 0].mean(axis=1) - lags[:, :3, 0].mean(axis=1)
        ),
    }.items():
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        row = table.loc[claim]
        assert (row["value"], row["conf_low"]) == pytest.approx((values.mean(), low))
        assert (row["conf_high"], row["verdict"]) == (pytest.approx(high), "holds")
    row = table.loc["lag 1 is smaller than before training"]
    # The control is of half of the documents.
    scale = lags[:, :, 0].mean(axis=1).std(ddof=1) / np.sqrt(20)
    assert (row["value"], row["std_error"]) == pytest.approx((1.1, scale))


def test_the_sentences_say_what_holds_in_every_model_in_some_and_in_none():
    rising, falling = np.full((2, LAYERS, 2), 0.2)
    rising[:, 1] = falling[:, 1] = 0.6
    rising[3:, 0] += 0.3
    falling[3:, 0] -= 0.3
    tables = [verdicts_of("one", rising)[0], verdicts_of("two", falling, 1)[0]]
    # A twin with random weights is a control, not a model.
    twin = verdicts_of("twin", -rising, 2)[0]
    # The norms of an untrained model may not vary: there is nothing to compare with.
    before = "lag 1 is smaller than before training"
    tables[1] = tables[1][tables[1]["claim"] != before]
    found = claims.sentences(pd.concat([*tables, twin]), ["one", "two"])
    assert [line.partition(":")[0] for line in found] == [
        *("holds in each of 2 models", "holds in some only", "is shown in none")
    ]
    assert f"{before} (not known in two)" in found[0]
    assert "lag 1 is larger in the deeper half of the layers (one)" in found[1]
    assert found[2].endswith(": lag 1 is larger than lag 2")
    assert set(tables[1].query("claim.str.contains('deeper')")["verdict"]) == {"fails"}
