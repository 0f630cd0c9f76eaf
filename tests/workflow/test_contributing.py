"""The examples of docs/contributing.md, added as it says."""

import base64
import gzip
import json
import os
import re
import shutil
import sys
import textwrap

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from projects import ROOT, assert_drawn, new_project, ran, without_figures

from attnlag.storage.tables import read_provenance

PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
COVARIATES = "scripts/attnlag/regression/design/covariates.py"
COVARIANCES = "scripts/attnlag/regression/covariances.py"
PROPERTIES = "scripts/attnlag/corpus/catalogue.py"
CATALOGUE = "scripts/attnlag/quantities/catalogue.py"
OUTPUTS = "scripts/attnlag/pipeline/outputs.yaml"
STUDY = "results/tiny/small/{}/notebook"


def blocks_of(walk):
    """Return the blocks of code of a walk of the page."""
    section = PAGE.split(f"## Add a {walk}\n")[1].split("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def block_of(walk):
    """Return the first of these."""
    return blocks_of(walk)[0]


def insert(project, file, after, block):
    """Insert a block of code after a line of a file, which is there once."""
    path = project.folder / file
    text = path.read_text(encoding="utf-8")
    assert text.count(after) == 1
    assert file.endswith(".yaml") or max(map(len, block.splitlines())) <= 100
    path.write_text(text.replace(after, after + block), encoding="utf-8")


@pytest.fixture(scope="module")
def extended(gpt2, tmp_path_factory):
    """Return a project with one more of each kind, after its run."""
    project = new_project(tmp_path_factory.mktemp("extended") / "project", gpt2)
    beginning = re.search(r"^CATALOGUE: .* = \{\n", (ROOT / COVARIATES).read_text(), re.MULTILINE)
    insert(project, COVARIATES, beginning[0], block_of("covariate"))
    insert(project, COVARIANCES, "CATALOGUE = {\n", block_of("covariance"))
    insert(project, PROPERTIES, "CATALOGUE = {\n", block_of("property of tokens"))
    site, (quantity, module) = block_of("site"), blocks_of("quantity")
    for name, entry in (("SITES", site), ("QUANTITIES", quantity)):
        entry = textwrap.indent(f"{entry.rstrip()},\n", "    ")
        insert(project, CATALOGUE, f"{name} = by_name(\n", entry)
    (project.folder / "scripts/attnlag/quantities/two_before.py").write_text(module)
    figure = project.folder / "scripts/attnlag/figures/rows_by_layer.py"
    figure.write_text(block_of("figure"), encoding="utf-8")
    rule, program, row = blocks_of("stage")
    with (project.folder / "workflow/rules/tokens.smk").open("a") as rules:
        rules.write(f"\n\n{rule}")
    (project.folder / "scripts/measure_lengths.py").write_text(program, encoding="utf-8")
    insert(project, OUTPUTS, "\n  results/{model}/{corpus}:\n", row)
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
    project.run(*without_figures("plot_regression"))
    return project


def test_a_covariate_is_a_term_of_the_design_and_of_permuted_documents(extended):
    folder = extended.folder / STUDY.format("attention")
    design = pq.read_table(folder / "design/0000.parquet").to_pandas()
    np.testing.assert_array_equal(design["odd_token"], design["token_id"] % 2)
    assert "odd_token" in set(pd.read_csv(folder / "coefficients.csv")["term"])
    record = read_provenance(folder / "permutations/0000.parquet")
    assert record["permutations"]["terms"] == ["y", "lag_1", "lag_2", "odd_token", "with_e"]


def test_a_covariance_gives_the_errors_of_a_fit(extended):
    folder = extended.folder / STUDY.format("attention")
    table = pd.read_csv(folder / "coefficients.csv")
    assert set(table["vcov_type"]) == {"cluster-crv0"}
    assert set(table["df"]) == {7}
    assert "clustered by document (CRV0)" in (folder / "summary/layer_00.txt").read_text()


def test_a_property_is_a_column_a_covariate_a_class_and_a_shade(extended):
    folder = extended.folder / STUDY.format("attention")
    of_tokens = folder.parents[1] / "token_properties/0000.parquet"
    tokens = pq.read_table(of_tokens).to_pandas()
    np.testing.assert_array_equal(tokens["with_e"], tokens["text"].str.contains("e"))
    design = pq.read_table(folder / "design/0000.parquet").to_pandas()
    keys = ["document", "window", "position"]
    rows = design.merge(tokens, on=keys, suffixes=("", "_of_token"))
    np.testing.assert_array_equal(rows["with_e"], rows["with_e_of_token"].astype(float))
    slopes = pd.read_csv(folder / "classes.csv").query("term == 'lag_1'")
    assert set(slopes["subset"].astype(str)) == {"all", "false", "true"}
    page = (extended.folder / "results/explorer.html").read_text(encoding="utf-8")
    packed = re.findall(r">\s*(H4sI[^<\s]+)", page)
    blocks = [gzip.decompress(base64.b64decode(block)) for block in packed]
    assert any(b"has the letter e" in block for block in blocks)


def test_a_site_is_measured_and_regressed(extended):
    folder = extended.folder / "results/tiny/small"
    layers = ["layer_00", "layer_01"]
    attention, mlp, difference = (
        pq.read_table(folder / site / "activations/0000.parquet", columns=layers).to_pandas()
        for site in ("attention", "mlp", "difference")
    )
    for layer in layers:
        expected = np.stack(attention[layer]) - np.stack(mlp[layer])
        np.testing.assert_allclose(np.stack(difference[layer]), expected, atol=1e-6)
    assert (extended.folder / STUDY.format("difference") / "coefficients.csv").exists()


def test_a_quantity_is_measured_and_regressed(extended):
    folder = extended.folder / "results/tiny/small"
    for site in ("attention", "difference"):
        vectors = pq.read_table(folder / site / "activations/0000.parquet").to_pandas()
        found = pq.read_table(folder / site / "two_before/0000.parquet").to_pandas()
        a = np.stack(vectors["layer_01"].to_list()).astype(float)
        expected = np.full(len(a), np.nan)
        expected[2:] = (a[2:] * a[:-2]).sum(1)
        expected[2:] /= np.linalg.norm(a[2:], axis=1) * np.linalg.norm(a[:-2], axis=1)
        expected[vectors["position"] < 2] = np.nan
        np.testing.assert_allclose(found["layer_01.cosine_two_before"], expected, atol=1e-5)
        design = folder / site / "two_back/design/0000.parquet"
        rows = pq.read_table(design).to_pandas()
        keys = ["document", "window", "position"]
        rows = rows.merge(found, on=keys).dropna()
        np.testing.assert_array_equal(rows["layer_01.y"], rows["layer_01.cosine_two_before"])
        assert len(rows) > 100
        control = pd.read_csv(folder / site / "two_back/controls.csv")
        assert control["random_weights"].notna().all()
    table = pd.read_csv(folder / "attention/two_back/coefficients.csv")
    assert "lag_1" in set(table["term"])


NOTEBOOK = """
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


def test_a_quantity_is_an_outcome_in_a_notebook(extended):
    environment = {**os.environ, "PYTHONPATH": str(extended.folder / "scripts")}
    done = ran([sys.executable, "-c", NOTEBOOK], cwd=extended.folder, env=environment)
    table = pd.read_csv(extended.folder / "results/tiny/small/attention/two_back/coefficients.csv")
    expected = table[(table["term"] == "lag_1") & (table["subset"] == "all")]["estimate"]
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_stage_makes_its_output(extended):
    folder = extended.folder / "results/tiny/small"
    rows = pq.read_table(folder / "tokens/0000.parquet")["input_ids"].to_pylist()
    lengths = json.loads((folder / "lengths.json").read_text(encoding="utf-8"))
    assert lengths == {"mean": pytest.approx(np.mean([len(row) for row in rows]))}


def test_a_figure_is_drawn_for_every_regression(extended):
    for site in ("attention", "difference"):
        figures = extended.folder / STUDY.format(site) / "figures"
        assert_drawn(figures / "rows_by_layer.png")


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
