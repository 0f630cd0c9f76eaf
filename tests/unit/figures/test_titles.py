"""Titles say what the numbers say."""

import numpy as np
import pandas as pd

from attnlag.figures import (
    coefficients_by_depth,
    coefficients_by_layer,
    diagnostics,
    groups_by_layer,
    norms_by_layer,
    norms_by_position,
    outcome_by_lag,
    sites_by_layer,
    specifications_by_layer,
)


def tidy(p_values, term="lag_1", vcov_type="cluster", subset="all", estimates=None, regression="r"):
    return pd.DataFrame(
        {
            "regression": regression,
            "subset": subset,
            "layer": range(len(p_values)),
            "term": term,
            "estimate": p_values if estimates is None else estimates,
            "p_adjusted": p_values,
            "vcov_type": vcov_type,
        }
    )


def test_significant_layers_are_counted_by_lag():
    table = pd.concat([tidy([0.01, 0.2, 0.04]), tidy([0.9, 0.001, np.nan], "lag_2")])
    assert (
        coefficients_by_layer.of_coefficients(table, 0.05)
        == "Lag 1 predicts in 2 of 3 layers, lag 2 in 1"
    )
    assert (
        coefficients_by_layer.of_coefficients(table, 0.02)
        == "Lag 1 predicts in 1 of 3 layers, lag 2 in 1"
    )
    permuted = tidy([0.01, 0.2], vcov_type="permutation")
    assert (
        coefficients_by_layer.of_coefficients(permuted, 0.05)
        == "Lag 1 differs from its null in 1 of 2 layers"
    )
    assert coefficients_by_layer.of_coefficients(tidy([np.nan]), 0.05) == "Coefficients by layer"


def test_the_best_layer_is_named():
    fits = pd.DataFrame({"layer": [3, 4, 5], "r_squared": [0.1, 0.567, np.nan]})
    assert (
        outcome_by_lag.of_r_squared(fits)
        == "The regression explains up to 57% of the variance (layer 4)"
    )
    assert outcome_by_lag.of_r_squared(fits.assign(r_squared=np.nan)) == "Outcome by lag"


def test_norms_and_first_tokens():
    medians = np.log([4.0, 2.0, 200.0])
    assert norms_by_layer.of_norms(medians, [0, 1, 2]) == (
        "Median norm from 2 (layer 1) to 200 (layer 2)"
    )
    typical = np.zeros(3)
    assert norms_by_position.of_positions(np.log([3.0, 0.5, 1.0]), typical, [0, 1, 2]) == (
        "First tokens against the others: up to 3 times as large (layer 0), down to 1/2 (layer 1)"
    )
    assert norms_by_position.of_positions(typical + 0.01, typical, [0, 1, 2]) == (
        "First tokens are like the others"
    )
    assert (
        norms_by_position.of_positions(typical * np.nan, typical, [0, 1, 2])
        == "Norms along the text"
    )


def test_groups():
    table = pd.concat([tidy([0.01, 0.2], subset="prose"), tidy([0.01, 0.02], subset="verse")])
    assert groups_by_layer.of_groups(table, "lag_1", 0.05) == (
        "Lag 1 predicts in 50% (prose) to 100% (verse) of the layers"
    )
    same = table.assign(p_adjusted=0.01)
    assert groups_by_layer.of_groups(same, "lag_1", 0.05) == (
        "Lag 1 predicts in 100% of the layers of every group"
    )


def test_specifications_have_one_title_if_they_show_one_term():
    tables = [tidy([1, 1, 1], estimates=[0.1, 0.3, 0.2], regression=name) for name in ("a", "b")]
    assert specifications_by_layer.of_specifications(tables, {"a": "lag_1", "b": "lag_1"}) == (
        "Lag 1, median over the layers: a 0.20, b 0.20"
    )
    assert (
        specifications_by_layer.of_specifications(tables, {"a": "lag_1", "b": "lead_1"})
        == "Regressions by layer"
    )


def test_diagnostics_and_sites():
    fits = pd.DataFrame({"kurtosis": [2.5, 3.5, 9.04, np.nan]})
    assert diagnostics.of_diagnostics(fits) == (
        "Residuals have heavier tails than normal in 2 of 3 layers (kurtosis up to 9.0)"
    )
    sites = {"attention": tidy([0.01, 0.2]), "mlp": tidy([0.01, 0.02])}
    assert sites_by_layer.of_sites(sites, 0.05) == (
        "Lag 1 predicts in 1 of 2 layers (attention), 2 of 2 layers (mlp)"
    )


def test_a_comparison_tells_models_from_their_controls():
    learned = pd.concat(
        [
            tidy([0.01, 0.2]).assign(model="a", corpus="x"),
            tidy([0.01, 0.02]).assign(model="b", corpus="x"),
            tidy([0.9, 0.9], "lag_2").assign(model="a", corpus="x"),
        ]
    ).assign(control=False)
    said = "Lag 1 predicts in 50% to 100% of the layers"
    assert coefficients_by_depth.of_comparison(learned, 0.05) == said
    control = tidy([0.4, 0.3]).assign(model="twin", corpus="x", control=True)
    both = pd.concat([control, learned])
    assert coefficients_by_depth.of_comparison(both, 0.05) == f"{said}, with random weights in 0%"
    assert (
        coefficients_by_depth.of_comparison(control, 0.05)
        == "Lag 1 predicts with random weights in 0%"
    )
    nothing = learned.assign(p_adjusted=np.nan)
    assert coefficients_by_depth.of_comparison(nothing, 0.05) == "Coefficients by relative depth"
