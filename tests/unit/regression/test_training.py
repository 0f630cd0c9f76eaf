"""The path of training: checkpoints beside the final weights, against refits and plain loops."""

from dataclasses import replace

import designs
import numpy as np
import pytest
from designs import corpus_of, design_of
from fits import fitted, moments_of
from numpy.testing import assert_allclose
from projects import refused
from scipy import stats

from attnlag.regression.inference import training
from attnlag.regression.inference.training import Checkpoint
from attnlag.regression.settings import TrainingSettings

LAGS = ["lag_1", "lag_2"]
QUANTITIES = [*LAGS, "lags_summed", "r_squared"]


def fit_settings(effects="none"):
    design = designs.design_settings(lags=(1, 2))
    return TrainingSettings(design=design, fixed_effects=effects)


def design_of_step(dynamics, seed, documents=8, layers=2):
    """Return the design of two lags of documents whose norms follow some dynamics."""
    settings = designs.design_settings(lags=(1, 2))
    return design_of(
        corpus_of(dynamics=dynamics, documents=documents, tokens=30, seed=seed, layers=layers),
        settings,
    )


def checkpoint_of(step, design, **fields):
    return Checkpoint(step, f"step{step}", moments_of(design), **fields)


def refitted(design, documents, effects):
    """Return lags, their sum and R² of each layer in some documents, (layers, 4)."""
    own = design.filter(np.isin(design["document"].to_numpy(), documents))
    rows = []
    for fit in fitted(own, "nonrobust", effects=effects):
        lags = fit.estimate[-2:]
        rows.append([*lags, lags.sum(), fit.goodness["r_squared"]])
    return np.array(rows)


@pytest.mark.parametrize("effects", ["none", "document"])
def test_values_and_differences_equal_refits_without_each_document(effects, subtests):
    """Each is left out of both models; values are medians over layers, differences means."""
    early = design_of_step((0.6, 0.2), 1, layers=3)
    late = design_of_step((0.2, 0.1), 2, layers=3)
    steps = [checkpoint_of(64, early, loss=6.5)]
    final = Checkpoint(None, "final", moments_of(late, halves=True), 4.5)
    tables = training.fit(steps, final, fit_settings(effects))
    names = [f"d{i}" for i in range(8)]
    kept = [names]
    for name in names:
        kept.append([other for other in names if other != name])
    within = effects == "document"
    own = np.array([refitted(early, some, within) for some in kept])
    others = np.array([refitted(late, some, within) for some in kept])
    medians = np.median(own, axis=1)
    differences = (own - others).mean(axis=1)
    rows = tables.medians[tables.medians["step"] == 64].set_index("quantity")
    assert rows.index.tolist() == QUANTITIES
    assert_allclose(rows["estimate"], medians[0])
    assert_allclose(rows["final"], np.median(others[0], axis=0))
    for values, prefix, middle in (
        (medians, "conf", "estimate"),
        (differences, "difference", "difference"),
    ):
        with subtests.test(prefix=prefix):
            # Documents of equal size count as many as they are.
            error = np.sqrt(7 / 8 * ((values[1:] - values[0]) ** 2).sum(axis=0))
            margin = stats.t.ppf(0.975, 7) * error
            assert_allclose(rows[middle], values[0], atol=1e-12)
            assert_allclose(rows[f"{prefix}_low"], values[0] - margin, atol=1e-9)
            assert_allclose(rows[f"{prefix}_high"], values[0] + margin, atol=1e-9)
    assert set(rows["loss"]) == {6.5}
    assert set(rows["documents"]) == {8}
    assert_allclose(rows["df"], 7)
    by_layer = tables.layers[tables.layers["step"] == 64]
    assert_allclose(by_layer["estimate"], refitted(early, names, within).ravel())


def test_one_long_text_leaves_fewer_degrees_of_freedom():
    """Eight texts, one of them counted ten times, are as informative as 17² / 107 of equal size."""
    early, late = (moments_of(design_of_step((0.5, 0.1), seed)) for seed in (1, 2))
    factor = np.array([10.0, *[1.0] * 7])[:, None, None]
    longer = [replace(one, products=one.products * factor) for one in early]
    final = Checkpoint(None, "final", late)
    tables = training.fit([Checkpoint(0, "0", longer)], final, fit_settings())
    rows = tables.medians[tables.medians["step"] == 0]
    quantile = (rows["difference_high"] - rows["difference"]) / rows["std_error"]
    assert_allclose(quantile, stats.t.ppf(0.975, 17**2 / 107 - 1))


