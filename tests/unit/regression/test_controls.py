"""The controls of a regression: random weights against statsmodels, and the table of both."""

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import statsmodels.formula.api as smf
from designs import FACTS, changed, corpus_of, design_of, design_settings, regression_settings
from scipy import stats

from attnlag.quantities.columns import layer_name
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import controls
from attnlag.storage import tables

FORMULA = Formula(design_settings(lags=(1, 2)), FACTS)


@pytest.fixture
def norms(tmp_path):
    """Return a file of norms of 12 documents in two layers, and the design of their regression."""
    table = corpus_of(level=0.5, dynamics=(0.6, 0.1), documents=12, tokens=25)
    return written(tmp_path, table, "own")


def written(folder, table, scale, **facts):
    """Write norms of random weights at a scale, and return their file."""
    path = folder / f"{scale}.parquet"
    draw = {"scale": scale, "initializer_range": 0.04, "origin": "stated", **facts}
    tables.write_table(table, path, {"stages": {}, "draw": draw})
    return path


def controlled(norms, trained, **settings):
    """Return the coefficients of a file or more, and the comparison of scales."""
    paths = norms if isinstance(norms, list) else [norms]
    return controls.random_weights(paths, regression_settings(**settings), FORMULA, trained)


def moments_of(norms):
    return controls.moments_of(norms, FORMULA)


def rows_of(norms, documents=None):
    frame = design_of(pq.read_table(norms), FORMULA.settings).to_pandas()
    frame["document"] = frame["document"].astype(str)
    kept = frame["document"].isin(documents) if documents else slice(None)
    return [
        frame.loc[kept].rename(
            columns={f"{name}.y": "y", f"{name}.lag_1": "a", f"{name}.lag_2": "b"}
        )
        for name in map(layer_name, range(2))
    ]


FORMULAS = {"none": "y ~ a + b", "document": "y ~ a + b + C(document)"}


@pytest.mark.parametrize("effects", FORMULAS)
@pytest.mark.parametrize("correction", ["none", "half-panel"])
def test_random_weights_have_the_coefficients_of_statsmodels_without_correction(
    norms, effects, correction
):
    options = {"fixed_effects": effects, "bias_correction": correction}
    found, _ = controlled(norms, moments_of(norms), **options)
    for layer, frame in enumerate(rows_of(norms)):
        oracle = smf.ols(FORMULAS[effects], frame).fit()
        own = found[found["layer"] == layer].set_index("term").loc[["lag_1", "lag_2"]]
        np.testing.assert_allclose(own["random_weights"], oracle.params[["a", "b"]])
        np.testing.assert_allclose(own["random_weights_sum"], oracle.params[["a", "b"]].sum())
        if effects == "none":
            np.testing.assert_allclose(own["random_weights_r_squared"], oracle.rsquared)
    assert set(found["random_weights_documents"]) == {12}


def test_the_trained_model_is_fitted_to_the_documents_of_the_control(norms, tmp_path):
    """The control has 5 of the 12 documents; halves of the trained model are not used."""
    whole = pq.read_table(norms)
    some = [f"d{i}" for i in range(5)]
    path = written(tmp_path, whole.filter(pc.field("document").isin(some)), "by-depth")
    batches, layers = whole.to_batches(), ["layer_00", "layer_01"]
    trained = controls.moments_of_batches(batches, layers, FORMULA, 2)
    options = {"fixed_effects": "document", "bias_correction": "half-panel"}
    found, _ = controlled(path, trained, **options)
    for layer, frame in enumerate(rows_of(norms, some)):
        oracle = smf.ols(FORMULAS["document"], frame).fit()
        own = found[found["layer"] == layer].set_index("term")
        lags = own.loc[["lag_1", "lag_2"]]
        np.testing.assert_allclose(lags["trained"], oracle.params[["a", "b"]])
        # Here the same norms serve as those of the untrained model.
        np.testing.assert_allclose(lags["random_weights"], lags["trained"])
        np.testing.assert_allclose(lags["trained_sum"], lags["trained"].sum())
        within = frame["y"] - frame.groupby("document")["y"].transform("mean")
        expected = 1 - oracle.ssr / (within**2).sum()
        np.testing.assert_allclose(lags["trained_r_squared"], expected)
    assert set(found["random_weights_documents"]) == {5}


