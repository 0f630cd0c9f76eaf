"""The titles of figures state what their numbers show."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from attnlag.figures import (
    coefficients_by_depth,
    coefficients_by_layer,
    diagnostics,
    groups_by_layer,
    norms_by_layer,
    norms_by_position,
    order_left,
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


def of_coefficients(table, **more):
    data = coefficients_by_layer.Data(table, pd.DataFrame(), 0.05, "holm", **more)
    return coefficients_by_layer.title_of(data)


def test_titles_say_that_there_is_nothing_to_show():
    nothing = [SimpleNamespace(median=np.nan, layer=0)]
    fits = SimpleNamespace(panels=nothing, lags=[2], left=np.array([np.nan]))
    assert diagnostics.title_of(fits) == "No layer was fitted, so there are no residuals"
    layers = SimpleNamespace(layers=nothing, relative=nothing)
    assert norms_by_layer.title_of(layers) == "No layer has a finite norm other than zero"


def test_the_title_of_coefficients_compares_them_with_random_weights():
    table = pd.concat([tidy([0.01, 0.2, 0.04]), tidy([0.9, 0.001, np.nan], "lag_2")])
    assert of_coefficients(table) == (
        "Pooled over documents, large norms follow large ones: lag 1 is 0.04 and lag 2 is 0.45 in "
        "the median layer"
    )
    random = pd.DataFrame(
        {"term": ["lag_1"] * 2 + ["lag_2"] * 2, "random_weights": [1.5, 1.7, np.nan, np.nan]}
    )
    assert of_coefficients(table, controls=random, within=True) == (
        "Within documents, large norms follow large ones: lag 1 is 0.04 (with random weights "
        "1.60) and lag 2 is 0.45 in the median layer"
    )
    small = of_coefficients(table, negligible=0.05)
    assert small.startswith("Pooled over documents, norms hardly depend on those before them: ")
    leads = table.assign(term=table["term"].str.replace("lag", "lead"), estimate=-0.2)
    assert of_coefficients(leads) == (
        "Pooled over documents, large norms precede small ones: lead 1 is -0.20 and lead 2 is "
        "-0.20 in the median layer"
    )


def test_the_title_of_a_lag_states_the_share_that_it_explains():
    panels = [
        SimpleNamespace(layer=layer, r_squared=share)
        for layer, share in {3: 0.1, 4: 0.567, 5: np.nan, 6: 0.02}.items()
    ]
    assert outcome_by_lag.title_of(outcome_by_lag.Data(panels, "lag_1", 9)) == (
        "Lag 1 explains 10% of the variance that the other terms leave in the median layer, 57% in "
        "layer 4"
    )
    assert outcome_by_lag.title_of(outcome_by_lag.Data(panels[2:3], "lag_1", 9)) == (
        "No layer was fitted"
    )


def test_the_title_of_norms_states_their_range_and_the_first_token():
    def of_medians(*columns):
        layers, relative = (
            [SimpleNamespace(median=np.log(norm), layer=n) for n, norm in enumerate(medians)]
            for medians in columns
        )
        return norms_by_layer.title_of(SimpleNamespace(layers=layers, relative=relative))

    assert of_medians([2.0, 4.0, 193.4], [1.0, 0.5, 0.25]) == (
        "The median norm grows with depth, from 2 (layer 0) to 190 (layer 2); relative to the "
        "stream it falls with depth, from 1 (layer 0) to 0.25 (layer 2)"
    )
    assert of_medians([4.0, 2.0, 4.1], [0.3, 0.2, 0.3]).startswith(
        "The median norm is 2 (layer 1) to 4.1 (layer 2); relative"
    )

    def of_positions(first):
        return norms_by_position.title_of(SimpleNamespace(means=first[None], layers=[0, 1, 2]))

    assert of_positions(np.log([3.0, 0.5, 1.0])) == (
        "First tokens stand out, with norms up to 3 times (layer 0) and down to 1/2 (layer 1) "
        "their layer's norm"
    )
    assert of_positions(np.full(3, 0.01)) == "First tokens have about the same norms as later ones"
    assert of_positions(np.full(3, np.nan)) == "Norms along the text"


def test_the_title_of_order_left_sums_the_partial_autocorrelations():
    data = order_left.Data([5, 6, 7], np.zeros((20, 3)), [3, 4, 5], np.array([0.1, 0.2, np.nan]))
    said = (
        "Order is left in the residuals: partial autocorrelations at lags 3 to 5 add up to 0.15 "
        "in the median layer and 0.20 in layer 6 (0 if the lags sufficed)"
    )
    panels = [SimpleNamespace(layer=layer) for layer in data.layers]
    others = SimpleNamespace(panels=panels, lags=data.lags, left=data.left)
    assert order_left.title_of(data) == diagnostics.title_of(others) == said
    data.left[:] = 0.01, -0.02, 0.0
    assert order_left.title_of(data).startswith("Little order is left: partial")
    assert "-0.02 in layer 6" in order_left.title_of(data)


def of_groups(table):
    data = groups_by_layer.Data(table, "lag_1", 0.05, "holm")
    return groups_by_layer.title_of(data)


def test_the_title_of_groups_states_their_range():
    table = pd.concat(
        [
            tidy([0.01, 0.2, 0.3], subset="prose"),
            tidy([0.01, 0.02, 0.6], subset="verse", estimates=[0.5, 0.4, -0.1]),
            tidy([np.nan, np.nan, np.nan], subset="rare"),
        ]
    )
    assert (
        of_groups(table)
        == "Lag 1 differs by group: in the median layer 0.20 (prose) to 0.40 (verse)"
    )
    assert of_groups(table[:3]) == "Lag 1 is 0.20 in the median layer (prose)"
    assert of_groups(table[6:]) == "No group of documents could be fitted separately"


def of_specifications(*tables):
    return specifications_by_layer.title_of(specifications_by_layer.Data(tables, 0.05))


def test_the_title_of_specifications_of_one_term_names_the_extremes():
    one, two, three = (
        tidy([1, 1, 1], estimates=[0.1, 0.3, middle], regression=name)
        for name, middle in {"a": 0.2, "b": 0.25, "c": 0.15}.items()
    )
    assert of_specifications(one, two, three) == (
        "Lag 1 is 0.15 in the median layer (c) or 0.25 (b): it depends on what is held fixed"
    )
    assert of_specifications(one) == "Lag 1, median over the layers: 0.20 (a)"
    assert of_specifications(one, two.assign(term="lead_1")) == "Coefficients of all regressions"


def test_the_title_of_sites_states_median_and_range_of_each():
    sites = [
        sites_by_layer.SitePanels(site, [0, 1], np.empty((2, 5)), tidy(p_values), pd.DataFrame())
        for site, p_values in {"attention": [0.01, 0.2], "mlp": [0.01, 0.02]}.items()
    ]
    assert sites_by_layer.title_of(sites_by_layer.Data(sites, 0.05, "holm", 1)) == (
        "Lag 1, median (range) over the layers: attention 0.11 (0.01 to 0.20), "
        "mlp 0.01 (0.01 to 0.02)"
    )


def of_comparison(table):
    return coefficients_by_depth.title_of(coefficients_by_depth.Data(table, 0.05, "holm"))


def test_the_title_of_a_comparison_states_models_and_controls():
    learned = pd.concat(
        [
            tidy([0.01, 0.2], estimates=[0.1, 0.3]).assign(model="a", corpus="x"),
            tidy([0.01, 0.02], estimates=[0.4, -0.1]).assign(model="b", corpus="x"),
            tidy([0.9, 0.9], "lag_2").assign(model="a", corpus="x"),
        ]
    ).assign(control=False)
    said = "Lag 1, median (range) over the layers: a 0.20 (0.10 to 0.30), b 0.15 (-0.10 to 0.40)"
    assert of_comparison(learned) == said
    control = tidy([0.4, 0.3], estimates=[1.5, 1.7]).assign(model="twin", corpus="x", control=True)
    both = pd.concat([control, learned])
    assert of_comparison(both) == f"{said}; random weights 1.60 (1.50 to 1.70)"
    nothing = learned.assign(estimate=np.nan)
    assert of_comparison(nothing) == "Coefficients by relative depth"
    many = pd.concat([learned, learned.assign(corpus="y", estimate=0.25)])
    assert of_comparison(many) == ("Lag 1, median over the layers: 0.15 (b, x) to 0.25 (a, y)")
