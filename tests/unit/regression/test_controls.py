"""The controls of a regression: random weights against statsmodels, and the table of both."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import statsmodels.formula.api as smf
from designs import FACTS, changed, corpus_of, design_settings, regression_settings, sums_of

from attnlag.adjustments.columns import layer_name
from attnlag.regression.design import design
from attnlag.regression.inference import controls, permutation
from attnlag.storage import tables

COUNTS = design.Counts()


@pytest.fixture
def norms(tmp_path):
    """Return a file of norms of 12 documents in two layers, and the design of their regression."""
    table = corpus_of(level=0.5, dynamics=(0.6, 0.1), documents=12, tokens=25)
    path = tmp_path / "norms.parquet"
    tables.write_table(table, path, {"stages": {}})
    return path


def controlled(**changes):
    design_of_control = design_settings(lags=(1, 2))
    return regression_settings(control_design=design_of_control, **changes)


def shard_of(norms):
    return controls.shard_of(norms, controlled().control_design, FACTS)


def rows_of(norms, documents=None):
    settings = controlled().control_design
    (rows,) = design.designs(tables.batches(norms, 10**6, "norms"), settings, COUNTS, FACTS)
    frame = rows.to_pandas()
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
    settings = controlled(fixed_effects=effects, bias_correction=correction)
    found, layers = controls.random_weights([norms], settings, FACTS, [shard_of(norms)])
    for layer, frame in enumerate(rows_of(norms)):
        oracle = smf.ols(FORMULAS[effects], frame).fit()
        own = found[found["layer"] == layer].set_index("term")["random_weights"]
        np.testing.assert_allclose(own[["lag_1", "lag_2"]], oracle.params[["a", "b"]])
        of_layer = layers.loc[layer]
        assert of_layer["random_weights_sum"] == pytest.approx(oracle.params[["a", "b"]].sum())
        if effects == "none":
            assert of_layer["random_weights_r_squared"] == pytest.approx(oracle.rsquared)
    assert layers["random_weights_documents"].tolist() == [12, 12]
    assert found["random_weights_sd"].isna().all()


def test_the_trained_model_is_fitted_to_the_documents_of_the_control(norms, tmp_path):
    """The control has 5 of the 12 documents; halves of the trained model are not used."""
    whole = pa.Table.from_batches(tables.batches(norms, 10**6, "norms"))
    some = [f"d{i}" for i in range(5)]
    path = tmp_path / "some.parquet"
    tables.write_table(whole.filter(pc.field("document").isin(some)), path, {"stages": {}})
    settings = controlled(fixed_effects="document", bias_correction="half-panel")
    batches = tables.batches(norms, 10**6, "norms")
    trained = controls.shard_of_batches(
        batches, ["layer_00", "layer_01"], settings.control_design, FACTS, 2
    )
    found, layers = controls.random_weights([path], settings, FACTS, [trained])
    for layer, frame in enumerate(rows_of(norms, some)):
        oracle = smf.ols(FORMULAS["document"], frame).fit()
        own = found[found["layer"] == layer].set_index("term")
        lags = own.loc[["lag_1", "lag_2"]]
        np.testing.assert_allclose(lags["trained"], oracle.params[["a", "b"]])
        # Here the same norms serve as those of the untrained model.
        np.testing.assert_allclose(lags["random_weights"], lags["trained"])
        assert layers.loc[layer, "trained_sum"] == pytest.approx(lags["trained"].sum())
        within = frame["y"] - frame.groupby("document")["y"].transform("mean")
        expected = 1 - oracle.ssr / (within**2).sum()
        assert layers.loc[layer, "trained_r_squared"] == pytest.approx(expected)
    assert layers["random_weights_documents"].tolist() == [5, 5]


def test_the_spread_over_draws_is_that_of_fits_to_the_documents_of_all_draws(tmp_path):
    """The first draw has 8 documents, the other two have the first 6 of these."""
    paths = [tmp_path / f"{draw}.parquet" for draw in range(3)]
    for draw, path in enumerate(paths):
        table = corpus_of(dynamics=(0.6, 0.1), documents=6 if draw else 8, seed=draw)
        tables.write_table(table, path, {"stages": {}})
    found, layers = controls.random_weights(paths, controlled(), FACTS, [shard_of(paths[0])])
    frames = [rows_of(path, [f"d{i}" for i in range(6)]) for path in paths]
    for layer in range(2):
        oracles = [smf.ols(FORMULAS["none"], frame[layer]).fit().params for frame in frames]
        own = found[found["layer"] == layer].set_index("term")
        expected = pd.concat(oracles, axis=1).loc[["a", "b"]].std(axis=1)
        np.testing.assert_allclose(own.loc[["lag_1", "lag_2"], "random_weights_sd"], expected)
        whole = smf.ols(FORMULAS["none"], rows_of(paths[0])[layer]).fit().params
        np.testing.assert_allclose(own.loc["lag_1", "random_weights"], whole["a"])
    assert set(layers["random_weights_draws"]) == {3}
    assert set(layers["random_weights_draws_documents"]) == {6}


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path):
    whole = pa.Table.from_batches(tables.batches(norms, 10**6, "norms"))
    whole = changed(whole, {"layer_00": np.full(whole.num_rows, 8.0)})
    path = tmp_path / "constant.parquet"
    tables.write_table(whole, path, {"stages": {}})
    found, layers = controls.random_weights([path], controlled(), FACTS, [shard_of(norms)])
    assert found["random_weights"].isna().tolist() == [True] * 3 + [False] * 3
    assert layers["random_weights_r_squared"].isna().tolist() == [True, False]
    assert layers["random_weights_sum"].isna().tolist() == [True, False]
    # If all documents are too short, no layer has one either.
    tables.write_table(corpus_of(documents=3, tokens=3), path, {"stages": {}})
    found, layers = controls.random_weights([path], controlled(), FACTS, [shard_of(norms)])
    assert found["term"].tolist() == ["intercept", "lag_1", "lag_2"] * 2
    assert found["random_weights"].isna().all()
    assert layers["random_weights_r_squared"].isna().all()
    assert layers["random_weights_documents"].tolist() == [0, 0]


def test_the_table_lists_each_lag_beside_its_controls(norms):
    coefficients = pd.DataFrame(
        {
            "layer": np.repeat([0, 1], 3),
            "term": ["intercept", "lag_1", "lag_2"] * 2,
            "estimate": np.arange(6.0),
        }
    )
    fits = pd.DataFrame({"layer": [0, 1], "r_squared": [0.1, 0.2]})
    order = permutation.order_test(
        sums_of(corpus_of(documents=6), design_settings(lags=(1, 2)), draws=19),
        alpha=0.05,
        adjust="holm",
    )
    random = controls.random_weights([norms, norms], controlled(), FACTS, [shard_of(norms)])
    table = controls.controls_table(coefficients, fits, order, random)
    assert table["term"].tolist() == ["lag_1", "lag_2"] * 2
    assert table["estimate"].tolist() == [1, 2, 4, 5]
    assert table["r_squared"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert table.notna().all(axis=None)
    assert set(table["permutations"]) == {19}
    alone = controls.controls_table(coefficients, fits, None, None)
    assert alone.columns.tolist() == ["layer", "term", "estimate", "r_squared"]
