"""What each figure claims and shows, from tables whose numbers are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.formula.api as smf
from pictures import synthetic_controls, synthetic_tables, texts_of

from attnlag.figures import (
    coefficients_by_depth,
    coefficients_by_layer,
    cosines_by_distance,
    elasticities_by_layer,
    finite_effects_by_distance,
    groups_by_layer,
    heads_by_layer,
    norms_by_layer,
    norms_by_part_of_speech,
    norms_by_position,
    norms_by_surprisal,
    readout_by_layer,
    slopes_by_class,
    sources_by_layer,
    specifications_by_layer,
    wording,
)
from attnlag.figures.sampling import read_norms, shares_between
from attnlag.figures.sizes import PAGE
from attnlag.figures.templates import Sheet
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.storage import tables

LAYERS = range(4)


def coefficients(controls=True, outcome="norm", **kinds):
    table, fits = synthetic_tables(12, **kinds)
    return {
        "coefficients": table,
        "fits": fits,
        "controls": synthetic_controls(table) if controls else None,
        "alpha": 0.05,
        "adjust": "holm",
        "equivalence_bound": 0.05,
        "outcome": outcome,
        "r_squared_name": "R² within documents",
    }


def sheet_of_coefficients(**inputs):
    return coefficients_by_layer.figure(SimpleNamespace(**inputs))


def test_coefficients_stand_beside_their_controls():
    tables_of = coefficients(unfitted=(4,))
    sheet = sheet_of_coefficients(**tables_of)
    one, two, before, explained = sheet.panels
    assert [panel.title for panel in sheet.panels] == [
        "lag 1",
        "lag 2",
        "lag 1 before and after training, not corrected for bias",
        "variance explained within documents",
    ]
    for term, panel in (("lag_1", one), ("lag_2", two)):
        own, controls = (
            tables_of[name][tables_of[name]["term"] == term]
            for name in ("coefficients", "controls")
        )
        line, order = panel.lines
        np.testing.assert_array_equal(line.y, own["estimate"])
        np.testing.assert_array_equal(line.weak, own["p_adjusted"] >= 0.05)
        np.testing.assert_array_equal(order.low, controls["permuted_low"])
        np.testing.assert_array_equal(order.high, controls["permuted_high"])
        assert panel.missing == [4]
    controls = tables_of["controls"].query("term == 'lag_1'")
    # Two scales of the initial weights, and the trained model.
    assert [line.label for line in before.lines] == [
        "before training, first scale",
        "before training, default scale",
        "trained, on the same texts",
    ]
    np.testing.assert_array_equal(before.lines[0].y, controls["random_weights"])
    np.testing.assert_array_equal(before.lines[1].y, controls["random_weights_default"])
    np.testing.assert_array_equal(before.lines[2].y, controls["trained"])
    np.testing.assert_array_equal(explained.lines[0].y, tables_of["fits"]["r_squared"])
    assert sheet.claim == (
        "A norm 1% larger is followed by one 0.23% larger, two tokens later 0.16% larger (median "
        "layer; 0.50 to 1.56% before training, by scale)"
    )
    assert wording.PREDICTIVE in sheet.note


def test_coefficients_without_controls_and_with_many_lags_have_fewer_panels():
    # Norms before training that do not vary have no coefficient.
    constant = coefficients()
    nothing = {"random_weights": np.nan, "random_weights_default": np.nan}
    constant["controls"] = constant["controls"].assign(**nothing)
    for inputs in (coefficients(controls=False), constant):
        few = sheet_of_coefficients(**inputs)
        assert [panel.title for panel in few.panels] == [
            "lag 1",
            "lag 2",
            "variance explained within documents",
        ]
        assert "before training" not in few.claim
    many = sheet_of_coefficients(**coefficients(lags=6))
    lines, _ = many.panels
    assert [line.label for line in lines.lines] == [f"lag {n}" for n in range(1, 7)]
    angle = sheet_of_coefficients(**coefficients(outcome="angle"))
    assert angle.claim.startswith("Lag 1 is ")
    leads = sheet_of_coefficients(**coefficients(lags=0, leads=2))
    assert leads.claim.startswith("Lead 1 is ")
    nowhere = sheet_of_coefficients(**coefficients(unfitted=tuple(range(12))))
    assert nowhere.claim == "No coefficient of norms could be estimated"


def groups_table(groups, estimates):
    return pd.DataFrame(
        {
            "subset": np.repeat(groups, len(LAYERS)),
            "layer": [*LAYERS] * len(groups),
            "term": "lag_1",
            "estimate": np.repeat(estimates, len(LAYERS)),
            "p_adjusted": np.tile([0.01, 0.2, 0.01, 0.01], len(groups)),
            "vcov_type": "cluster",
            "n_documents": 7,
            "status": ["2 documents" if np.isnan(e) else "ok" for e in estimates for _ in LAYERS],
        }
    )


def of_groups(groups, estimates):
    inputs = {"alpha": 0.05, "adjust": "holm", "outcome": "norm"}
    return groups_by_layer.figure(SimpleNamespace(groups=groups_table(groups, estimates), **inputs))


def test_groups_are_rows_of_a_map():
    sheet = of_groups(["prose", "verse", "rare"], [0.2, 0.4, np.nan])
    (cells,) = sheet.panels
    assert cells.rows == ["prose (7)", "verse (7)", "rare (7)"]
    np.testing.assert_array_equal(cells.values[:2], [[0.2] * 4, [0.4] * 4])
    assert cells.weak[0].tolist() == [False, True, False, False]
    assert cells.texts == {2: "not fitted: 2 documents"}
    assert sheet.claim == (
        "Lag 1 is positive in every group of documents: 0.20 (prose) to 0.40 (verse) in the median "
        "layer"
    )
    mixed = of_groups(["prose", "verse", "law"], [0.2, 0.4, -0.1])
    assert mixed.claim.startswith("Lag 1 is positive in 2 of 3 groups of documents: −0.10 (law) to")
    assert not of_groups(["prose"], [0.2]).panels


@pytest.fixture(scope="module")
def norms(tmp_path_factory):
    """Norms of 40 documents in two groups, with parts of speech; layer 2 depends on both."""
    folder = tmp_path_factory.mktemp("norms")
    random = np.random.default_rng(0)
    documents, length = 40, 30
    position = np.tile(np.arange(length), documents)
    names = np.repeat([f"d{n}" for n in range(documents)], length)
    upos = random.choice(["NOUN", "VERB", "none"], len(names))
    verse = np.repeat(np.arange(documents) % 2, length)
    logs = random.normal(size=(len(LAYERS), len(names)))
    logs[2] += 2.0 * (upos == "NOUN") + 1.0 * verse
    logs[:, position == 0] += np.log(3)
    keys = {"document": pa.array(names).dictionary_encode(), "position": position.astype("int32")}
    record = {"model": {"name": "m"}, "corpus": {"name": "c"}}
    for name, shift in (("norms", 0.0), ("stream", 1.0)):
        layers = {f"layer_{n:02d}": np.exp(row + shift) for n, row in enumerate(logs)}
        tables.write_table(pa.table(keys | layers), folder / f"{name}.parquet", record)
    kinds = {
        "upos": pa.array(upos).dictionary_encode(),
        "word": np.arange(len(names)) // 2,
        "word_initial": np.arange(len(names)) % 2 == 0,
    }
    tables.write_table(pa.table(kinds), folder / "properties.parquet", record)
    corpus = {"document": [f"d{n}" for n in range(documents)], "text": ["x"] * documents}
    corpus["group"] = pa.array(["prose", "verse"] * (documents // 2)).dictionary_encode()
    tables.write_table(pa.table(corpus), folder / "corpus.parquet", record)
    frame = pd.DataFrame(logs.T, columns=list(LAYERS)).assign(
        position=position, upos=upos, group=np.where(verse, "verse", "prose"), document=names
    )
    return folder, frame


def norms_inputs(folder: Path, **more):
    names = ("norms", "stream", "properties")
    files = {name: [folder / f"{name}.parquet"] for name in names}
    given = SimpleNamespace(**files, tokens=[], corpus=folder / "corpus.parquet")
    return read_norms(given, SimpleNamespace(site="attention"), {})


def test_norms_by_layer_are_quantiles_without_first_tokens(norms):
    folder, frame = norms
    sheet = norms_by_layer.figure(norms_inputs(folder))
    absolute, relative = sheet.panels
    rest = frame[frame["position"] > 0][list(LAYERS)]
    first = frame[frame["position"] == 0][list(LAYERS)]
    for shown, logs in (
        (absolute.lines[-1].y, rest.median()),
        (absolute.lines[0].low, rest.quantile(0.05)),
        (absolute.lines[1].high, rest.quantile(0.75)),
        (absolute.lines[-2].y, first.median()),
    ):
        np.testing.assert_allclose(shown, np.exp(logs), rtol=1e-6)
    np.testing.assert_allclose(relative.lines[-1].y, np.full(4, np.exp(-1)), rtol=1e-6)
    assert absolute.log_scale


def test_the_trend_of_norms_is_named():
    trend = norms_by_layer.trend_of
    assert trend([0, 1, 2], np.array([2.0, 4.0, 193.4])) == "rise from 2 to 193"
    assert trend([0, 1, 2], np.array([2.0, 193.4, 101.2])) == (
        "rise from 2 to 101 and peak in layer 1 (193)"
    )
    assert trend([0, 1, 2], np.array([1.0, 0.25, 0.5])) == (
        "fall from 1 to 0.5 and are smallest in layer 1 (0.25)"
    )
    assert trend([0, 1, 2], np.array([4.0, 2.0, 4.1])) == (
        "stay near 4 and are smallest in layer 1 (2)"
    )
    assert trend([0, 1], np.array([np.nan, np.nan])) == ""


@pytest.mark.parametrize("longest", [0, 1, 7, 8, 9, 100, 5000])
def test_each_position_is_in_exactly_one_row(longest):
    edges = norms_by_position.position_edges(longest)
    assert edges[0] == 0
    assert edges[-2] <= longest < edges[-1]
    assert (np.diff(edges) > 0).all()
    assert (np.diff(edges)[:8] == 1).all()


def test_norms_by_position_are_means_of_the_rows(norms):
    folder, frame = norms
    sheet = norms_by_position.figure(norms_inputs(folder))
    (cells,) = sheet.panels
    centred = frame[list(LAYERS)] - frame.loc[frame["position"] > 0, list(LAYERS)].mean()
    np.testing.assert_allclose(cells.values[0], centred[frame["position"] == 0].mean(), atol=1e-6)
    np.testing.assert_allclose(cells.values[5], centred[frame["position"] == 5].mean(), atol=1e-6)
    # The first tokens, which are dropped, do not stretch the scale.
    assert cells.limits[1] < np.abs(cells.values[0]).max()
    claim = norms_by_position.claim_of(np.log([2.6, 1.0, 0.45]), [0, 1, 2])
    assert claim == (
        "First tokens are outliers: 2.6 times the layer's mean norm in layer 0, 0.45 times in "
        "layer 2"
    )
    same = norms_by_position.claim_of(np.full(3, 0.01), [0, 1, 2])
    assert same == "First tokens have about the same norms as later ones"


def test_shares_of_variance_stand_beside_what_chance_gives(norms):
    folder, frame = norms
    rest = frame[frame["position"] > 0].rename(columns={2: "y"})
    centred = rest["y"] - rest["y"].mean()
    of_groups = smf.ols("y ~ C(group)", rest).fit().rsquared
    logs = rest[["y"]].rename(columns={"y": 2})
    assert shares_between(logs, rest["group"].to_numpy())[2] == pytest.approx(of_groups)
    speech = norms_by_part_of_speech.figure(norms_inputs(folder))
    (cells,) = speech.panels
    names = [row.partition(" (")[0] for row in cells.rows]
    assert sorted(names) == ["continuation of a word", "noun", "verb"]
    place = names.index("noun")
    begins = rest.index % 2 == 0
    noun = centred[(rest["upos"] == "NOUN") & begins].mean()
    tagged = centred[rest["upos"] != "none"]
    assert cells.values[place, 2] == pytest.approx(noun, abs=1e-6)
    most = smf.ols("y ~ C(upos)", rest.loc[tagged.index]).fit().rsquared
    assert f"to {most:.0%} of the variance" in speech.claim


def test_surprisal_is_permuted_only_within_documents():
    random = np.random.default_rng(0)
    x, document = random.normal(size=60), random.integers(0, 5, 60)
    for draw in norms_by_surprisal.exchanged(x, document, 3):
        assert not np.array_equal(draw, x)
        for one in np.unique(document):
            assert sorted(draw[document == one]) == sorted(x[document == one])


def study(name, effects, estimate, term="lag_1", outcome="norm"):
    table = pd.DataFrame(
        {"regression": name, "layer": LAYERS, "term": term, "estimate": estimate}
    ).assign(conf_low=estimate - 0.1, conf_high=estimate + 0.1, vcov_type="cluster")
    return SimpleNamespace(
        coefficients=table.assign(p_adjusted=[0.01, 0.2, 0.01, 0.01]),
        equivalence_bound=0.05,
        regression={"fixed_effects": effects},
        outcome=outcome,
        alpha=0.05,
        adjust="holm",
    )


def test_regressions_are_named_by_what_they_hold_fixed():
    studies = [study("a", "document", 0.23), study("b", "none", 0.32)]
    sheet = specifications_by_layer.figure(SimpleNamespace(studies=studies))
    assert sheet.claim == "Lag 1 is 0.23 within documents and 0.32 pooled (median layer)"
    assert [line.end for line in sheet.panels[0].lines] == ["within documents", "pooled"]
    # A filled mark is a test.
    assert sheet.panels[0].lines[0].weak.tolist() == [False, True, False, False]
    studies.append(study("c", "none", np.nan, "lead_1"))
    sheet = specifications_by_layer.figure(SimpleNamespace(studies=studies))
    ends = [line.end.replace("\n", " ") for line in sheet.panels[0].lines]
    assert ends == ["within documents", "pooled (b)", "pooled (c) (lead 1, not fitted)"]
    # The title of many regressions has the smallest and the largest number.
    studies = [
        study(name, "none", size) for name, size in zip("abcd", (0.3, -0.5, 0.4, 0.1), strict=True)
    ]
    sheet = specifications_by_layer.figure(SimpleNamespace(studies=studies))
    assert sheet.claim == "Lag 1 is −0.50 pooled (b) and 0.40 pooled (c) (median layer)"


def classes(settings, tests, slopes=None):
    regression = {"alpha": 0.05, "adjust": "holm", "outcome": "norm"}
    settings = {"regression": regression, "offset": 0, **settings}
    return SimpleNamespace(settings=settings, tests=tests, slopes=slopes)


INTERVAL = {"": 0.0, "_low": -0.1, "_high": 0.1}


def slopes_of(sizes):
    rows = [
        {
            "subset": name,
            "layer": layer,
            "term": "lag_1",
            "estimate": estimate,
            "conf_low": estimate - 0.1,
            "conf_high": estimate + 0.1,
            "p_adjusted": 0.001,
            "difference": estimate - 0.3,
            "difference_p_adjusted": 0.01 if layer == 1 else 0.4,
            **{f"median{end}": estimate + by for end, by in INTERVAL.items()},
            "n_obs": n_obs,
            "vcov_type": "cluster",
        }
        for name, (estimate, n_obs) in sizes.items()
        for layer in LAYERS
    ]
    return pd.DataFrame(rows)


def test_classes_are_rows_and_the_extremes_are_named():
    sizes = {"all": (0.3, 900), "PUNCT": (0.16, 300), "SPACE": (0.45, 500), "other": (0.9, 9)}
    tests = pd.DataFrame({"layer": LAYERS, "term": "lag_1", "p_adjusted": 0.01, "merged": "X"})
    tests = tests.assign(hypothesis="equal")
    sheet = slopes_by_class.figure(classes({"property": "upos"}, tests, slopes_of(sizes)))
    shared, cells = sheet.panels
    assert sheet.claim == (
        "Lag 1 is weakest for punctuation (0.16) and strongest for white space (0.45); slopes "
        "differ in every layer"
    )
    near = slopes_of(sizes).assign(median_high=0.5)
    sheet = slopes_by_class.figure(classes({"property": "upos"}, tests, near))
    assert sheet.claim == "Lag 1 differs by part of speech in every layer"
    assert cells.rows == ["white space (500)", "punctuation (300)"]
    np.testing.assert_allclose(cells.values[:, 0], [0.15, -0.14])
    assert cells.weak[0].tolist() == [True, False, True, True]
    np.testing.assert_allclose(shared.lines[0].y, 0.3)
    one = slopes_of({name: sizes[name] for name in ("all", "PUNCT")})
    assert not slopes_by_class.figure(classes({"property": "upos"}, tests, one)).panels


def test_thirds_of_a_number_are_drawn_in_order():
    sizes = {"all": (0.5, 900), "low": (0.5, 290), "middle": (0.5, 310), "high": (0.5, 300)}
    tests = pd.DataFrame({"layer": LAYERS, "term": "lag_1", "p_adjusted": 0.3, "merged": ""})
    sheet = slopes_by_class.figure(classes({"property": "surprisal"}, tests, slopes_of(sizes)))
    assert sheet.panels[1].rows == ["low (290)", "middle (310)", "high (300)"]
    assert sheet.claim == "Lag 1 differs by surprisal in 0 of 4 layers"


def heads(sinks=True, lags=True):
    table = pd.DataFrame(
        [{"layer": layer, "part": p} for layer in LAYERS for p in ("0", "1", "10", WHOLE)]
    ).assign(share=0.5, sink=0.7 if sinks else np.nan, sink_uniform=0.06)
    estimates = pd.DataFrame(
        [
            {"layer": layer, "part": part, "term": "lag_1", "estimate": estimate}
            for layer in LAYERS
            for part, estimate in {"0": 0.2, "1": 0.3, "10": 0.25, WHOLE: 0.23, ABOVE: 0.9}.items()
        ]
    )
    if not lags:
        estimates["estimate"] = np.nan
    return SimpleNamespace(heads=table, coefficients=estimates, alpha=0.05)


def test_heads_are_maps_of_what_was_measured():
    sheet = heads_by_layer.figure(heads())
    share, lag, sink = sheet.panels
    assert share.rows == ["0", "1", "10"]
    np.testing.assert_allclose(share.values, 50)
    np.testing.assert_allclose(lag.values[:, 0], [0.2, 0.3, 0.25])
    np.testing.assert_allclose(sink.values, 70)
    assert sheet.claim == (
        "Lag 1 of single heads is 0.25, that of their sum 0.23 (medians); one head has up to 50% "
        "of its layer's squared norms (33% if equal); the median head gives 70% of its attention "
        "to the first token (6% if equal)"
    )
    assert len(heads_by_layer.figure(heads(sinks=False)).panels) == 2
    unfitted = heads_by_layer.figure(heads(lags=False))
    assert unfitted.claim.startswith("One head has up to 50% of ")
    none = heads()
    none.heads = none.heads.iloc[:0]
    assert heads_by_layer.figure(none).claim == "No heads were found"


def geometry():
    rows = []
    for layer in LAYERS:
        for distance in (1, 2, 4):
            mean = 0.54 / distance
            rows.append({"layer": layer, "quantity": "cosine_previous_centred", "mean": mean})
            rows[-1]["distance"] = distance
    table = pd.DataFrame(rows).assign(site="attention", random_weights=np.nan)
    table = table.assign(random_pairs=table["mean"] / 2)
    return SimpleNamespace(
        means=table.assign(conf_low=table["mean"], conf_high=table["mean"]), alpha=0.05
    )


def test_directions_are_beside_those_of_random_pairs():
    sheet = cosines_by_distance.figure(geometry())
    neighbours, distances = sheet.panels
    np.testing.assert_allclose(neighbours.lines[0].y, 0.54)
    np.testing.assert_allclose(neighbours.lines[1].y, 0.27)
    np.testing.assert_allclose(distances.values[:, 0], [0.54, 0.27, 0.135])
    assert sheet.claim == (
        "Neighbours are pushed the same way (centred cosine 0.54, median layer); the likeness "
        "halves within 2 tokens"
    )


def effects():
    sites = {"source_site": "attention", "target_site": "attention"}
    derivative = [
        {**sites, "source_layer": s, "target_layer": t, "lag": lag, "intervention": "derivative"}
        | {"estimate": 0.01 * s + lag / 100, "predictive": 0.1 * t, "alpha": np.nan}
        for t in (1, 3)
        for s in range(t + 1)
        for lag in (0, 1)
    ]
    finite = [
        {**sites, "source_layer": 0, "target_layer": t, "lag": lag, "intervention": kind}
        | {"estimate": size * t, "alpha": alpha}
        for kind, alpha, size in (("scale", 0.5, 0.1), ("zero", np.nan, 0.2))
        for t in (1, 2, 3)
        for lag in (0, 1)
    ]
    of_next = [
        {"source_site": "attention", "target_site": target, "source_layer": 0, "lag": lag}
        | {"intervention": kind, "alpha": alpha, "estimate": size / (1 + lag)}
        for target in ("kl_divergence", "surprisal")
        for kind, alpha, size in (("scale", 0.5, 0.1), ("zero", np.nan, 0.5))
        for lag in (0, 1)
    ]
    table = pd.DataFrame(derivative + finite + of_next).assign(documents=13, positions=20)
    table = table.assign(conf_low=table["estimate"] - 0.1, conf_high=table["estimate"] + 0.1)
    # As the tables of a run are read.
    table = table.astype(dict.fromkeys(("source_site", "target_site", "intervention"), "category"))
    sums = pd.DataFrame({"target_layer": [1, 3], "lag": 1, "estimate": [0.03, -0.01]})
    sums = sums.assign(coefficient=0.3, conf_low=0.0, conf_high=0.1, target_site="attention")
    sums = sums.assign(coefficient_conf_low=0.2, coefficient_conf_high=0.4, source_site="attention")
    sums = sums.assign(predicted=0.2, predicted_conf_low=-0.1, predicted_conf_high=0.5)
    return SimpleNamespace(
        elasticities=table,
        total_effects=sums,
        source="attention",
        target="attention",
        alpha=0.05,
    )


def test_predictions_and_effects_are_lines_for_each_target_layer():
    sheet = elasticities_by_layer.figure(effects())
    first, last, sums = sheet.panels
    assert [panel.title for panel in sheet.panels] == [
        "on layer 1",
        "on layer 3",
        "all earlier layers",
    ]
    predicted, caused = last.lines
    np.testing.assert_allclose(caused.y[:3], [0.01, 0.02, 0.03])
    np.testing.assert_allclose(caused.high[:3], [0.11, 0.12, 0.13])
    np.testing.assert_allclose(predicted.y[:3], 0.3)
    assert np.isnan(first.lines[1].y[1:]).all()
    # One scale, on which effects are as large as they are.
    assert first.share == last.share == "effects"
    coefficient, jointly, total = sums.lines
    np.testing.assert_allclose(jointly.y, [np.nan, 0.2, np.nan, 0.2])
    np.testing.assert_allclose(coefficient.y, [np.nan, 0.3, np.nan, 0.3])
    np.testing.assert_allclose(total.y, [np.nan, 0.03, np.nan, -0.01])
    # Observed layers lie apart: no line suggests those between them.
    assert coefficient.bars
    assert total.bars
    assert sheet.claim == (
        "Layers predict the next token's adjustment in others by up to 0.30 and change it by at "
        "most 0.03"
    )
    nothing = effects()
    nothing.elasticities = nothing.elasticities.iloc[:0]
    assert not elasticities_by_layer.figure(nothing).panels
    assert not finite_effects_by_distance.figure(nothing).panels


def test_finite_effects_are_lines_by_distance():
    sheet = finite_effects_by_distance.figure(effects())
    divergence, _, same, _ = sheet.panels
    assert [line.label for line in divergence.lines] == ["scale by 0.5", "zero"]
    np.testing.assert_allclose(divergence.lines[1].y, [0.5, 0.25])
    np.testing.assert_allclose(same.lines[1].y, [0.2, 0.4, 0.6])
    assert all(line.low is not None for line in (*divergence.lines, *same.lines[:2]))
    # The derivative is known in its target layers alone.
    np.testing.assert_allclose(same.lines[2].y, [0.0, np.nan, 0.0])
    assert sheet.claim == (
        "The intervention 'zero' changes the prediction of the next token most, by 0.50 nats"
    )


def comparison(**estimates):
    frames = [
        pd.DataFrame({"layer": range(len(values)), "estimate": values}).assign(
            model=model, depth=np.linspace(0, 1, len(values))
        )
        for model, values in estimates.items()
    ]
    table = pd.concat(frames).assign(corpus="x", term="lag_1", p_adjusted=0.01, vcov_type="cluster")
    return table.assign(conf_low=table["estimate"] - 0.1, conf_high=table["estimate"] + 0.1)


def test_models_are_lines_over_their_own_depths():
    table = comparison(a=[0.1, 0.3], b=[0.4, 0.2, -0.1])
    inputs = SimpleNamespace(
        coefficients=table,
        alpha=0.05,
        adjust="holm",
        equivalence_bound=None,
        outcome="norm",
        mixers_of_models={"a": {"1": "Mamba"}},
    )
    sheet = coefficients_by_depth.figure(inputs)
    (panel,) = sheet.panels
    assert [line.label for line in panel.lines] == [
        "a (2 layers, ◇ no attention)",
        "b (3 layers)",
    ]
    np.testing.assert_allclose(panel.lines[1].x, [0, 0.5, 1])
    np.testing.assert_allclose(panel.lines[1].y, [0.4, 0.2, -0.1])
    assert sheet.claim == (
        "Lag 1, median (range) over the layers: a 0.20 (0.10 to 0.30), b 0.20 (−0.10 to 0.40)"
    )


def test_twenty_models_have_distinct_line_styles():
    table = comparison(**{f"model{n}": [0.1] for n in range(20)})
    kinds = coefficients_by_depth.line_styles(table, {})
    assert len({(kind["color"], str(kind["linestyle"])) for kind in kinds.values()}) == 20


def shares(**means):
    rows = [
        {"layer": layer, "source": source, "mean": mean, "conf_low": mean - 0.1}
        for source, sizes in means.items()
        for layer, mean in enumerate(sizes)
    ]
    table = pd.DataFrame(rows)
    return table.assign(conf_high=table["mean"] + 0.1)


def test_shares_are_lines_of_means_and_so_is_the_title():
    names = ["first", "self", "previous_2", "previous_3", "previous_4", "rest", "bias"]
    table = shares(previous_1=[0.2, 0.5, 0.1], **{name: [0.1, 0.05, 0.12] for name in names})
    settings = {"alpha": 0.05, "regression": "within"}
    inputs = SimpleNamespace(shares=table, lags=pd.DataFrame(), settings=settings)
    sheet = sources_by_layer.figure(inputs)
    (panel,) = sheet.panels
    of_label = {line.label: line for line in panel.lines}
    np.testing.assert_allclose(of_label["the token before"].y, [20, 50, 10])
    np.testing.assert_allclose(of_label["the token before"].high, [30, 60, 20])
    np.testing.assert_allclose(of_label["2 to 4 tokens before"].y, [30, 15, 36])
    assert of_label["2 to 4 tokens before"].low is None
    assert sheet.claim == (
        "The token before writes on average 50% of the adjustment in layer 1 and 20% in the median "
        "layer"
    )
    # A mark is a test, of which a share has none.
    assert all(line.weak is None for line in panel.lines)


def test_one_layer_far_below_the_others_does_not_set_the_scale_of_readout():
    rows = [
        {"layer": layer, "target": target, "site": "attention", "difference": size}
        for target in ("own", "next", "first_choice")
        for layer, size in enumerate([-1.4 if target == "own" else 0.0, 0.1, 0.2, 0.3])
    ]
    table = pd.DataFrame(rows)
    table = table.assign(conf_low=table["difference"] - 0.1, random_weights=0.01)
    table = table.assign(conf_high=table["difference"] + 0.1)
    settings = {"alpha": 0.05}
    (panel,) = readout_by_layer.figure(SimpleNamespace(readout=table, settings=settings)).panels
    assert panel.ylim == (-0.2, None)
    figure = Sheet("c", LAYERS, [panel], "").draw("T\ns", PAGE)
    assert "layer 0 ↓ −1.40" in texts_of(figure)
    labels = [line.label for line in panel.lines if line.label]
    assert labels.count("before training, first scale") == 1
    near = table.assign(conf_low=-0.3)
    (panel,) = readout_by_layer.figure(SimpleNamespace(readout=near, settings=settings)).panels
    assert panel.ylim == (None, None)
