"""Models of each kind that is not GPT-2's, from their weights to their figures."""

import re
import shutil
import xml.etree.ElementTree

import pandas as pd
import pyarrow.parquet as pq
import pytest
from projects import ENDS, new_project, save_model

from attnlag.storage.tables import read_provenance

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, **ENDS}
GROUPED = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
MAMBA = {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False}
EVERY_SECOND = {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1}
# Further settings of each kind, and what is said on its heads: why there are none in some layers.
KINDS = {
    "mamba": ({"state_size": 8}, "no heads: the configuration states no number of heads"),
    "jamba": (
        {**GROUPED, **EVERY_SECOND, **MAMBA, "num_experts": 2},
        "2 layers without, as layer 0 has JambaMambaMixer in place of attention",
    ),
}
FIGURES = {
    "attention/notebook/figures": "coefficients_by_layer",
    "causal/figures/attention": "elasticities_by_layer",
}


@pytest.fixture(scope="module")
def project(gpt2_tokenizer, tmp_path_factory):
    """Return a project after a run over a tiny random model of each kind, by default settings."""
    project = new_project(tmp_path_factory.mktemp("families") / "project", gpt2_tokenizer)
    del project.config["models"], project.config["extraction"]
    for kind, (settings, _) in KINDS.items():
        shutil.copytree(gpt2_tokenizer, project.folder / kind)
        save_model(project.folder / kind, kind, **WIDTH | settings)
    project.write_config(
        models={kind: {"source": "path", "path": kind} for kind in KINDS},
        causal={"interventions": [], "documents": 2},
        figures={"formats": ["svg"]},
    )
    findings = (f"results/{kind}/small/attention/heads/findings.txt" for kind in KINDS)
    project.run(*findings, *(f"results/jamba/small/{folder}" for folder in FIGURES))
    return project


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_extraction_of_each_kind_says_what_it_cannot_measure(kind, project):
    results = project.folder / "results" / kind / "small" / "attention"
    assert KINDS[kind][1] in (results / "heads" / "findings.txt").read_text()
    assert pq.read_metadata(results / "geometry" / "0000.parquet").num_rows > 100


def test_layers_without_attention_are_named_and_marked(project, subtests):
    """No family is declared: the modules are detected, for the interventions too."""
    results = project.folder / "results" / "jamba" / "small"
    mixers = {"0": "JambaMambaMixer", "2": "JambaMambaMixer"}
    for path in ("attention/norms/0000.parquet", "causal/effects/0000.parquet"):
        with subtests.test(path=path):
            record = read_provenance(results / path)
            assert record["model"]["mixers"] == mixers
    fits = pd.read_parquet(results / "attention/notebook/fits.parquet")
    assert fits["mixer"].tolist() == ["JambaMambaMixer", "attention"] * 2
    for folder, name in FIGURES.items():
        with subtests.test(folder=folder):
            text = (results / folder / f"{name}.svg").read_text(encoding="utf-8")
            texts = " ".join(xml.etree.ElementTree.fromstring(text).itertext())
            assert "◇ JambaMambaMixer in layers 0 and 2" in re.sub(r"\s+", " ", texts)
