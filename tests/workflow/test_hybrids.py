"""A model with layers that have no attention, from its weights to its figures."""

import json
import re
import shutil
import xml.etree.ElementTree

import pandas as pd
import pyarrow.parquet as pq
from projects import new_project

FIGURES = [
    "attention/notebook/figures/coefficients_by_layer",
    "causal/figures/attention/elasticities_by_layer",
]


def save_jamba(folder):
    import torch
    from transformers import JambaConfig, JambaForCausalLM

    torch.manual_seed(0)
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    heads |= {"attn_layer_period": 2, "attn_layer_offset": 1}
    mamba = {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False}
    config = JambaConfig(vocab_size=50257, num_experts=2, **width, **heads, **mamba)
    JambaForCausalLM(config).save_pretrained(folder)


def test_layers_without_attention_are_named_and_marked(gpt2_tokenizer, tmp_path):
    """No family is declared: the modules are found by trying, for the interventions too."""
    shutil.copytree(gpt2_tokenizer, tmp_path / "jamba")
    save_jamba(tmp_path / "jamba")
    project = new_project(tmp_path / "project", tmp_path / "jamba")
    project.write_config(
        extraction={"keep": "norms"},
        causal={"interventions": [], "documents": 2},
        figures={"formats": ["svg"]},
    )
    results = project.folder / "results" / "tiny" / "small"
    project.run(*(f"results/tiny/small/{name}.svg" for name in FIGURES))

    mixers = {"0": "JambaMambaMixer", "2": "JambaMambaMixer"}
    for path in ("attention/norms/0000.parquet", "causal/effects/0000.parquet"):
        record = json.loads(pq.read_schema(results / path).metadata[b"attnlag"])
        assert record["model"]["mixers"] == mixers
    fits = pd.read_parquet(results / "attention/notebook/fits.parquet")
    assert fits["mixer"].tolist() == ["JambaMambaMixer", "attention"] * 2
    for name in FIGURES:
        text = (results / f"{name}.svg").read_text(encoding="utf-8")
        said = " ".join(xml.etree.ElementTree.fromstring(text).itertext())
        assert "◇ JambaMambaMixer in layers 0 and 2" in re.sub(r"\s+", " ", said)
