"""Claims about the training of a model: the highest step, and that from which on lags are final."""

import numpy as np
import pandas as pd
import pytest

from attnlag import wording
from attnlag.claims.checkpoints import course, losses
from attnlag.claims.row import Verdict
from attnlag.claims.run import Claims


def medians(estimates, margin=0.02, texts=16, losses=None, final=0.11):
    """Return a table of one lag by step; the margin is that of values and of differences."""
    steps = [*estimates, None]
    values = np.array([*estimates.values(), final])
    margins = np.broadcast_to(margin, values.shape)
    table = pd.DataFrame({"step": pd.array(steps, dtype="Int64"), "quantity": "lag_1"})
    return table.assign(
        revision=["final" if step is None else f"step{step}" for step in steps],
        estimate=values,
        conf_low=values - margins,
        conf_high=values + margins,
        difference=values - final,
        difference_low=values - final - margins,
        difference_high=values - final + margins,
        level=0.95,
        layers=4,
        documents=texts,
        loss=losses or np.nan,
    )


def claims_of(table):
    """Return the claims about lag 1 by name."""
    found = [*course(table, "lag_1", bound=0.05), *losses(table)]
    return Claims(tuple(found))


def title_of(claims):
    names = ("training_highest", "training_settled", "training_final")
    return wording.title([claims.one(name) for name in names], joined="; ")


def settled(claims):
    """Return where the lag settles, in words."""
    return wording.text(claims.one("training_settled"), "finding")


PATH = {0: 1.10, 16: 1.40, 24: 1.42, 64: 0.69, 256: 0.33, 1024: 0.12, 2048: 0.10}


def test_a_lag_is_highest_and_settles_at_steps_that_intervals_show(subtests):
    claims = claims_of(medians(PATH))
    subjects = {
        "training_first": "lag_1, step 0",
        "training_highest": "lag_1, step 24",
        "training_settled": "lag_1, step 1024",
        "training_final": "lag_1, final weights",
        "training_as_high": "lag_1, 16",
    }
    for name, subject in subjects.items():
        with subtests.test(name=name):
            assert claims.one(name).subject == subject
    difference = claims.one("training_settled")
    assert difference.verdict is Verdict.WITHIN
    assert difference.value == pytest.approx(0.01)
    assert title_of(claims) == (
        "Lag 1 is highest at step 24 (1.42); within 0.05 of its final value from step 1,024 on; "
        "its final value is 0.11"
    )
    rows = [row for row in claims.rows if row.claim != "training_as_high"]
    assert wording.texts(rows, "answer") == [
        "1.10 at step 0",
        "highest at step 24 (1.42)",
        "final 0.11 (same texts: 16; none corrected for bias)",
        "steps measured: 7",
    ]
    assert wording.texts(claims.rows, "finding") == [
        "lag 1 is highest at step 24 of training: 1.42 (95% interval 1.40 to 1.44)",
        "of the final weights: 0.11 (95% interval 0.09 to 0.13)",
        "lag 1 comes within 0.05 of its final value from step 1,024 on (mean difference over the "
        "layers there: 0.01, 95% interval −0.01 to 0.03)",
        "steps not shown to be lower: 16",
        "steps measured: 7",
    ]


def test_a_lag_that_leaves_its_final_value_again_settles_later():
    """At step 64 it is near by chance; wide intervals show nothing."""
    claims = claims_of(medians(PATH | {64: 0.11}))
    assert claims.one("training_settled").subject == "lag_1, step 1024"
    margin = [0.02, 0.02, 0.02, 0.02, 0.02, 0.06, 0.02, 0.02]
    claims = claims_of(medians(PATH, margin))
    assert claims.one("training_settled").subject == "lag_1, step 2048"
    # A step that cannot be fitted is left out.
    claims = claims_of(medians(PATH | {2048: np.nan}))
    assert claims.one("training_steps").subject == "lag_1, 0 16 24 64 256 1024"


def test_two_revisions_are_named_as_two():
    claims = claims_of(medians({0: 1.1, 64: 0.69}))
    assert claims.one("training_settled").verdict is Verdict.ABOVE
    assert title_of(claims) == "Lag 1 is highest at step 0 (1.10); its final value is 0.11"
    assert settled(claims) == (
        "lag 1 is not shown to come within 0.05 of its final value: at the last step measured, "
        "step 64, the mean difference over the layers is 0.58 (95% interval 0.56 to 0.60)"
    )
    claims = claims_of(medians({0: 1.1, 64: 0.12}))
    assert "from step 64 on" in settled(claims)
    assert claims.one("training_steps").value == 2


def test_few_texts_tell_no_step_and_losses_are_told_where_known():
    claims = claims_of(medians(PATH, margin=np.nan, texts=5, losses=[8, 7, 7, 6, 6, 5, 5, 5]))
    assert claims.one("training_settled").verdict is Verdict.TOO_FEW_TEXTS
    assert title_of(claims).endswith("; its final value is 0.11")
    assert settled(claims) == (
        "from which step on lag 1 is near its final value is not tested: texts 5, at least 6"
    )
    found = wording.texts(claims.all("training_loss"), "finding")
    assert found[:2] == ["8.00 at step 0", "7.00 at step 16"]


def test_without_a_fitted_layer_there_is_no_course():
    assert [*course(medians({0: np.nan}), "lag_1", bound=0.05)] == []
    assert [*course(medians(PATH), "lag_2", bound=0.05)] == []
