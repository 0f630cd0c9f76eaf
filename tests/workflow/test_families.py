"""Models of each kind that is not GPT-2's, from their weights to their figures."""

import re
import shutil
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from oracles import multipletests
from projects import new_project
from scipy import stats
from scipy.optimize import brentq

from attnlag.storage.tables import read_provenance

WIDTH = {"vocab_size": 50257, "hidden_size": 32, "num_hidden_layers": 2}
GROUPED = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
MAMBA = {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False}
EVERY_SECOND = {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1}
# Further settings of each kind, and what is said on its heads: why there are none in some layers.
KINDS = {
    "mamba": ({"state_size": 8}, "no heads: the configuration states no number of heads"),
    "jamba": (
        {**GROUPED, **EVERY_SECOND, **MAMBA, "num_experts": 2}
        | {"bos_token_id": 50256, "eos_token_id": 50256},
        "2 layers without, as layer 0 has JambaMambaMixer in place of attention",
    ),
}
FIGURES = [
    "attention/notebook/figures/coefficients_by_layer",
    "causal/figures/attention/elasticities_by_layer",
]


@pytest.fixture(scope="module")
def project(gpt2_tokenizer, tmp_path_factory):
    """Return a project after a run over a tiny random model of each kind, by default settings."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    project = new_project(tmp_path_factory.mktemp("families") / "project", gpt2_tokenizer)
    del project.config["models"], project.config["extraction"]
    for kind, (settings, _) in KINDS.items():
        shutil.copytree(gpt2_tokenizer, project.folder / kind)
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **WIDTH | settings)
        AutoModelForCausalLM.from_config(config).save_pretrained(project.folder / kind)
    project.write_config(
        models={kind: {"source": "path", "path": kind} for kind in KINDS},
        causal={"interventions": [], "documents": 2},
        figures={"formats": ["svg"]},
    )
    findings = (f"results/{kind}/small/attention/heads/findings.txt" for kind in KINDS)
    project.run(*findings, *(f"results/jamba/small/{name}.svg" for name in FIGURES))
    return project


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_extraction_of_each_kind_says_what_it_cannot_measure(kind, project):
    results = project.folder / "results" / kind / "small" / "attention"
    assert KINDS[kind][1] in (results / "heads" / "findings.txt").read_text()
    assert pq.read_metadata(results / "geometry" / "0000.parquet").num_rows > 100


def test_layers_without_attention_are_named_and_marked(project):
    """No family is declared: the modules are found by trying, for the interventions too."""
    results = project.folder / "results" / "jamba" / "small"
    mixers = {"0": "JambaMambaMixer", "2": "JambaMambaMixer"}
    for path in ("attention/norms/0000.parquet", "causal/effects/0000.parquet"):
        record = read_provenance(results / path)
        assert record["model"]["mixers"] == mixers
    fits = pd.read_parquet(results / "attention/notebook/fits.parquet")
    assert fits["mixer"].tolist() == ["JambaMambaMixer", "attention"] * 2
    for name in FIGURES:
        text = (results / f"{name}.svg").read_text(encoding="utf-8")
        texts = " ".join(xml.etree.ElementTree.fromstring(text).itertext())
        assert "◇ JambaMambaMixer in layers 0 and 2" in re.sub(r"\s+", " ", texts)


def test_signs_of_predictions_are_counted_from_elasticities_and_stored_norms(
    project,
):
    results = project.folder / "results" / "jamba" / "small"
    norms = pd.read_parquet(results / "attention/norms/0000.parquet").query("position >= 1")
    logs = np.log(norms.filter(like="layer_").astype(float))
    by_sequence = logs.groupby([norms["document"].astype(str), norms["window"]])
    rows = [by_sequence.shift(lag).to_numpy() for lag in range(5)]
    rows = [values[np.isfinite(rows[4]).all(axis=1)] for values in rows]
    effects = pd.read_parquet(results / "causal/elasticities.parquet")
    effects = effects[effects["source_layer"] < effects["target_layer"].astype(float)]
    trials = pd.read_parquet(results / "causal/prediction_vs_effect.parquet")
    trials = trials[trials["prediction"] != "same layer"]
    assert len(trials) == 9
    for trial in trials.itertuples():
        pairs = effects[effects["lag"] == trial.lag]
        slopes = []
        for source, target in zip(pairs["source_layer"], pairs["target_layer"], strict=True):
            columns = [np.ones(len(rows[0])), rows[trial.lag][:, source]]
            columns += [rows[0][:, source]] * (trial.prediction == "given")
            y = rows[0][:, int(target)]
            slopes.append(np.linalg.lstsq(np.stack(columns, axis=1), y, rcond=None)[0][1])
        half = (pairs["conf_high"] - pairs["conf_low"]) / 2 / pairs["std_error"]
        # The degrees of freedom are those of the interval's half.
        df = [brentq(lambda d, t=t: stats.t.ppf(0.975, d) - t, 0.5, 1e6) for t in half]
        p = 2 * stats.t.sf(pairs["estimate"].abs() / pairs["std_error"], df)
        clear = pd.Series(multipletests(p, method="holm")[0], pairs.index)
        same = np.sign(slopes) == np.sign(pairs["estimate"])
        assert (trial.pairs, trial.clear) == (len(pairs), clear.sum())
        assert trial.same_sign == (clear & same).sum()
        rank = stats.spearmanr(np.abs(slopes), np.abs(pairs["estimate"])).statistic
        assert trial.rank_correlation == pytest.approx(rank)
