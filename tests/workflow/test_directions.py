"""Directions, heads and sources in one run: tables against the files that they are to be made from.

How the numbers are computed is held in `unit/`; here it is that the right files reach each job.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from described import undescribed
from oracles import lags_of
from projects import new_project, without_figures

from attnlag.regression.design.counts import read_counts
from attnlag.storage.tables import read_provenance

SITE = "results/tiny/small/attention"
CENTRED = "cosine_previous_centred"
FILES = {"parallel": "geometry", CENTRED: "centred_cosines", "from_itself": "source_parts"}
LAGS = ["lag_1", "lag_2"]


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
    )
    project.run(*without_figures())
    return project


@pytest.fixture
def read(project):
    """Return the function that reads a table of the site by its path."""
    return lambda path: pd.read_parquet(project.folder / SITE / f"{path}.parquet")


def mean_of(table, column, first=1):
    """Return the mean of a column in layer 1, from a position on."""
    rows = table.query("layer == 1") if "layer" in table else table
    return rows.loc[rows["position"] >= first, column].mean()


@pytest.mark.parametrize(("outcome", "folder"), FILES.items())
def test_a_regression_of_directions_equals_statsmodels_on_its_file(project, read, outcome, folder):
    """This covers the control too. Signed quantities are not logarithms."""

    def lags_in(file):
        """Return the coefficients of layer 1, without first tokens and cosines with these."""
        values = read(f"{folder}/{file}").astype({"document": str})
        first = 1 + outcome.startswith("cosine")
        y = values[f"layer_01.{outcome}"].astype(np.float64).where(values["position"] >= first)
        assert outcome != "parallel" or (y < 0).any()
        y = np.log(y) if outcome == "from_itself" else y
        rows = lags_of(y, [values["document"], values["window"]], (1, 2)).dropna()
        return sm.OLS(rows["y"], sm.add_constant(rows[LAGS])).fit().params[LAGS]

    table = read(f"{outcome}/coefficients").query("layer == 1").set_index("term")
    np.testing.assert_allclose(table.loc[LAGS, "estimate"], lags_in("0000"), 1e-6, 1e-8)
    untrained = read(f"{outcome}/controls").query("layer == 1")["untrained_own"]
    np.testing.assert_allclose(untrained, lags_in("untrained"), 1e-6, 1e-8)
    # A first token, which has no cosine, does not count as one with a bad number.
    counts = read_counts(project.folder / SITE / outcome / "design/0000.parquet")
    assert set(counts["nonfinite_norms"].values()) <= {0}


def test_means_of_directions_are_those_of_the_files_with_both_controls(project, read, subtests):
    means = read("geometry/means").query("layer == 1 and not distance > 1").set_index("quantity")
    # The token before is left out where it is a first one.
    for quantity, folder, first in (
        *(("angle", "geometry", 1), ("cosine_previous", "geometry", 2)),
        (CENTRED, "centred_cosines", 2),
    ):
        # Means of centred cosines are of the vectors, and not of their stored half precision.
        for column, file in (("mean", "0000"), ("untrained", "untrained")):
            with subtests.test(column=column):
                expected = mean_of(read(f"{folder}/{file}"), f"layer_01.{quantity}", first)
                assert means.loc[quantity, column] == pytest.approx(expected, rel=1e-5)
    assert list(undescribed(project.folder)) == []
    # Nothing in the record of the merged sums is of one shard.
    record = read_provenance(project.folder / SITE / "sums/all.parquet")
    assert set(record) == {"model", "corpus", "stages", "sums", "versions"}


def test_the_sum_of_the_heads_is_regressed_like_the_layer(read, subtests):
    """The errors and controls are the same: a head is one more row of the same table."""
    keys, errors = ["layer", "term"], ["estimate", "std_error", "conf_low", "df", "p_value"]
    sums = read("heads/head_coefficients").query("part == 'all'").set_index(keys)
    for table, columns in (("coefficients", errors), ("controls", ["untrained"])):
        with subtests.test(table=table):
            layers = read(f"notebook/{table}").rename(columns={"untrained_own": "untrained"})
            layers = layers.set_index(keys)[columns]
            np.testing.assert_allclose(sums.loc[layers.index, columns], layers, rtol=1e-6)
    # All sinks are of the traced documents: the first tokens attend to nothing else.
    sinks = read("sinks/0000").query("position == 0")["layer_01"]
    np.testing.assert_allclose(np.stack(sinks.to_list()), 1, rtol=1e-6)


def test_sources_and_readout_are_means_over_tokens(project, read, subtests):
    shares = read("sources/shares").query("layer == 1").set_index("source").loc["first"]
    files = {"mean": "sources/0000", "untrained": "sources/untrained/0000"}
    for column, file in files.items():
        with subtests.test(column=column):
            assert shares[column] == pytest.approx(mean_of(read(file), "first"), rel=1e-5)
    # The norms are those of another pass, in which sequences share padded batches, up to the half
    # precision of its vectors.
    keys = ["document", "window", "position"]
    rows = read("sources/0000").query("layer == 1").merge(read("norms/0000"), on=keys)
    np.testing.assert_allclose(rows["norm"], rows["layer_01"], rtol=5e-4)
    effects = read("readout/0000").eval("apart = next - next_control")
    means = read("readout/means").query("layer == 1").set_index("target")
    assert means.loc["next", "difference"] == pytest.approx(mean_of(effects, "apart"), 1e-5)
    for folder, words in (("sources", "the token before writes"), ("heads", "of its attention to")):
        with subtests.test(folder=folder):
            assert words in (project.folder / SITE / folder / "findings.txt").read_text()
