"""Earlier checkpoints of a model in a run: their files and tables, what reruns, what is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from described import undescribed
from oracles import lags_of
from projects import new_project, save_model, without_figures

from attnlag.storage.tables import read_provenance

SITE = "results/tiny/small/attention"
CONTROL = {"permutation": None, "random_weights": None, "revisions": {"documents": 7}}


@pytest.fixture(scope="module")
def project(gpt2, tmp_path_factory):
    """Return a finished run of a model with two checkpoints, which have no tokenizer."""
    project = new_project(tmp_path_factory.mktemp("training") / "project", gpt2)
    for seed, step in enumerate((0, 64, 256)):
        folder = project.folder / f"step{step}"
        save_model(
            folder,
            "gpt2",
            seed + 1,
            n_layer=2,
            n_embd=32,
            n_head=2,
            n_positions=64,
            vocab_size=8281,
        )
    project.write_config(
        models={"tiny": {"source": "path", "path": "mine", "revisions": ["step64", "step0"]}},
        regressions={
            "within": {"lags": [1, 2], "fixed_effects": "document", "covariates": ["surprisal"]},
            "relative": {"lags": [1], "outcome": "relative"},
            "angle": {"lags": [1], "outcome": "angle"},
        },
        extraction={"quantities": ["geometry", "surprisal"], "keep": "norms"},
        controls=CONTROL,
    )
    project.run(*without_figures("plot_training"))
    return project


@pytest.fixture
def read(project):
    return lambda path: pd.read_parquet(project.folder / f"{path}.parquet")


@pytest.mark.parametrize("regression", ["within", "relative"])
def test_lags_of_checkpoints_equal_plain_least_squares_on_their_norms(
    project, read, regression, subtests
):
    table = read(f"{SITE}/{regression}/training")
    assert table["step"].drop_duplicates().fillna(-1).tolist() == [0, 64, -1]
    assert table["revision"].drop_duplicates().tolist() == ["step0", "step64", "final"]
    assert set(table["documents"]) == {7}
    by_layer = read(f"{SITE}/{regression}/training_layers").set_index(["step", "layer", "quantity"])
    for step in (0, 64):
        with subtests.test(step=step):
            norms = read(f"{SITE}/revisions/{step}").astype({"document": str})
            stream = read(f"results/tiny/small/stream/revisions/{step}")
            surprisal = read("results/tiny/small/surprisal/0000").astype({"document": str})
            surprisal = surprisal.set_index(["document", "window", "position"])["surprisal"]
            assert norms["document"].nunique() == 7
            for layer in range(2):
                sizes = norms[f"layer_0{layer}"].astype(float)
                if regression == "relative":
                    sizes = sizes / stream[f"layer_0{layer}"]
                y = np.log(sizes).where(norms["position"] >= 1)
                keys = [norms["document"], norms["window"]]
                rows = lags_of(y, keys, (1, 2) if regression == "within" else (1,))
                columns = list(rows.columns.drop("y"))
                if regression == "within":
                    place = norms.set_index(["document", "window", "position"]).index
                    rows["surprisal"] = surprisal.reindex(place).to_numpy()
                    columns.append("surprisal")
                rows["document"] = norms["document"]
                rows = rows.dropna()
                design = rows[columns]
                outcome = rows["y"]
                if regression == "within":
                    by_document = rows.groupby("document")
                    design = design - by_document[columns].transform("mean")
                    outcome = outcome - by_document["y"].transform("mean")
                else:
                    design = design.assign(constant=1.0)
                expected, *_ = np.linalg.lstsq(design.to_numpy(), outcome.to_numpy(), rcond=None)
                found = by_layer.loc[(step, layer, "lag_1"), "estimate"]
                assert found == pytest.approx(expected[0], rel=1e-6)


def test_the_loss_is_the_mean_surprisal_of_the_same_tokens(project, read):
    table = read(f"{SITE}/within/training").set_index("quantity").loc["lag_1"]
    names = read(f"{SITE}/revisions/0")["document"].unique()
    surprisal = read("results/tiny/small/surprisal/0000")
    of_final = surprisal.loc[surprisal["document"].isin(names), "surprisal"].mean()
    expected = [
        read(f"results/tiny/small/surprisal/revisions/{n}")["surprisal"].mean() for n in (0, 64)
    ]
    np.testing.assert_allclose(table["loss"], [*expected, of_final], rtol=1e-6)


def test_files_state_their_checkpoint_and_have_documented_columns(project):
    record = read_provenance(project.folder / f"{SITE}/revisions/64.parquet")
    assert record["checkpoint"]["step"] == 64
    assert record["checkpoint"]["revision"] == "step64"
    source = json.loads((project.folder / "data/models/tiny/revisions/64/source.json").read_text())
    assert "tokenizer.json" not in source["files"]
    assert not list((project.folder / "results").rglob("revisions/*/activations"))
    assert not (project.folder / f"{SITE}/angle/training.parquet").exists()
    assert list(undescribed(project.folder)) == []
    log = project.folder / "logs/tiny/small/attention/within/fit_training.log"
    assert ": fitted 2 checkpoints of 7 documents (" in log.read_text()
    figures = project.folder / f"{SITE}/within/training/figures"
    assert [path.name for path in figures.glob("[!.]*")] == ["coefficients_by_step.png"]


def test_the_words_of_a_run_have_the_course_of_training(project):
    answers = (project.folder / "results/answers.txt").read_text()
    (line,) = [line for line in answers.splitlines() if "during training" in line]
    assert "at step 0" in line
    assert line.endswith("(same texts: 7; none corrected for bias); steps measured: 2")
    findings = (project.folder / f"{SITE}/within/findings.txt").read_text()
    assert "loss in nats a token:" in findings
    assert "of its final value" in findings
    claims = pd.read_parquet(project.folder / "results/claims.parquet").set_index("claim")
    table = pd.read_parquet(project.folder / f"{SITE}/within/training.parquet")
    lags = table[table["quantity"] == "lag_1"].set_index("revision")
    own = claims[(claims["analysis"] == "within") & claims["subject"].str.startswith("lag_1")]
    assert own.loc["training_first", "subject"] == "lag_1, step 0"
    assert own.loc["training_first", "value"] == lags.loc["step0", "estimate"]
    assert own.loc["training_first", "low"] == lags.loc["step0", "conf_low"]
    assert own.loc["training_highest", "value"] == lags["estimate"][:2].max()
    assert own.loc["training_settled", "value"] in lags["difference"].tolist()
    assert own.loc["training_final", "value"] == lags.loc["final", "estimate"]


def test_one_more_revision_measures_that_one_alone_and_a_missing_one_loses_nothing(
    project, tmp_path
):
    later = project.copy(tmp_path / "project")
    measuring = {"fetch_revision", "extract_revision", "fit_training"}
    assert not measuring & later.would_run().keys()
    models = {"source": "path", "path": "mine", "revisions": ["step64", "step0", "step256"]}
    later.write_config(models={"tiny": models})
    measured = {"fetch_revision": 1, "extract_revision": 1, "fit_training": 3}
    plan = later.would_run()
    assert {rule: plan.get(rule) for rule in measured} == measured
    others = {"fit_regression", "extract_activations", "fetch_model", "build_design"}
    assert not others & plan.keys()
    # Weights that cannot be read stop that revision; the others stay.
    weights = later.folder / "step256/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    before = later.results("tiny/small/attention/**/*")
    printed = later.fails(*without_figures())
    assert "models.tiny.revisions, step 256: model.safetensors is no readable" in printed
    assert later.results("tiny/small/attention/**/*") == before
    weights.write_bytes(whole)
    plan = later.would_run()
    assert {rule: plan.get(rule) for rule in measured} == measured
    # A source may name the weights of another step wrongly.
    shutil.copy(later.folder / "step64/model.safetensors", weights)
    printed = later.fails(*without_figures())
    assert "models.tiny.revisions: found the same weights at steps 64 and 256" in printed


def test_a_checkpoint_of_another_kind_is_refused_with_both_numbers(project, tmp_path):
    other = project.copy(tmp_path / "project")
    config = json.loads((other.folder / "step256/config.json").read_text())
    del config["n_layer"]
    shutil.rmtree(other.folder / "step256")
    save_model(
        other.folder / "step256",
        "gpt2",
        n_layer=3,
        n_embd=32,
        n_head=2,
        n_positions=64,
        vocab_size=99,
    )
    models = {"source": "path", "path": "mine", "revisions": ["step0", "step256"]}
    other.write_config(models={"tiny": models})
    printed = other.fails("-n")
    assert (
        "models.tiny.revisions: found 3 layers in 'step256', but the model has 2 layers" in printed
    )
    assert "found 99 tokens in 'step256', but the model has 8281 tokens" in printed
