"""Regressions of every kind, slopes by class too, against what the library gives for their norms.

The library itself is held against statsmodels and literal definitions in `unit/`.
"""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from clubsandwich import tagged
from described import undescribed
from designs import changed
from projects import (
    SEVERAL,
    assert_drawn,
    command_of,
    new_project,
    ran,
    small_corpus,
    without_figures,
)
from transformers import AutoModelForCausalLM

import attnlag
from attnlag.corpus.tokens import load_tokenizer
from attnlag.quantities.surprisal import PREDICTED
from attnlag.storage import tables

BASE = "results/tiny/small"
SITE = f"{BASE}/attention"
NAMES = ["model", "corpus", "site", "regression"]


def table(project, regression, name="coefficients"):
    return pd.read_parquet(project.folder / f"{SITE}/{regression}/{name}.parquet")


def whole(folder):
    return pd.concat(map(pd.read_parquet, sorted(folder.glob("0*.parquet"))), ignore_index=True)


def measured_again(project, **arguments):
    """Measure a project's corpus, and return that with the bits of the project's own norms.

    Another number of threads changes the last bit of some norms.
    """
    folder = project.folder / "data/models/tiny"
    lines = (project.folder / "data/small.jsonl").read_text().splitlines()
    texts = pd.DataFrame(map(json.loads, lines)).set_index("id")
    measured = attnlag.measure(
        AutoModelForCausalLM.from_pretrained(folder),
        load_tokenizer(folder),
        texts["text"],
        groups=texts["genre"],
        progress=False,
        **arguments,
    )
    stored = dict(measured.tables)
    for key, name in ((("norms", "attention"), "attention/norms"), (("stream", ""), "stream")):
        own = whole(project.folder / BASE / name).filter(like="layer_")
        np.testing.assert_allclose(stored[key].select(list(own)).to_pandas(), own, rtol=1e-5)
        stored[key] = changed(stored[key], {column: own[column].to_numpy() for column in own})
    tokens = measured.tokens
    if "surprisal" in arguments.get("quantities", ()):
        predictions = whole(project.folder / BASE / "surprisal")
        np.testing.assert_allclose(tokens["surprisal"], predictions["surprisal"], rtol=1e-4)
        own = {name: predictions[name] for name in PREDICTED}
        tokens = tokens.assign(**own)
        stored["surprisal", ""] = changed(stored["surprisal", ""], own)
    return dataclasses.replace(measured, tables=stored, tokens=tokens)


def assert_equal_tables(fit, project, regression):
    """Compare a fit with the tables and findings of a regression of the project."""
    folder = project.folder / SITE / regression
    by_class = ("classes", "equal_slopes", "nested_models")
    of_fit = ("coefficients", "fits", "controls", "groups", *by_class)
    given = {name: getattr(fit, name) for name in of_fit}
    given |= {name: getattr(fit.fitted, name) for name in ("medians", "influence")}
    for name, found in given.items():
        path = folder / f"{name}.parquet"
        assert (found is not None) == path.exists()
        if found is not None:
            expected = pd.read_parquet(path).drop(columns=NAMES)
            # The norms of random weights are measured anew.
            loose = expected.columns.str.startswith("untrained")
            for columns, rtol in ((~loose, 1e-10), (loose, 1e-4)):
                pd.testing.assert_frame_equal(
                    # What is empty is None before it is written, and NaN once it is read.
                    found.reset_index(drop=True)[expected.columns[columns]].fillna(np.nan),
                    expected.loc[:, columns],
                    check_dtype=False,
                    rtol=rtol,
                    atol=1e-10,
                )
    findings = (folder / "findings.txt").read_text().splitlines()
    assert fit.findings.splitlines()[1:] == findings[1:]


@pytest.fixture(scope="module")
def project(several_once):
    return several_once[0]


def test_the_library_gives_the_tables_of_the_run(project):
    measured = measured_again(project, max_length=40, batch_tokens=1)
    asked = {name: project.config[name] for name in ("controls", "inference")}
    for name, regression in SEVERAL.items():
        assert_equal_tables(attnlag.fit(measured, **asked, **regression), project, name)


def test_texts_name_relative_norms_as_relative(project, subtests):
    for name in ("findings.txt", "summary/layer_01.txt"):
        with subtests.test(name=name):
            assert "log relative norm" in (project.folder / SITE / "relative" / name).read_text()
            assert "relative" not in (project.folder / SITE / "notebook" / name).read_text()


