"""Claims about all models, on profiles whose means and errors are known."""

import numpy as np
import pandas as pd
import pytest
from designs import profile_of_documents
from scipy import stats

from attnlag.regression.beyond import replication
from attnlag.regression.beyond.comparison import STUDY_KEYS
from attnlag.regression.settings import Errors
from attnlag.report.comparison import replication_findings

DOCUMENTS, LAYERS = 40, 6
NONE = pd.DataFrame()


def verdicts_of(model, means, seed=0, before=NONE):
    """Return the verdicts on lags 1 and 2 with these means, and the values of the documents."""
    random = np.random.default_rng(seed)
    values = means + 0.2 * random.normal(size=(DOCUMENTS, *np.shape(means)))
    profile = profile_of_documents(values, ["lag_1", "lag_2"])
    controls = pd.DataFrame({"layer": range(LAYERS), "term": "lag_1", "permuted_mean": 0.0})
    keys = dict(zip(STUDY_KEYS, (model, "prompts", "attention", "within"), strict=True))
    return replication.of_study(keys, profile, controls, before, Errors()), values


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


def before(*intervals, left_out=("",)):
    """Return the differences before minus after training at some scales."""
    table = pd.DataFrame(intervals, columns=["conf_low", "conf_high"])
    table["difference"] = table.mean(axis=1)
    return table.assign(quantity="lag_1", std_error=0.1, left_out=left_out * len(table))


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        (((0.1, 0.3), (0.9, 1.3)), "holds"),
        # What is clear at one scale is not at another.
        (((-0.01, 0.3), (0.9, 1.3)), "undecided"),
        (((-0.3, -0.1), (0.9, 1.3)), "fails"),
        (((np.nan, np.nan), (0.9, 1.3)), None),
    ],
)
def test_the_claim_about_training_is_one_about_every_scale(intervals, verdict):
    table, _ = verdicts_of("one", np.full((LAYERS, 2), 0.1), before=before(*intervals))
    rows = table[table["claim"] == replication.TRAINING]
    assert rows["verdict"].tolist() == ([verdict] if verdict else [])
    if verdict:
        assert (rows["conf_low"].item(), rows["conf_high"].item()) == intervals[0]


def test_the_sentences_say_what_holds_in_every_model_in_some_and_in_none():
    rising, falling = np.full((2, LAYERS, 2), 0.2)
    rising[:, 1] = falling[:, 1] = 0.6
    rising[3:, 0] += 0.3
    falling[3:, 0] -= 0.3
    control = before((0.1, 0.3))
    tables = [
        verdicts_of(name, means, seed, control)[0]
        for seed, (name, means) in enumerate((("one", rising), ("two", falling)))
    ]
    # The norms of an untrained model may not vary: there is nothing to compare with.
    tables[1] = tables[1][tables[1]["claim"] != replication.TRAINING]
    title, *found = replication_findings(pd.concat(tables), ["one", "two"]).splitlines()
    assert title == "what holds in within:"
    assert [line.strip().partition(":")[0] for line in found] == [
        *("holds in each of 2 models", "holds in some only", "is shown in none")
    ]
    assert f"{replication.TRAINING} (not known in two)" in found[0]
    assert "lag 1 is larger in the deeper half of the layers (one)" in found[1]
    assert found[2].endswith(": lag 1 is larger than lag 2")
    assert set(tables[1].query("claim.str.contains('deeper')")["verdict"]) == {"fails"}
