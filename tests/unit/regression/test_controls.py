"""The controls of a regression: random weights against statsmodels, and the table of both."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import statsmodels.formula.api as smf
from designs import FACTS, changed, corpus_of, design_settings, orders_of, regression_settings
from scipy import stats

from attnlag.quantities.columns import layer_name
from attnlag.regression.design import design
from attnlag.regression.inference import controls, permutation
from attnlag.storage import tables

COUNTS = design.Counts()


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


def controlled(**changes):
    design_of_control = design_settings(lags=(1, 2))
    return regression_settings(control_design=design_of_control, **changes)


def moments_of(norms):
    return controls.moments_of(norms, controlled().control_design, FACTS)


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
    random = controls.random_weights([norms], settings, FACTS, moments_of(norms))
    found, layers = random.coefficients, random.layers
    for layer, frame in enumerate(rows_of(norms)):
        oracle = smf.ols(FORMULAS[effects], frame).fit()
        own = found[found["layer"] == layer].set_index("term")["random_weights"]
        np.testing.assert_allclose(own[["lag_1", "lag_2"]], oracle.params[["a", "b"]])
        of_layer = layers.loc[layer]
        assert of_layer["random_weights_sum"] == pytest.approx(oracle.params[["a", "b"]].sum())
        if effects == "none":
            assert of_layer["random_weights_r_squared"] == pytest.approx(oracle.rsquared)
    assert layers["random_weights_documents"].tolist() == [12, 12]


def test_the_trained_model_is_fitted_to_the_documents_of_the_control(norms, tmp_path):
    """The control has 5 of the 12 documents; halves of the trained model are not used."""
    whole = pa.Table.from_batches(tables.batches(norms, 10**6, "norms"))
    some = [f"d{i}" for i in range(5)]
    path = written(tmp_path, whole.filter(pc.field("document").isin(some)), "by-depth")
    settings = controlled(fixed_effects="document", bias_correction="half-panel")
    batches = tables.batches(norms, 10**6, "norms")
    trained = controls.moments_of_batches(
        batches, ["layer_00", "layer_01"], settings.control_design, FACTS, 2
    )
    random = controls.random_weights([path], settings, FACTS, trained)
    found, layers = random.coefficients, random.layers
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


def test_scales_are_compared_with_the_trained_model_by_the_jackknife(tmp_path):
    """Each document is left out of both models in turn; statsmodels refits."""
    scales = {"own": (0.6, 0.1), "default": (0.2, 0.0)}
    paths = [
        written(tmp_path, corpus_of(dynamics=dynamics, documents=8, seed=seed), scale)
        for seed, (scale, dynamics) in enumerate(scales.items())
    ]
    trained = written(tmp_path, corpus_of(dynamics=(0.3, 0.1), documents=8, seed=9), "trained")
    found = controls.random_weights(paths, controlled(), FACTS, moments_of(trained))
    assert list(found.coefficients.columns[2:]) == [
        *("random_weights", "random_weights_default", "trained")
    ]
    names = [f"d{i}" for i in range(8)]

    def mean_of(path, documents, term):
        fits = [smf.ols(FORMULAS["none"], rows).fit() for rows in rows_of(path, documents)]
        return np.mean([fit.params[term] for fit in fits])

    for path, scale in zip(paths, scales, strict=True):
        rows = found.compared[found.compared["scale"] == scale].set_index("quantity")
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
    found = controls.random_weights([paths[0], left_out], controlled(), FACTS, moments_of(trained))
    rows = found.compared[found.compared["scale"] == "by-depth"]
    assert rows["before"].isna().all()
    assert set(rows["left_out"]) == {"the same as own"}
    few = written(tmp_path, corpus_of(documents=5), "own")
    found = controls.random_weights([few], controlled(), FACTS, moments_of(trained))
    assert found.compared["difference"].notna().sum() == 3
    assert found.compared[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path):
    whole = pa.Table.from_batches(tables.batches(norms, 10**6, "norms"))
    whole = changed(whole, {"layer_00": np.full(whole.num_rows, 8.0)})
    path = written(tmp_path, whole, "default")
    random = controls.random_weights([path], controlled(), FACTS, moments_of(norms))
    found, layers = random.coefficients, random.layers
    assert found["random_weights"].isna().tolist() == [True] * 3 + [False] * 3
    assert layers["random_weights_r_squared"].isna().tolist() == [True, False]
    assert layers["random_weights_sum"].isna().tolist() == [True, False]
    # If all documents are too short, no layer has one either.
    path = written(tmp_path, corpus_of(documents=3, tokens=3), "default")
    random = controls.random_weights([path], controlled(), FACTS, moments_of(norms))
    found, layers = random.coefficients, random.layers
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
        orders_of(corpus_of(documents=6), design_settings(lags=(1, 2)), draws=19),
        alpha=0.05,
        adjust="holm",
    )
    random = controls.random_weights([norms], controlled(), FACTS, moments_of(norms))
    table = controls.controls_table(coefficients, fits, order, random)
    assert table["term"].tolist() == ["lag_1", "lag_2"] * 2
    assert table["estimate"].tolist() == [1, 2, 4, 5]
    assert table["r_squared"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert table.notna().all(axis=None)
    assert set(table["permutations"]) == {19}
    alone = controls.controls_table(coefficients, fits, None, None)
    assert alone.columns.tolist() == ["layer", "term", "estimate", "r_squared"]
