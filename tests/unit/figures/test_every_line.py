"""Each line of a figure has the values, the interval and the marks of the table it is drawn from.

Numbers differ between all cells of a table, and intervals are wider on one side than on the other.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from figure_inputs import compared, inputs_of, of_regression, of_regressions
from pictures import TITLE, grid

from attnlag.figures import (
    as_in_the_post,
    coefficients_by_depth,
    coefficients_by_layer,
    cosines_by_distance,
    elasticities_by_layer,
    norms_by_layer,
    readout_by_layer,
    sites_by_layer,
    slopes_by_class,
    sources_by_layer,
    specifications_by_layer,
)
from attnlag.figures.sampling import NormsSample
from attnlag.figures.sizes import PAGE
from attnlag.storage import tables

LAYERS = range(4)
TESTED = {"alpha": 0.05, "adjust": "holm", "equivalence_bound": 0.05}
LEVEL = {"alpha": 0.05, "adjust": "holm"}


def with_numbers(table, value="estimate", prefix=""):
    """Return a table with a value, its interval and its tests, no two of them alike."""
    random = np.random.default_rng(len(table) + len(value))
    numbers = random.normal(size=len(table))
    columns = {
        value: numbers,
        f"{prefix}conf_low": numbers - random.uniform(0.1, 0.2, len(table)),
        f"{prefix}conf_high": numbers + random.uniform(0.3, 0.4, len(table)),
    }
    return table.assign(**columns)


def with_tests(table):
    """Return a table with p-values and equivalence tests that differ between rows."""
    random = np.random.default_rng(len(table))
    p_values = np.where(random.random(len(table)) < 0.5, 0.01, 0.3)
    equivalence = np.where(random.random(len(table)) < 0.5, "absent", "undecided")
    return table.assign(p_adjusted=p_values, equivalence=equivalence, vcov_type="cluster")


def coefficients(**names):
    return with_tests(with_numbers(grid(**names)))


def where(table, **values):
    """Return the rows of a table whose columns have these values."""
    for name, value in values.items():
        table = table[table[name] == value]
    return table


def check(line, rows, value="estimate", prefix="", scale=1, tested=False):
    """Assert that a line has the values and the ends of rows, and their marks if they are tests."""
    np.testing.assert_allclose(line.y, scale * rows[value])
    np.testing.assert_allclose(line.low, scale * rows[f"{prefix}conf_low"])
    np.testing.assert_allclose(line.high, scale * rows[f"{prefix}conf_high"])
    if tested:
        assert list(line.weak) == list(rows["p_adjusted"] >= 0.05)
        assert list(line.negligible) == list(rows["equivalence"] == "absent")
    else:
        assert line.weak is None


@pytest.mark.parametrize("lags", [2, 6])
def test_lags_by_layer(lags, looks_as_before):
    """A few have a panel each, many have one for all of them."""
    terms = [f"lag_{n + 1}" for n in range(lags)]
    table = coefficients(layer=LAYERS, term=terms)
    controls = table[["layer", "term"]].assign(
        permuted_low=-0.1, permuted_high=0.2, trained=table["estimate"] - 0.05
    )
    untrained = ["untrained_own", "untrained_by_depth"]
    for place, name in enumerate(untrained):
        controls[name] = 1.0 + place + controls["layer"] / 10
        controls[f"{name}_r_squared"] = 0.9 + place / 100 + controls["layer"] / 1000
    fits = pd.DataFrame({"layer": LAYERS, "r_squared": [0.1, 0.4, 0.2, 0.3]})
    sheet = coefficients_by_layer.figure(of_regression(table, fits=fits, controls=controls))
    looks_as_before(f"coefficients_by_layer_{lags}", sheet)
    panels = sheet.panels
    lines = [panels[0].lines[0], panels[1].lines[0]] if lags == 2 else panels[0].lines
    for term, line in zip(terms, lines, strict=True):
        check(line, table[table["term"] == term], tested=True)
    explained = panels[-1].lines
    np.testing.assert_array_equal(explained[0].y, fits["r_squared"])
    if lags == 2:
        of_lag = controls[controls["term"] == "lag_1"]
        *before, trained = panels[2].lines
        np.testing.assert_array_equal(trained.y, of_lag["trained"])
        for name, line, r_squared in zip(untrained, before, explained[1:], strict=True):
            np.testing.assert_array_equal(line.y, of_lag[name])
            np.testing.assert_array_equal(r_squared.y, of_lag[f"{name}_r_squared"])


def test_lags_by_depth(looks_as_before):
    table = coefficients(model=["a", "b"], layer=LAYERS, term=["lag_1", "lag_2"], corpus=["x"])
    table["depth"] = table["layer"] / 3
    sheet = coefficients_by_depth.figure(compared(table))
    looks_as_before("coefficients_by_depth", sheet)
    for term, panel in zip(("lag_1", "lag_2"), sheet.panels, strict=True):
        for model, line in zip(("a", "b"), panel.lines, strict=True):
            rows = where(table, model=model, term=term)
            check(line, rows, tested=True)
            np.testing.assert_allclose(line.x, rows["depth"])


def test_lags_of_regressions(looks_as_before):
    studies = []
    for name, fixed in (("a", "document"), ("b", "none")):
        table = coefficients(layer=LAYERS, term=["lag_1", "lag_2"]).assign(regression=name)
        table[["estimate", "conf_low", "conf_high"]] += float(name == "b")
        folder = Path(f"results/m/c/attention/{name}")
        stated = {"fixed_effects": fixed}
        studies.append({"folder": folder, "coefficients": table, "stated": stated})
    sheet = specifications_by_layer.figure(of_regressions(*studies))
    looks_as_before("specifications_by_layer", sheet)
    (panel,) = sheet.panels
    for study, line in zip(studies, panel.lines, strict=True):
        check(line, where(study["coefficients"], term="lag_1"), tested=True)


def norms_of(site, layers=LAYERS):
    """Return a sample of norms, the first of every ten tokens at position 0."""
    random = np.random.default_rng(len(site))
    logs = pd.DataFrame(random.gamma(2.0, 1.0, size=(200, len(layers))), columns=list(layers))
    return NormsSample(200, np.arange(200), np.arange(200) % 10, logs)


def check_quantiles(bands, logs):
    """Assert that lines have the middle 90% and the middle 50%, and the median."""
    expected = np.exp(logs.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).to_numpy())
    wide, narrow, _ = bands
    np.testing.assert_allclose([wide.low, wide.high], expected[[0, 4]])
    np.testing.assert_allclose([narrow.low, narrow.high], expected[[1, 3]])
    for line in bands:
        np.testing.assert_allclose(line.y, expected[2])


def test_norms_by_layer(looks_as_before):
    absolute, relative = norms_of("attention"), norms_of("stream")
    norms = {"norms": pd.DataFrame()}
    inputs = inputs_of({"drop_first": 1}, folder=Path("results/m/c/attention/norms"), **norms)
    inputs.norms_sample = absolute
    inputs.relative_sample = relative
    sheet = norms_by_layer.figure(inputs)
    looks_as_before("norms_by_layer", sheet)
    for sample, panel in zip((absolute, relative), sheet.panels, strict=True):
        wide, narrow, first, median = panel.lines
        later = sample.position > 0
        check_quantiles((wide, narrow, median), sample.log_norms[later])
        ends = np.exp(sample.log_norms[~later].quantile([0.5, 0.05, 0.95]).to_numpy())
        np.testing.assert_allclose([first.y, first.low, first.high], ends)


def test_sites_side_by_side(tmp_path, looks_as_before):
    """The norms of each site stand above its coefficients."""
    norms = {}
    paths = []
    studies = []
    for shift, site in enumerate(("attention", "mlp")):
        sample = norms_of(site)
        columns = {f"layer_{layer:02d}": np.exp(sample.log_norms[layer]) for layer in LAYERS}
        folder = tmp_path / f"results/m/c/{site}"
        path = folder / "norms/0000.parquet"
        tables.write_table(pa.table({"position": sample.position, **columns}), path, {})
        paths.append(path)
        norms[site] = sample.log_norms[sample.position > 0]
        table = coefficients(layer=LAYERS, term=["lag_1", "lag_2"])
        table[["estimate", "conf_low", "conf_high"]] += 5 * shift
        studies.append({"folder": folder / "w", "coefficients": table})
    inputs = of_regressions(*studies)
    for path in paths:
        inputs.declared.below["norms", path.parents[1]] = [path]
    sheet = sites_by_layer.figure(inputs)
    looks_as_before("sites_by_layer", sheet)
    panels = sheet.panels
    for site, panel in zip(norms, panels[:2], strict=True):
        check_quantiles(panel.lines, norms[site])
    for study, panel in zip(studies, panels[2:], strict=True):
        for term, line in zip(("lag_1", "lag_2"), panel.lines, strict=True):
            check(line, where(study["coefficients"], term=term), tested=True)


def test_cosines_of_neighbours(looks_as_before):
    quantities = ["cosine_previous", "cosine_previous_centred"]
    table = with_numbers(grid(layer=LAYERS, distance=(1, 2), quantity=quantities), "mean")
    table = table.assign(site="attention", random_pairs=table["mean"] / 2)
    table["untrained"] = table["mean"] / 3
    table = table.assign(tokens=9, documents=3)
    inputs = inputs_of(stages={"geometry_means": LEVEL}, directions=table)
    sheet = cosines_by_distance.figure(inputs)
    looks_as_before("cosines_by_distance", sheet)
    assert "Dashed: the same, untrained" in sheet.note
    lines = sheet.panels[0].lines
    for place, quantity in enumerate(quantities):
        rows = where(table, distance=1, quantity=quantity)
        cosine, pairs, before = lines[3 * place : 3 * place + 3]
        check(cosine, rows, "mean")
        np.testing.assert_array_equal(pairs.y, rows["random_pairs"])
        np.testing.assert_array_equal(before.y, rows["untrained"])


def test_elasticities(looks_as_before):
    table = with_numbers(grid(target_layer=(1, 3), source_layer=LAYERS, lag=(0, 1)))
    table = with_numbers(table, "predictive", "predictive_")
    sites = {"source_site": "attention", "target_site": "attention"}
    table = table.assign(intervention="derivative", **sites)
    sums = grid(target_layer=(1, 3), lag=(0, 1)).assign(**sites)
    sums = with_numbers(with_numbers(sums), "predicted", "predicted_")
    sums = with_numbers(sums, "coefficient", "coefficient_")
    inputs = inputs_of(
        {"source": "attention", "target": "attention"},
        {"elasticities": LEVEL},
        elasticities=table.assign(documents=13),
        total_effects=sums,
    )
    sheet = elasticities_by_layer.figure(inputs)
    looks_as_before("elasticities_by_layer", sheet)
    *panels, of_sums = sheet.panels
    for place, target in enumerate((1, 3)):
        rows = where(table[table["source_layer"] < target], target_layer=target, lag=1)
        check(panels[place].lines[0], rows, "predictive", "predictive_")
        check(panels[place + 2].lines[0], rows)
    rows = sums.query("lag == 1")
    itself, predicted, caused = of_sums.lines
    check(itself, rows, "coefficient", "coefficient_")
    check(predicted, rows, "predicted", "predicted_")
    check(caused, rows)


def test_readout(looks_as_before):
    targets = ("own", "next", "top1")
    table = with_tests(with_numbers(grid(target=targets, layer=LAYERS), "difference"))
    table = table.assign(site="attention", untrained=table["difference"] / 7)
    table = table.assign(tokens=9, documents=3)
    inputs = inputs_of(stages={"traced_table": LEVEL}, readout=table)
    sheet = readout_by_layer.figure(inputs)
    looks_as_before("readout_by_layer", sheet)
    (panel,) = sheet.panels
    for place, target in enumerate(targets):
        rows = table[table["target"] == target]
        effect, before = panel.lines[2 * place : 2 * place + 2]
        check(effect, rows, "difference")
        np.testing.assert_array_equal(before.y, rows["untrained"])


def test_slope_of_all_tokens(looks_as_before):
    table = coefficients(layer=LAYERS, subset=["all", "NOUN", "VERB"], term=["lag_1"])
    table = table.assign(n_obs=90, difference=table["estimate"] / 2, difference_p_adjusted=0.01)
    tests = pd.DataFrame({"term": ["lag_1"], "merged": [""]})
    settings = {"regression": TESTED | {"outcome": "norm"}, "property": "upos"}
    table = table.assign(n_documents=3, median_low=0.1, median_high=0.2, level=0.95)
    tests = tests.assign(p_adjusted=0.01)
    inputs = inputs_of(stages={"classes": settings}, equal_slopes=tests, classes=table)
    sheet = slopes_by_class.figure(inputs)
    looks_as_before("slopes_by_class", sheet)
    shared, _ = sheet.panels
    check(shared.lines[0], table[table["subset"] == "all"], tested=True)


def test_shares_and_lags_of_sources(subtests, looks_as_before):
    alone = {
        "self": "the token itself",
        "previous_1": "the token before",
        "first": "the first token",
    }
    several = {
        "2 to 4 tokens before": ["previous_2", "previous_3", "previous_4"],
        "all others": ["rest", "bias"],
    }
    names = [*alone, *np.concatenate(list(several.values()))]
    table = with_numbers(grid(source=names, layer=LAYERS), "mean")
    parts = [*sources_by_layer.LAGS_OF_PARTS]
    lags = with_numbers(grid(part=parts, layer=LAYERS, term=["lag_1"]))
    inputs = inputs_of(
        stages={"traced_table": {**LEVEL, "regression": "w"}},
        shares=table.assign(tokens=9, documents=3),
        lags=lags,
    )
    sheet = sources_by_layer.figure(inputs)
    looks_as_before("sources_by_layer", sheet)
    *shares, last = sheet.panels
    by_title = {panel.title.removeprefix("written by "): panel.lines[0] for panel in shares}
    for source, label in alone.items():
        check(by_title[label], table[table["source"] == source], "mean", scale=100)
    for label, sources in several.items():
        with subtests.test(label=label):
            sums = table[table["source"].isin(sources)].groupby("layer")["mean"].sum()
            np.testing.assert_allclose(by_title[label].y, 100 * sums)
            # The error of a sum is not known.
            assert not by_title[label].has_interval
    for part, line in zip(parts, last.lines, strict=True):
        check(line, lags[lags["part"] == part])


def test_pictures_of_the_post(looks_as_before):
    table = with_tests(with_numbers(grid(layer=LAYERS, term=["lag_1", "lag_2"])))
    table = table.rename(columns={"p_adjusted": "p_value"})
    outcomes = pd.DataFrame(np.random.default_rng(0).normal(size=(1500, 4)), columns=list(LAYERS))
    pictures = as_in_the_post.pictures(outcomes, table, 0.05, "norm", 4000)
    figure = pictures.draw(TITLE, PAGE)
    looks_as_before("as_in_the_post", figure)
    lines = figure.axes[-1].lines
    for term, line, crosses in zip(("lag_1", "lag_2"), lines[:3:2], lines[1:4:2], strict=True):
        rows = where(table, term=term)
        np.testing.assert_array_equal(line.get_ydata(), rows["estimate"])
        np.testing.assert_array_equal(crosses.get_xdata(), rows.query("p_value >= 0.05")["layer"])
