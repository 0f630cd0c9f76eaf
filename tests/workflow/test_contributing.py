"""The examples of docs/contributing.md, added as it says."""

import base64
import gzip
import json
import os
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from projects import ROOT, assert_drawn, new_project, ran, without_figures
from warm_python import python

from attnlag.storage.tables import read_provenance

PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
LIBRARY = "scripts/attnlag"
CATALOGUE = f"{LIBRARY}/quantities/catalogue.py"
# Where the blocks of code of each walk of the page go: after which line of a file, or in a new one.
WALKS = {
    "covariate": [(f"{LIBRARY}/regression/covariates.py", r"^CATALOGUE: .* = \{\n")],
    "covariance": [(f"{LIBRARY}/regression/covariances.py", r"^CATALOGUE = \{\n")],
    "property of tokens": [(f"{LIBRARY}/corpus/catalogue.py", r"^CATALOGUE = \{\n")],
    "quantity": [
        (CATALOGUE, r"^QUANTITIES = by_name\(\n"),
        (f"{LIBRARY}/quantities/two_before.py", ""),
    ],
    "site": [(CATALOGUE, r"^SITES = by_name\(\n")],
    "figure": [(f"{LIBRARY}/figures/rows_by_layer.py", "")],
    "stage": [
        ("workflow/rules/tokens.smk", r"\Z"),
        (f"{LIBRARY}/pipeline/targets.py", r'^    files = .*"token_summary".*\n'),
        ("scripts/measure_lengths.py", ""),
        (f"{LIBRARY}/pipeline/outputs.yaml", r"^  results/\{model\}/\{corpus\}:\n"),
        (f"{LIBRARY}/pipeline/stages.py", r"^STAGES = \{\n"),
    ],
}
KEYS = ["document", "window", "position"]
# Those that are looked at.
SITES = ["attention", "difference"]


