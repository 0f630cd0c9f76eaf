"""Claims about the training of a model: the highest step, and that from which on lags are final."""

import numpy as np
import pandas as pd
import pytest

from attnlag import wording
from attnlag.claims.checkpoints import course
from attnlag.claims.row import Verdict


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
        layers=4,
        documents=texts,
        loss=losses or np.nan,
    )


def told(table, **settings):
    found = course(table, "lag_1", bound=0.05, alpha=0.05, **settings)
    return found, [wording.course_title(found), wording.course_answer(found)]


PATH = {0: 1.10, 16: 1.40, 24: 1.42, 64: 0.69, 256: 0.33, 1024: 0.12, 2048: 0.10}


def test_a_lag_is_highest_and_settles_at_steps_that_intervals_show():
    found, (title, answer) = told(medians(PATH))
    assert (found.first.step, found.highest.step, found.settled.step) == (0, 24, 1024)
    assert found.as_high == [16]
    assert found.settled.row.verdict is Verdict.WITHIN
    assert found.settled.row.value == pytest.approx(0.01)
    assert title == (
        "Lag 1 is highest at step 24 (1.42), and within 0.05 of its final value (0.11) from step "
        "1,024 on"
    )
    assert answer == (
        "1.10 at step 0, highest at step 24 (1.42), final 0.11 (the same 16 texts, "
        "steps measured: 7)"
    )
    assert wording.course_findings(found) == [
        "lag 1 is highest at step 24 of training: 1.42 (95% interval 1.40 to 1.44); steps not "
        "shown to be lower: 16; of the final weights: 0.11 (95% interval 0.09 to 0.13)",
        "lag 1 comes within 0.05 of its final value from step 1,024 on (mean difference over the "
        "layers there: 0.01, 95% interval −0.01 to 0.03; steps measured: 7)",
    ]


def test_a_lag_that_leaves_its_final_value_again_settles_later():
    """At step 64 it is near by chance; wide intervals show nothing."""
    found, _ = told(medians(PATH | {64: 0.11}))
    assert found.settled.step == 1024
    margin = [0.02, 0.02, 0.02, 0.02, 0.02, 0.06, 0.02, 0.02]
    found, _ = told(medians(PATH, margin))
    assert found.settled.step == 2048
    # A step that cannot be fitted is left out.
    found, _ = told(medians(PATH | {2048: np.nan}))
    assert found.steps == [0, 16, 24, 64, 256, 1024]


def test_two_revisions_are_named_as_two():
    found, (title, _) = told(medians({0: 1.1, 64: 0.69}))
    assert found.settled.row.verdict is Verdict.ABOVE
    assert title == "Lag 1 is highest at step 0 (1.10); its final value is 0.11"
    assert wording.course_findings(found)[1] == (
        "lag 1 is not shown to come within 0.05 of its final value: at the last step measured, 64, "
        "the mean difference over the layers is 0.58 (95% interval 0.56 to 0.60; steps measured: 2)"
    )
    found, _ = told(medians({0: 1.1, 64: 0.12}))
    assert "from step 64 on" in wording.course_findings(found)[1]
    assert wording.course_findings(found)[1].endswith("steps measured: 2)")


def test_few_texts_tell_no_step_and_losses_are_told_where_known():
    found, (title, _) = told(medians(PATH, margin=np.nan, texts=5, losses=[8, 7, 7, 6, 6, 5, 5, 5]))
    assert found.settled.row.verdict is Verdict.TOO_FEW_TEXTS
    assert title.endswith("; its final value is 0.11")
    lines = wording.course_findings(found)
    assert lines[1] == (
        "from which step on lag 1 is near its final value is not tested: 5 texts, at least 6"
    )
    assert lines[2].startswith("loss in nats a token: 8.00 at step 0, 7.00 at step 16")


def test_without_a_fitted_layer_there_is_no_course():
    assert course(medians({0: np.nan}), "lag_1", bound=0.05, alpha=0.05) is None
    assert course(medians(PATH), "lag_2", bound=0.05, alpha=0.05) is None
