"""Regressions of every kind in one run, against what the library gives for the same norms.

The library itself is held against statsmodels and literal definitions in `unit/`.
"""

import pandas as pd
import pyarrow.parquet as pq
import pytest
from described import undescribed
from in_memory import assert_equal_tables, measured_again
from projects import SEVERAL

import attnlag
from attnlag.storage import tables

SITE = "results/tiny/small/attention"


def table(project, regression, name="coefficients"):
    return pd.read_parquet(project.folder / f"{SITE}/{regression}/{name}.parquet")


@pytest.fixture(scope="module")
def project(several_once):
    return several_once[0]


def test_the_library_gives_the_tables_of_the_run(project):
    measured = measured_again(project, max_length=40, batch_tokens=1)
    asked = {name: project.config[name] for name in ("controls", "inference")}
    for name, regression in SEVERAL.items():
        assert_equal_tables(attnlag.fit(measured, **asked, **regression), project, name)


def test_texts_name_relative_norms_as_relative(project):
    for name in ("findings.txt", "summary/layer_01.txt"):
        assert "log relative norm" in (project.folder / SITE / "relative" / name).read_text()
        assert "relative" not in (project.folder / SITE / "notebook" / name).read_text()


def test_scales_of_random_weights_that_are_the_models_own_are_left_out(project):
    """GPT-2 is drawn at transformers' default, and by depth, as it is."""
    for scale in ("default", "by-depth"):
        path = project.folder / SITE / f"random_weights_{scale}.parquet"
        assert pq.read_metadata(path).num_rows == 0
        draw = tables.read_provenance(path)["draw"]
        assert (draw["scale"], draw["left_out"]) == (scale, "the same as own")
    before = table(project, "within", "before_training").set_index(["scale", "quantity"])
    assert before["before"].notna().tolist() == [True] * 4 + [False] * 8
    assert set(before.loc["own", "origin"]) == {"config"}
    lines = (project.folder / SITE / "within" / "findings.txt").read_text()
    assert "transformers' left out: the same as own; by depth left out" in lines


def test_every_file_and_column_is_described(project):
    assert list(undescribed(project.folder)) == []


def test_the_lack_of_a_layer_before_the_first_is_not_a_failure(several_once, tmp_path):
    project, printed = several_once
    fits = table(project, "rich", "fits")
    assert fits["status"].tolist() == ["there is no layer before it", "ok"]
    assert fits["n_obs"][0] == fits["n_dropped"][0] == 0
    assert table(project, "rich").query("layer == 0")["estimate"].isna().all()
    text = (project.folder / SITE / "rich" / "summary" / "layer_00.txt").read_text()
    assert "Not fitted: there is no layer before it" in text
    copy = project.copy(tmp_path / "project")
    copy.run("results/layers_fitted.txt")
    lines = (copy.folder / "results/layers_fitted.txt").read_text().splitlines()
    assert "tiny, small, attention, rich: 1 of 2 layers fitted" in lines
    assert [line.split(": ")[1] for line in lines].count("2 of 2 layers fitted") == 3
    assert "error:" not in printed
