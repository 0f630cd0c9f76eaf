"""Regressions of directions in one run, against pandas and statsmodels on the files alone."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from described import undescribed
from designs import orders_joined
from oracles import clustered, lags_of
from projects import new_project, without_figures

from attnlag.regression.inference import permutation
from attnlag.storage.tables import read_counts, read_provenance

SITE = "results/tiny/small/attention"
CENTRED = "cosine_previous_centred"
FILES = {"parallel": "geometry", CENTRED: "centred", "self": "written"}
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def project(gpt2, tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("directions") / "project", gpt2)
    project.write_config(
        # What is no vector is stored in full.
        extraction={
            "quantities": ["geometry", "heads"],
            **{"storage_dtype": "float16", "batch_tokens": 64},
        },
        # Heads have the terms of the one of norms.
        regressions={name: {"outcome": name, "lags": [1, 2]} for name in FILES},
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 6}},
        sources={},
        # Those of statsmodels.
        inference={"covariance": "cluster-crv1"},
    )
    project.run(*without_figures())
    return project


def rows_of(path, outcome):
    """Return outcome and lags of layer 1, without what the first token of a sequence enters."""
    values = pq.read_table(path).to_pandas().astype({"document": str})
    used = values["position"] >= 1 + outcome.startswith("cosine")
    y = values[f"layer_01.{outcome}"].astype(np.float64).where(used)
    y = np.log(y) if outcome == "self" else y
    rows = lags_of(y, [values["document"], values["window"]], (1, 2))
    return rows.assign(document=values["document"]).dropna()


def ols(rows):
    return sm.OLS(rows["y"], sm.add_constant(rows[["lag_1", "lag_2"]]))


@pytest.mark.parametrize(("outcome", "folder"), FILES.items())
def test_a_regression_of_directions_equals_statsmodels_on_its_file(project, outcome, folder):
    """This covers coefficients, errors and both controls. Signed quantities are not logarithms."""
    base = project.folder / SITE
    rows = rows_of(base / folder / "0000.parquet", outcome)
    assert outcome != "parallel" or (rows["y"] < 0).any()
    table = pd.read_parquet(base / outcome / "coefficients.parquet")
    mine = table[table["layer"] == 1].set_index("term")
    oracle = ols(rows).fit(**clustered(pd.factorize(rows["document"])[0]))
    names = ["const", "lag_1", "lag_2"]
    np.testing.assert_allclose(mine["estimate"], oracle.params[names], **CLOSE)
    np.testing.assert_allclose(mine["std_error"], oracle.bse[names], **CLOSE)

    # A first token, which has no cosine, does not count as one with a bad number.
    counts = read_counts(base / outcome / "design" / "0000.parquet")
    assert set(counts["nonfinite_norms"].values()) <= {0}

    controls = pd.read_parquet(base / outcome / "controls.parquet").query("layer == 1")
    untrained = ols(rows_of(base / folder / "random_weights.parquet", outcome)).fit().params
    np.testing.assert_allclose(controls["random_weights"], untrained[names[1:]], **CLOSE)
    path = base / outcome / "permutations" / "0000.parquet"
    terms, estimates = permutation.estimates_of_orders(orders_joined([permutation.read(path)]))
    places = [terms.index("lag_1"), terms.index("lag_2")]
    np.testing.assert_allclose(estimates[0, 1, places], oracle.params[names[1:]], **CLOSE)


def test_means_of_directions_are_those_of_the_files_with_both_controls(project):
    base = project.folder / SITE
    means = pd.read_parquet(base / "geometry" / "means.parquet")

    def mean_of(path, column, first):
        values = pq.read_table(base / path).to_pandas()
        return values.loc[values["position"] >= first, f"layer_01.{column}"].mean()

    # The token before is left out where it is a first one.
    for quantity, folder, first in (
        *(("angle", "geometry", 1), ("cosine_previous", "geometry", 2)),
        (CENTRED, "centred", 2),
    ):
        row = means.query("quantity == @quantity and layer == 1 and not distance > 1").iloc[0]
        expected = mean_of(f"{folder}/0000.parquet", quantity, first)
        # Means of centred cosines are of the vectors, and not of their stored half precision.
        assert row["mean"] == pytest.approx(expected, rel=1e-5)
        untrained = mean_of(f"{folder}/random_weights.parquet", quantity, first)
        assert row["random_weights"] == pytest.approx(untrained, rel=1e-5)
    stored = pq.read_metadata(base / "geometry" / "0000.parquet").metadata
    pairs = json.loads(stored[b"attnlag.random_pairs"])
    angle = means.query("quantity == 'angle' and layer == 1").iloc[0]
    assert angle["random_pairs"] == pytest.approx(pairs["angle"][1])
    (growth,) = means.query("quantity == 'stream_log_growth'")["mean"]
    text = (base / "geometry" / "findings.txt").read_text()
    assert f"the stream grows by a factor of {np.exp(growth):.2f} per layer" in text
    assert list(undescribed(project.folder)) == []
    # Nothing in the record of the merged sums is of one shard.
    record = read_provenance(base / "sums" / "all.parquet")
    assert set(record) == {"model", "corpus", "stages", "versions"}


def test_the_sum_of_the_heads_is_regressed_like_the_layer(project):
    """The errors and controls are the same: a head is one more row of the same table."""
    base = project.folder / SITE
    table = pd.read_parquet(base / "heads" / "head_coefficients.parquet")
    assert set(table["part"]) == {"0", "1", "all", "above floor"}
    sums = table[table["part"] == "all"].set_index(["layer", "term"])
    study = base / "notebook"
    layers = pd.read_parquet(study / "coefficients.parquet").set_index(["layer", "term"])
    for column in ("estimate", "std_error", "conf_low", "df", "p_value"):
        np.testing.assert_allclose(sums[column], layers[column].loc[sums.index], rtol=1e-6)
    controls = pd.read_parquet(study / "controls.parquet").set_index(["layer", "term"])
    lags = sums.loc[controls.index]
    np.testing.assert_allclose(lags["random_weights"], controls["random_weights"], rtol=1e-6)
    sinks = pq.read_table(base / "sinks" / "0000.parquet").to_pandas()
    first_tokens = np.stack(sinks.loc[sinks["position"] == 0, "layer_01"].to_list())
    np.testing.assert_allclose(first_tokens, 1, rtol=1e-6)
    text = (base / "heads" / "findings.txt").read_text()
    assert "with the terms of the regression 'notebook'; " in text
    assert "% of its attention to the first token (" in text


def test_sources_and_readout_are_means_over_tokens(project):
    base = project.folder / SITE / "sources"
    rows, random = (pd.read_parquet(base / name) for name in ("0000.parquet", "random_weights"))
    trained, untrained = (table.query("layer == 1 and position >= 1") for table in (rows, random))
    shares = pd.read_parquet(base / "shares.parquet").query("layer == 1").set_index("source")
    expected = trained["first"].mean(), trained["first"].median(), untrained["first"].mean()
    found = shares.loc["first", ["mean", "median", "random_weights"]].astype(float)
    np.testing.assert_allclose(found, expected, 1e-5)
    # The norms are those of another pass, in which sequences share padded batches, up to the half
    # precision of its vectors.
    norms = pd.read_parquet(base.parent / "norms" / "0000.parquet")
    of_layer = rows.query("layer == 1").merge(norms, on=["document", "window", "position"])
    assert len(of_layer) == len(rows) / 2
    np.testing.assert_allclose(of_layer["norm"], of_layer["layer_01"], rtol=5e-4)
    lags = pd.read_parquet(base / "lags.parquet").query("part == 'all'")
    of_layers = pd.read_parquet(base.parent / "notebook" / "coefficients.parquet")
    merged = lags.merge(of_layers, on=["layer", "term"])
    for column in ("estimate", "std_error", "conf_high"):
        np.testing.assert_allclose(merged[f"{column}_x"], merged[f"{column}_y"], atol=2e-3)
    assert "the token before writes" in (base / "findings.txt").read_text()
    effects = pd.read_parquet(base.parent / "readout" / "0000.parquet")
    effects = effects.query("layer == 1 and position >= 1")
    means = pd.read_parquet(base.parent / "readout" / "means.parquet").query("layer == 1")
    difference = (effects["next"] - effects["next_control"]).mean()
    assert means.set_index("target").loc["next", "difference"] == pytest.approx(difference, 1e-5)
    assert "more than the token itself" in (base.parent / "readout" / "findings.txt").read_text()
    project.write_config(sources={"document_tokens": 9})
    jobs = project.would_run()
    assert {"trace_sources", "summarize_sources"} <= set(jobs)
    assert not {"extract_activations", "extract_random_weights"} & set(jobs)
