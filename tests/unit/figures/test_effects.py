"""The figures of interventions: what is drawn is what the tables hold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from attnlag.figures import (
    elasticities_by_layer,
    finite_effects_by_distance,
    finite_effects_by_part_of_speech,
)
from attnlag.figures.inputs.vectors import EffectsInputs
from attnlag.figures.sizes import COLUMN, PAGE, SLIDE
from attnlag.storage import tables

TARGETS, LAYERS = [1, 3], 4
BANDS = ("conf", "joint")


def with_bands(rows):
    ends = {f"{band}_{end}": rows["estimate"] + side for band in BANDS for end, side in SIDES}
    return rows.assign(std_error=0.01, documents=5, positions=50, **ends)


SIDES = (("low", -0.02), ("high", 0.02))


def elasticities():
    rows = [
        ("attention", s, "attention", m, k, "derivative", np.nan, 0.01 * s + 0.1 * m + k / 1000)
        for m in TARGETS
        for s in range(m + 1)
        for k in range(3)
    ]
    kinds = [("scale", 0.5), ("scale", 2.0), ("zero", np.nan), ("mean", np.nan)]
    rows += [
        ("attention", 0, "attention", m, k, kind, alpha, 0.05 * m + k / 100)
        for kind, alpha in kinds
        for m in range(LAYERS)
        for k in range(3)
    ]
    rows += [
        ("attention", 0, target, None, k, kind, alpha, 0.5 / (k + 1))
        for kind, alpha in kinds
        for target in ("surprisal", "kl_divergence")
        for k in range(3)
    ]
    names = ["source_site", "source_layer", "target_site", "target_layer", "lag"]
    table = pd.DataFrame(rows, columns=[*names, "intervention", "alpha", "estimate"])
    table["target_layer"] = table["target_layer"].astype("Int64")
    return with_bands(table).assign(predictive=table["estimate"] * 5)


def transmitted():
    rows = pd.DataFrame({"target_layer": TARGETS, "lag": 1, "estimate": [0.03, -0.01]})
    sites = {"source_site": "attention", "target_site": "attention"}
    beside = {"coefficient": [0.4, 0.6], "regression": "within"}
    ends = {"coefficient_conf_low": 0.3, "coefficient_conf_high": 0.7}
    return with_bands(rows.assign(**sites, **beside, **ends))


def by_part_of_speech():
    """NOUN as all tokens, VERB three times as much, and X in too few documents."""
    finite = elasticities().query("intervention != 'derivative'")
    values = ["estimate", "conf_low", "conf_high"]
    parts = []
    for tag, factor, documents in (("NOUN", 1, 5), ("VERB", 3, 6), ("X", 9, 4)):
        part = finite.assign(upos=tag, documents=documents)
        parts.append(part.assign(**{name: factor * part[name] for name in values}))
    return pd.concat(parts)


@pytest.fixture
def inputs(tmp_path):
    """The tables as fit_effects writes them."""
    record = {
        **{"model": {"name": "tiny"}, "corpus": {"name": "small"}},
        "stages": {"elasticities": {"alpha": 0.05}},
    }
    found = {
        "elasticities": elasticities(),
        "transmitted": transmitted(),
        "by_part_of_speech": by_part_of_speech(),
    }
    for name, frame in found.items():
        path = tmp_path / f"{name}.parquet"
        tables.write_frame(frame, path, path.with_suffix(".csv"), record)
    return EffectsInputs(tmp_path / "elasticities.parquet", "attention", "attention")


def meshes(figure):
    return [
        artist
        for axes in figure.axes
        for artist in axes.collections
        if isinstance(artist, QuadMesh) and axes.get_xlabel() == "source layer"
    ]


@pytest.mark.parametrize(("size", "maps"), [(PAGE, 2), (COLUMN, 2), (SLIDE, 4)])
def test_both_heat_maps_are_triangles_on_one_scale(inputs, size, maps):
    data = elasticities_by_layer.reduce(inputs)
    figure = elasticities_by_layer.draw(data, title="title", size=size)
    found = meshes(figure)
    # A flat figure has both lags.
    assert len(found) == maps
    assert len({(mesh.norm.vmin, mesh.norm.vmax) for mesh in found}) == 1
    table = elasticities().query("intervention == 'derivative'")
    largest = table.query("source_layer < target_layer and lag > 0")["predictive"].max()
    assert found[0].norm.vmax == pytest.approx(largest)
    values = {"predictive": found[0], "estimate": found[maps // 2]}
    for name, mesh in values.items():
        drawn = mesh.get_array().reshape(len(TARGETS), max(TARGETS))
        for row, target in enumerate(TARGETS):
            own = table[(table["target_layer"] == target) & (table["lag"] == 1)]
            expected = own.set_index("source_layer")[name]
            for source in range(max(TARGETS)):
                if source < target:
                    assert drawn[row, source] == pytest.approx(expected[source])
                else:
                    assert np.ma.is_masked(drawn[row, source])


def test_the_sums_are_drawn_beside_the_coefficients(inputs):
    data = elasticities_by_layer.reduce(inputs)
    figure = elasticities_by_layer.draw(data, title="title")
    (below,) = [axes for axes in figure.axes if axes.get_xlabel() == "target layer"]
    drawn = [list(line.get_ydata()) for line in below.lines]
    assert [0.4, 0.6] in drawn
    assert [0.03, -0.01] in drawn
    assert elasticities_by_layer.title_of(data) == (
        "One token and any number of layers apart, coefficients reach 1.61, causal elasticities "
        "0.321"
    )
    assert inputs.name == "tiny, small, attention"


@pytest.mark.parametrize("size", [PAGE, COLUMN, SLIDE])
def test_finite_effects_are_drawn_by_distance(inputs, size):
    data = finite_effects_by_distance.reduce(inputs)
    figure = finite_effects_by_distance.draw(data, title="title", size=size)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert {"scale", "zero", "mean"} <= set(panels)
    lines = [line for line in panels["zero"].lines if len(line.get_xdata()) == LAYERS - 1]
    np.testing.assert_allclose(lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(lines[0].get_ydata(), [0.05, 0.1, 0.15])
    # Minus the elasticity, in the target layers that it was taken in.
    (predicted,) = [line for line in panels["zero"].lines if line.get_marker() == "D"]
    np.testing.assert_allclose(predicted.get_xdata(), [1, 3])
    np.testing.assert_allclose(predicted.get_ydata(), [-0.1, -0.3])
    # A change of direction is not predicted.
    assert not [line for line in panels["mean"].lines if line.get_marker() == "D"]
    (kl,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("KL")]
    np.testing.assert_allclose(kl.lines[-1].get_ydata(), [0.5, 0.25, 0.5 / 3])


def test_each_pair_of_sites_has_figures_of_its_own(inputs):
    other = inputs.elasticities.replace({"target_site": {"attention": "mlp"}})
    other["estimate"] *= 2
    inputs.elasticities = pd.concat([inputs.elasticities, other])
    beside = dataclasses.replace(inputs, target="mlp")
    beside.elasticities = inputs.elasticities
    assert beside.name == "tiny, small, attention to mlp"
    for module, table in (
        (elasticities_by_layer, "pairs"),
        (finite_effects_by_distance, "effects"),
        (finite_effects_by_distance, "derivative"),
    ):
        one, two = (getattr(module.reduce(pair), table) for pair in (inputs, beside))
        np.testing.assert_allclose(two["estimate"], 2 * one["estimate"])
    # The prediction of the next token follows from what is changed alone.
    assert not finite_effects_by_distance.reduce(beside).next_token.empty


@pytest.mark.parametrize("size", [PAGE, COLUMN, SLIDE])
def test_effects_by_part_of_speech_are_drawn_beside_those_of_all_tokens(inputs, size):
    data = finite_effects_by_part_of_speech.reduce(inputs)
    assert list(data.tags.index) == ["VERB", "NOUN"]
    assert data.rare == ["X"]
    # One scale is drawn: the one with the factor furthest from 1.
    assert [label for label, _, _ in data.lines] == ["scale by 0.5", "zero", "mean"]
    assert finite_effects_by_part_of_speech.title_of(data).endswith(
        "by 0.500 nats (NOUN) to 1.500 (VERB); equal parts of speech would all have 0.500"
    )
    figure = finite_effects_by_part_of_speech.draw(data, title="title", size=size)
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    # The mean over the layers after the changed one, 0, at this distance in tokens.
    later = np.mean([0.05 * m for m in range(1, LAYERS)])
    for label, expected in (
        ("KL divergence (nats)", 0.5),
        ("Δ log norm, same token", later),
        ("Δ log norm, next token", later + 0.01),
    ):
        axes = panels[label]
        marks = [bars.lines[0].get_xdata() for bars in axes.containers]
        np.testing.assert_allclose(marks, [[3 * expected, expected]] * 3)
        dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        np.testing.assert_allclose(dotted, expected)
    texts = [text.get_text().replace("\n", " ") for text in figure.texts]
    assert any(text.endswith("In fewer than 5 documents: X.") for text in texts)


@pytest.mark.parametrize(
    "module",
    [elasticities_by_layer, finite_effects_by_distance, finite_effects_by_part_of_speech],
)
def test_a_figure_without_data_is_drawn(inputs, module):
    inputs.elasticities = inputs.elasticities.iloc[:0]
    inputs.by_part_of_speech = inputs.by_part_of_speech.iloc[:0]
    inputs.transmitted = inputs.transmitted.iloc[:0]
    data = module.reduce(inputs)
    assert module.draw(data, title=module.title_of(data)).axes