def test_the_final_weights_come_last_without_a_step_and_without_a_difference(subtests):
    """They are of the same documents, though they were measured on more."""
    early, late = design_of_step((0.6, 0.2), 1, documents=6), design_of_step((0.2, 0.1), 2)
    steps = [checkpoint_of(256, early), checkpoint_of(0, early)]
    final = Checkpoint(None, "final", moments_of(late), 4.5)
    tables = training.fit(steps, final, fit_settings())
    for name in ("medians", "layers"):
        with subtests.test(name=name):
            table = getattr(tables, name)
            assert table["step"].drop_duplicates().fillna(-1).tolist() == [0, 256, -1]
            assert table["revision"].drop_duplicates().tolist() == ["step0", "step256", "final"]
    last = tables.medians[tables.medians["revision"] == "final"].set_index("quantity")
    expected = np.median(refitted(late, [f"d{i}" for i in range(6)], effects=False), axis=0)
    assert_allclose(last["estimate"], expected)
    assert (last[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert set(last["loss"]) == {4.5}
    assert set(last["documents"]) == {6}


def test_a_checkpoint_and_the_final_weights_are_compared_in_the_same_layers():
    """The norms of one layer are constant at an early step, so it is left out of both."""
    early, late = design_of_step((0.6, 0.2), 1), design_of_step((0.2, 0.1), 2)
    layers = moments_of(early)
    flat = replace(layers[0], products=layers[0].products * 0.0)
    tables = training.fit(
        [Checkpoint(0, "step0", [flat, *layers[1:]])],
        Checkpoint(None, "final", moments_of(late)),
        fit_settings(),
    )
    names = [f"d{i}" for i in range(8)]
    rows = tables.medians[tables.medians["step"] == 0]
    assert set(rows["layers"]) == {len(layers) - 1}
    assert_allclose(rows["final"], np.median(refitted(late, names, False)[1:], axis=0))
    whole = tables.medians[tables.medians["revision"] == "final"]
    assert set(whole["layers"]) == {len(layers)}
    by_layer = tables.layers[tables.layers["step"] == 0]
    assert by_layer.loc[by_layer["layer"] == 0, "estimate"].isna().all()
    # Without a layer that both fit, the numbers are unknown.
    tables = training.fit(
        [Checkpoint(0, "step0", [replace(one, products=one.products * 0.0) for one in layers])],
        Checkpoint(None, "final", moments_of(late)),
        fit_settings(),
    )
    rows = tables.medians[tables.medians["step"] == 0]
    assert set(rows["layers"]) == {0}
    assert rows[["estimate", "final", "difference"]].isna().all(axis=None)


@pytest.mark.parametrize("documents", [1, 5])
def test_few_documents_have_values_but_no_intervals(documents):
    early = design_of_step((0.6, 0.2), 1, documents=documents)
    tables = training.fit(
        [checkpoint_of(0, early)], Checkpoint(None, "final", moments_of(early)), fit_settings()
    )
    assert tables.medians["estimate"].notna().all()
    intervals = ["conf_low", "conf_high", "std_error", "difference_low", "difference_high"]
    assert tables.medians[intervals].isna().all(axis=None)


def test_one_lag_has_no_sum_and_a_lead_is_not_in_it():
    settings = designs.design_settings(lags=(1,), leads=(1,))
    design = design_of(corpus_of(documents=6, tokens=20), settings)
    tables = training.fit(
        [checkpoint_of(0, design)], Checkpoint(None, "final", moments_of(design)), fit_settings()
    )
    assert tables.medians["quantity"].unique().tolist() == ["lag_1", "lead_1", "r_squared"]


def test_checkpoints_of_other_documents_are_refused():
    early, other = design_of_step((0.6, 0.2), 1), design_of_step((0.6, 0.2), 1, documents=6)
    (problem,) = refused(
        training.fit,
        [checkpoint_of(0, early), checkpoint_of(64, other)],
        Checkpoint(None, "final", moments_of(early)),
        fit_settings(),
    )
    assert problem == (
        "revisions: found other documents at step 64 than at step 0, expected the same ones at all "
        "steps"
    )