def test_scales_of_untrained_weights_that_are_the_models_own_are_left_out(project, subtests):
    """GPT-2 is drawn at transformers' default, and by depth, as it is."""
    for scale in ("default", "by-depth"):
        with subtests.test(scale=scale):
            path = project.folder / SITE / f"untrained_{scale}.parquet"
            assert pq.read_metadata(path).num_rows == 0
            draw = tables.read_provenance(path)["draw"]
            assert (draw["scale"], draw["left_out"]) == (scale, "the same as own")
    before = table(project, "within", "untrained_scales").set_index(["scale", "quantity"])
    drawn = before["before"].notna().groupby(level="scale", sort=False).agg(["all", "any"])
    assert drawn.index[drawn["all"]].tolist() == ["own", "own-x1.5"]
    assert drawn.index[~drawn["any"]].tolist() == ["default", "by-depth"]
    assert set(before.loc["own", "origin"]) == {"config"}
    lines = (project.folder / SITE / "within" / "findings.txt").read_text()
    left_out = "default scale left out: the same as own; the model's own scale by depth left out: "
    assert left_out in lines


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
    # The run was not asked for its last file, which waits for figures.
    made = {"fits": [f"{SITE}/{name}/fits.parquet" for name in SEVERAL]}
    fitted = tmp_path / "layers_fitted.txt"
    ran(command_of("check_fits", made, {"text": str(fitted)}), cwd=project.folder)
    lines = fitted.read_text().splitlines()
    assert any(
        line.startswith("tiny, small, attention, rich: layers fitted: 1 of 2; ") for line in lines
    )
    assert sum(": layers fitted: 2 of 2; " in line for line in lines) == 3
    assert "error:" not in printed


REGRESSIONS = {
    "by_class": {
        "lags": [1, 2],
        "slopes_by": {"upos": "outcome"},
        "min_rows_per_class": 30,
        "covariates": ["word_final", "upos_previous", "surprisal"],
    },
    "held_fixed": {
        "lags": [1],
        "slopes_by": {"surprisal": "lag"},
        "min_rows_per_class": 30,
        "fixed_effects": "document",
    },
}


@pytest.fixture(scope="module")
def by_class(gpt2, tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("classes") / "project", gpt2)
    # The longest have two windows, and one word has several tokens.
    corpus = re.sub(r"(\w+ \w+ )\w+", r"\1zyxwv", small_corpus(14))
    rows = [json.loads(line) for line in corpus.splitlines()]
    lines = [json.dumps(row | {"tags": tagged(row["text"])}) for row in rows]
    (project.folder / "data" / "small.jsonl").write_text("\n".join(lines))
    tagger = {"column": "tags"}
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": 2, "tagger": tagger}},
        regressions=REGRESSIONS,
        controls={
            "permutation": {"draws": 19, "within": "upos"},
            "random_weights": {"documents": 8},
        },
    )
    project.run(*without_figures("plot_classes"))
    return project


def test_the_findings_state_how_slopes_differ_and_what_was_permuted(by_class):
    text = (by_class.folder / f"{SITE}/by_class/findings.txt").read_text()
    unlike = "; medians over the layers: their intervals do not tell any two classes apart"
    assert unlike in text
    rows = table(by_class, "by_class", "nested_models").query("term == 'lag_1'")
    means = rows.groupby("step")["estimate"]
    first, last = means.mean()[["pooled", "token_previous"]]
    assert f"lag 1, nothing held fixed: {first:.2f} (mean over layers: 2" in text
    assert f"lag 1, previous tokens held fixed too: {last:.2f} (mean over layers: 2" in text
    assert "permuted within the parts of speech of their documents 19 times" in text
    text = (by_class.folder / f"{SITE}/held_fixed/findings.txt").read_text()
    assert unlike in text
    figure = by_class.folder / f"{SITE}/by_class/classes/figures/slopes_by_class.png"
    assert_drawn(figure)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_the_library_gives_the_tables_of_a_run_with_slopes_by_class(by_class, regression):
    texts = (by_class.folder / "data/small.jsonl").read_text().splitlines()
    tags = [json.loads(line)["tags"] for line in texts]
    measured = measured_again(by_class, tagger=tags, quantities="surprisal")
    controls = by_class.config["controls"]
    fit = attnlag.fit(measured, controls=controls, **REGRESSIONS[regression])
    assert_equal_tables(fit, by_class, regression)


def test_a_run_of_some_layers_has_their_numbers(fresh, finished_once, subtests):
    """Layer 0 is neither measured nor stored; geometry and heads have layer 1 alone too."""
    fresh.write_config(extraction={"layers": [1], "quantities": ["geometry", "heads"]})
    folder = "results/tiny/small/attention"
    names = ("notebook/coefficients.parquet", "geometry/means.parquet", "heads/heads.parquet")
    fresh.run(*(f"{folder}/{name}" for name in names))
    for path in ("activations", "norms", "geometry"):
        with subtests.test(path=path):
            stored = pq.read_schema(fresh.folder / folder / path / "0000.parquet")
            layers = {name[:8] for name in stored.names if name.startswith("layer_")}
            assert layers == {"layer_01"}
    for name in names:
        with subtests.test(name=name):
            some, whole = (
                pd.read_parquet(project.folder / folder / name)
                for project in (fresh, finished_once[0])
            )
            of_layer = whole[whole["layer"] == 1].reset_index(drop=True)
            # These are of all layers that are fitted, and of the controls that the other run has.
            apart = [column for column in some if "adjusted" in column or "share_of" in column]
            assert set(some["layer"]) == {1}
            same = [column for column in some if column in whole and column not in apart]
            numbers = some[same].select_dtypes("number")
            pd.testing.assert_frame_equal(numbers, of_layer[numbers.columns], rtol=1e-6)