def test_scales_are_compared_with_the_trained_model_by_the_jackknife(tmp_path):
    """Each document is left out of both models in turn; statsmodels refits."""
    scales = {"own": (0.6, 0.1), "default": (0.2, 0.0)}
    paths = [
        written(tmp_path, corpus_of(dynamics=dynamics, documents=8, seed=seed), scale)
        for seed, (scale, dynamics) in enumerate(scales.items())
    ]
    trained = written(tmp_path, corpus_of(dynamics=(0.3, 0.1), documents=8, seed=9), "trained")
    table, compared = controlled(paths, moments_of(trained))
    assert list(table.columns[2:5]) == ["random_weights", "random_weights_default", "trained"]
    names = [f"d{i}" for i in range(8)]

    def mean_of(path, documents, term):
        fits = [smf.ols(FORMULAS["none"], rows).fit() for rows in rows_of(path, documents)]
        return np.mean([fit.params[term] for fit in fits])

    for path, scale in zip(paths, scales, strict=True):
        rows = compared[compared["scale"] == scale].set_index("quantity")
        assert rows.index.tolist() == ["lag_1", "lag_2", "lags_summed", "r_squared"]
        for quantity, term in (("lag_1", "a"), ("lag_2", "b")):
            apart = mean_of(path, names, term) - mean_of(trained, names, term)
            without = np.array(
                [
                    mean_of(path, left, term) - mean_of(trained, left, term)
                    for left in ([*names[:g], *names[g + 1 :]] for g in range(8))
                ]
            )
            # Unlike CRV3, about the mean of these.
            error = np.sqrt(7 * without.var())
            row = rows.loc[quantity]
            assert row["difference"] == pytest.approx(apart)
            assert (row["std_error"], row["df"]) == (pytest.approx(error), 7)
            reach = stats.t.ppf(0.975, 7) * error
            assert row["conf_low"] == pytest.approx(apart - reach)
            assert row["conf_high"] == pytest.approx(apart + reach)
        both = rows.loc[["lag_1", "lag_2"], "difference"].sum()
        assert rows.loc["lags_summed", "difference"] == pytest.approx(both)
    # A scale that was left out has no numbers, and too few documents have no interval.
    empty = corpus_of(documents=8).slice(0, 0)
    left_out = written(tmp_path, empty, "by-depth", left_out="the same as own")
    _, compared = controlled([paths[0], left_out], moments_of(trained))
    rows = compared[compared["scale"] == "by-depth"]
    assert rows["before"].isna().all()
    assert set(rows["left_out"]) == {"the same as own"}
    few = written(tmp_path, corpus_of(documents=5), "own")
    _, compared = controlled(few, moments_of(trained))
    assert compared["difference"].notna().sum() == 3
    assert compared[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path):
    whole = pq.read_table(norms)
    whole = changed(whole, {"layer_00": np.full(whole.num_rows, 8.0)})
    path = written(tmp_path, whole, "default")
    found, _ = controlled(path, moments_of(norms))
    for column in ("random_weights", "random_weights_r_squared", "random_weights_sum"):
        assert found[column].isna().tolist() == [True] * 3 + [False] * 3
    # If all documents are too short, no layer has one either.
    path = written(tmp_path, corpus_of(documents=3, tokens=3), "default")
    found, _ = controlled(path, moments_of(norms))
    assert found["term"].tolist() == ["intercept", "lag_1", "lag_2"] * 2
    assert found[["random_weights", "random_weights_r_squared"]].isna().all(axis=None)
    assert set(found["random_weights_documents"]) == {0}
