"""The controls of a regression: random weights against statsmodels, and the table of both."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.formula.api as smf
from designs import design_settings, regression_settings
from test_permutation import FACTS, corpus_of, sums_of

from attnlag.adjustments.columns import layer_name
from attnlag.regression import controls, design, permutation
from attnlag.storage import tables


@pytest.fixture
def norms(tmp_path):
    """Return a file of norms of 12 documents in two layers, and the design of their regression."""
    table = corpus_of(level=0.5, dynamics=(0.6, 0.1), documents=12, tokens=25)
    path = tmp_path / "norms.parquet"
    tables.write_table(table, path, {"stages": {}})
    return path


def controlled(**changes):
    design_of_control = design_settings(lags=(1, 2), position_knots=None)
    return regression_settings(control_design=design_of_control, **changes)


def test_random_weights_have_the_coefficients_and_r_squared_of_statsmodels(norms):
    for effects, formula in (("none", "y ~ a + b"), ("document", "y ~ a + b + C(document)")):
        settings = controlled(fixed_effects=effects)
        found, layers = controls.random_weights(norms, settings, FACTS)
        batches = tables.batches(norms, 10**6, "norms")
        (rows,) = design.designs(batches, settings.control_design, design.Counts(), FACTS)
        for layer in range(2):
            name = layer_name(layer)
            frame = rows.to_pandas().rename(
                columns={f"{name}.y": "y", f"{name}.lag_1": "a", f"{name}.lag_2": "b"}
            )
            oracle = smf.ols(formula, frame).fit()
            own = found[found["layer"] == layer].set_index("term")["random_weights"]
            np.testing.assert_allclose(own[["lag_1", "lag_2"]], oracle.params[["a", "b"]])
            if effects == "none":
                expected = oracle.rsquared
                r_squared = layers["random_weights_r_squared"][layer]
                assert r_squared == pytest.approx(expected)
    assert layers["random_weights_documents"].tolist() == [12, 12]


def test_the_bias_of_document_effects_is_corrected_as_in_the_trained_model(norms):
    plain = controls.random_weights(norms, controlled(fixed_effects="document"), FACTS)
    settings = controlled(fixed_effects="document", bias_correction="half-panel")
    corrected = controls.random_weights(norms, settings, FACTS)
    lag = plain[0]["term"] == "lag_1"
    assert (corrected[0]["random_weights"] > plain[0]["random_weights"])[lag].all()


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path):
    table = tables.batches(norms, 10**6, "norms")
    whole = pa.Table.from_batches(table)
    whole = whole.set_column(4, "layer_00", pa.array(np.full(whole.num_rows, 8.0)))
    path = tmp_path / "constant.parquet"
    tables.write_table(whole, path, {"stages": {}})
    found, layers = controls.random_weights(path, controlled(), FACTS)
    assert found["random_weights"].isna().tolist() == [True] * 3 + [False] * 3
    assert layers["random_weights_r_squared"].isna().tolist() == [True, False]
    # If all documents are too short, no layer has one either.
    tables.write_table(corpus_of(documents=3, tokens=3), path, {"stages": {}})
    found, layers = controls.random_weights(path, controlled(), FACTS)
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
    random = controls.random_weights(norms, controlled(), FACTS)
    table = controls.controls_table(coefficients, fits, order, random)
    assert table["term"].tolist() == ["lag_1", "lag_2"] * 2
    assert table["estimate"].tolist() == [1, 2, 4, 5]
    assert table["r_squared"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert table.notna().all(axis=None)
    assert set(table["permutations"]) == {19}
    alone = controls.controls_table(coefficients, fits, None, None)
    assert alone.columns.tolist() == ["layer", "term", "estimate", "r_squared"]
