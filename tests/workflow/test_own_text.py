"""The configuration for one text of the user's own, and what a plan says of a change."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from conftest import made_once
from projects import WORDS, new_project, without_figures

STUDY = "results/gpt2/text/attention/notebook"
# Two windows of the small model, which has a context of 64 tokens.
TEXT = " ".join(WORDS * 3)


@pytest.fixture(scope="module")
def ran(gpt2, tmp_path_factory):
    """Return a project after a run of config/gpt2.yaml with a small GPT-2, and what was printed."""

    def make(folder):
        project = new_project(folder, gpt2)
        path = project.folder / "config/gpt2.yaml"
        small, count = re.subn(
            r"^  gpt2: .*$", "  gpt2: {source: path, path: mine}", path.read_text(), flags=re.M
        )
        assert count == 1
        path.write_text(small)
        (project.folder / "data/text.txt").write_text(TEXT + "\n")
        printed = project.run("--configfile", "config/gpt2.yaml", *without_figures())
        return project, printed

    return made_once("own_text", tmp_path_factory, make)


def test_gpt2_on_a_text_gives_what_statsmodels_gives(ran, gpt2):
    """The norms come from plain transformers, with the tokenizer that GPT-2 has."""
    from transformers import AutoTokenizer, GPT2Model

    project, _ = ran
    model = GPT2Model.from_pretrained(gpt2).eval()
    ids = AutoTokenizer.from_pretrained(gpt2)(TEXT)["input_ids"]
    assert len(ids) > 64
    outputs = []
    for block in model.h:
        block.attn.register_forward_hook(lambda _, __, output: outputs.append(output[0]))
    windows = [ids[start : start + 64] for start in range(0, len(ids), 64)]
    rows = [[], []]
    for window in windows:
        outputs.clear()
        with torch.inference_mode():
            model(torch.tensor([window]))
        for layer, output in enumerate(outputs):
            log = np.log(torch.linalg.vector_norm(output[0].double(), dim=-1).numpy())[1:]
            rows[layer].append(np.column_stack([log[2:], log[1:-1], log[:-2]]))
    coefficients = pd.read_csv(project.folder / STUDY / "coefficients.csv")
    assert coefficients["layer"].unique().tolist() == [0, 1]
    for layer, windows_of_layer in enumerate(rows):
        table = np.concatenate(windows_of_layer)
        plain = sm.OLS(table[:, 0], sm.add_constant(table[:, 1:])).fit()
        of_layer = coefficients[coefficients["layer"] == layer]
        np.testing.assert_allclose(of_layer["estimate"], plain.params, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(of_layer["std_error"], plain.bse, rtol=1e-4)
        np.testing.assert_allclose(of_layer["p_value"], plain.pvalues, rtol=1e-3, atol=1e-6)


def test_a_run_on_one_text_ends_in_answers_of_this_text_and_an_explorer(ran):
    project, printed = ran
    assert "gpt2 · text: 1 document, " in printed
    assert " in this text: 10% longer" in printed
    assert "nan" not in printed.lower()
    assert (project.folder / "results/explorer.html").stat().st_size > 100_000


def test_a_plan_names_the_settings_that_changed(to_plan):
    to_plan.write_config(inference={"alpha": 0.01})
    plan = to_plan.snakemake("--cores", "1", "-n").stdout.splitlines()
    # What comes first is the name of the profile.
    assert plan[1] == "inference.alpha: 0.05 → 0.01"
    assert plan[2].endswith(" jobs to run:")