def add(project, walk):
    """Add the blocks of code of a walk to a project, as an editor would."""
    section = PAGE.split(f"## Add a {walk}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\w+\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    for block, (file, after) in zip(blocks, WALKS[walk], strict=True):
        path = project.folder / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        (end,) = [match.end() for match in re.finditer(after, text, re.MULTILINE)]
        assert file.endswith(".yaml") or max(map(len, block.splitlines())) <= 100
        # The entries of this catalogue are arguments of a call.
        block = f"{block.rstrip()},\n" if file == CATALOGUE else block
        path.write_text(text[:end] + block + text[end:], encoding="utf-8")


@pytest.fixture(scope="module")
def extended(gpt2, tmp_path_factory):
    """Return a project with one more of each kind, after its run."""
    project = new_project(tmp_path_factory.mktemp("extended") / "project", gpt2)
    for walk in WALKS:
        add(project, walk)
    project.write_config(
        extraction={
            "sites": ["attention", "mlp", "difference"],
            "quantities": ["two_before"],
        },
        regressions={
            "notebook": {
                "lags": [1, 2],
                "covariates": ["odd_token", "with_e"],
                "slopes_by": {"with_e": "outcome"},
                "min_rows_per_class": 20,
            },
            "two_back": {"lags": [1], "outcome": "cosine_two_before"},
        },
        controls={"permutation": {"draws": 19}, "random_weights": {"scales": ["own"]}},
        inference={"covariance": "cluster-crv0"},
    )
    project.run(*without_figures())
    project.run(*(f"results/tiny/small/{site}/notebook/figures" for site in SITES))
    return project


@pytest.fixture(scope="module")
def made(extended):
    """Return the folder of what was made of the model and the corpus."""
    return extended.folder / "results/tiny/small"


@pytest.fixture
def read(made):
    """Return the function that reads a table by its path, without its ending."""
    return lambda path: pd.read_parquet(made / f"{path}.parquet")


def test_a_covariate_is_a_term_of_the_design_and_of_permuted_documents(made, read):
    design = read("attention/notebook/design/0000")
    np.testing.assert_array_equal(design["odd_token"], design["token_id"] % 2)
    assert "odd_token" in set(read("attention/notebook/coefficients")["term"])
    record = read_provenance(made / "attention/notebook/permutations/0000.parquet")
    terms = ["y", "lag_1", "lag_2", "odd_token", "with_e"]
    assert record["sums"]["terms"] == terms


def test_a_covariance_gives_the_errors_of_a_fit(made, read):
    table = read("attention/notebook/coefficients")
    assert set(zip(table["vcov_type"], table["df"], strict=True)) == {("cluster-crv0", 7)}
    summary = made / "attention/notebook/summary/layer_00.txt"
    assert "clustered by document (CRV0)" in summary.read_text()


def test_a_property_is_a_column_a_covariate_a_class_and_a_shade(extended, read):
    tokens = read("token_properties/0000")
    np.testing.assert_array_equal(tokens["with_e"], tokens["text"].str.contains("e"))
    design = read("attention/notebook/design/0000")
    rows = design.merge(tokens, on=KEYS, suffixes=("", "_of_token"))
    np.testing.assert_array_equal(rows["with_e"], rows["with_e_of_token"].astype(float))
    slopes = read("attention/notebook/classes").query("term == 'lag_1'")
    assert set(slopes["subset"].astype(str)) == {"all", "false", "true"}
    page = (extended.folder / "results/explorer.html").read_text(encoding="utf-8")
    packed = re.findall(r">\s*(H4sI[^<\s]+)", page)
    blocks = [gzip.decompress(base64.b64decode(block)) for block in packed]
    assert any(b"has the letter e" in block for block in blocks)


def test_a_site_is_measured_and_regressed(read, subtests):
    for layer in ("layer_00", "layer_01"):
        with subtests.test(layer=layer):
            attention, mlp, difference = (
                np.stack(read(f"{site}/activations/0000")[layer])
                for site in ("attention", "mlp", "difference")
            )
            np.testing.assert_allclose(difference, attention - mlp, atol=1e-6)
    assert set(read("difference/notebook/coefficients")["site"]) == {"difference"}


@pytest.mark.parametrize("site", SITES)
def test_a_quantity_is_measured_and_regressed(read, site):
    vectors = read(f"{site}/activations/0000")
    found = read(f"{site}/two_before/0000")
    a = np.stack(vectors["layer_01"]).astype(float)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    expected = np.append([np.nan] * 2, (a[2:] * a[:-2]).sum(1))
    expected[vectors["position"] < 2] = np.nan
    np.testing.assert_allclose(found["layer_01.cosine_two_before"], expected, atol=1e-5)
    rows = read(f"{site}/two_back/design/0000").merge(found, on=KEYS).dropna()
    np.testing.assert_array_equal(rows["layer_01.y"], rows["layer_01.cosine_two_before"])
    assert len(rows) > 100
    assert read(f"{site}/two_back/controls")["untrained_own"].notna().all()
    assert "lag_1" in set(read(f"{site}/two_back/coefficients")["term"])


NOTEBOOK = """
import sys
sys.path[0] = "scripts"
import attnlag, json, transformers
folder = "data/models/tiny"
model = transformers.AutoModelForCausalLM.from_pretrained(folder)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
rows = [json.loads(line) for line in open("data/small.jsonl", encoding="utf-8")]
texts = {row["id"]: row["text"] for row in rows}
measured = attnlag.measure(model, tokenizer, texts, quantities=["two_before"], progress=False)
fit = attnlag.fit(measured, lags=[1], outcome="cosine_two_before")
print(fit.coefficients.query("term == 'lag_1'")["estimate"].tolist())
"""


def test_a_quantity_is_an_outcome_in_a_notebook(extended, read):
    (extended.folder / "notebook.py").write_text(NOTEBOOK)
    printed = ran([python(), "notebook.py"], cwd=extended.folder).stdout
    estimates = json.loads(printed.splitlines()[-1])
    table = read("attention/two_back/coefficients").query("term == 'lag_1' & subset == 'all'")
    np.testing.assert_allclose(estimates, table["estimate"], rtol=1e-3)


def test_a_stage_makes_its_output(made, read):
    mean = read("tokens/0000")["input_ids"].map(len).mean()
    assert json.loads((made / "lengths.json").read_text()) == {"mean": pytest.approx(mean)}


@pytest.mark.parametrize("site", SITES)
def test_a_figure_is_drawn_for_every_regression(made, site):
    assert_drawn(made / site / "notebook/figures/rows_by_layer.png")


def test_the_generated_documentation_includes_the_additions(extended):
    for page in ("docs", "config", "workflow/schemas"):
        shutil.copytree(ROOT / page, extended.folder / page, dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(extended.folder / "scripts")}
    keys, outputs = (
        ran([sys.executable, "docs/generate.py", page], cwd=extended.folder, env=environment).stdout
        for page in ("keys", "columns")
    )
    assert "`rows_by_layer`" in outputs.split("{regression}/figures/` | ")[1].split("\n")[0]
    assert "`mean`: their mean [tokens]" in outputs
    assert "`layer_NN.cosine_two_before`: cosine with the adjustment two tokens before" in outputs
    assert "`odd_token` | `odd_token` | whether the token's number is odd | yes | no" in keys
    assert "`difference` (the difference of the two)" in keys


def test_the_message_for_a_wrong_name_suggests_the_added_one(extended):
    extended.write_config(regressions={"notebook": {"lags": [1], "covariates": ["odd_tokens"]}})
    assert "did you mean 'odd_token'?" in extended.fails("-n")
