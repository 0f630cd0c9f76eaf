"""Estimates, errors and tests equal those of R's clubSandwich, on norms of the default model."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import transformers
from clubsandwich import assert_equal, design_of, fits_of, simulated, tagged
from projects import ROOT

import attnlag

MODEL = ROOT / "data/models/smollm2-135m-instruct"
LAYERS = [0, 20]
PRINTED = ROOT / "tests/unit/study/clubsandwich.csv"


def printed_by_r(design: pd.DataFrame, folder: Path) -> pd.DataFrame:
    design.to_csv(folder / "design.csv", index=False)
    program = Path(__file__).with_suffix("").with_name("clubsandwich.R")
    subprocess.run(["Rscript", program, "design.csv", "printed.csv"], cwd=folder, check=True)
    return pd.read_csv(folder / "printed.csv")


@pytest.fixture(scope="module")
def measured():
    """Return a measurement of every tenth text of the default corpus, 12 in all."""
    lines = (ROOT / "data/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = pd.DataFrame(map(json.loads, lines)).set_index("id").iloc[::10][:12]
    return attnlag.measure(
        transformers.AutoModelForCausalLM.from_pretrained(MODEL),
        transformers.AutoTokenizer.from_pretrained(MODEL),
        rows["text"],
        groups=list(rows["genre"]),
        tagger=rows["text"].map(tagged),
        progress=False,
    )


def test_a_fit_of_the_default_model_equals_that_of_clubsandwich(measured, tmp_path):
    printed = printed_by_r(design_of(measured, LAYERS), tmp_path)
    assert len(printed) == len(LAYERS) * 9
    assert_equal(fits_of(measured, LAYERS), printed, rtol=1e-11)


def test_the_numbers_that_are_committed_are_those_that_r_prints(gpt2, tmp_path):
    """Where these change, what R now prints lies in the folder of the test."""
    measured = simulated(gpt2)
    printed = printed_by_r(design_of(measured, [0]), tmp_path)
    committed = pd.read_csv(PRINTED)
    pd.testing.assert_frame_equal(committed, printed, rtol=1e-12)
