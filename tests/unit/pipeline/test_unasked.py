"""Results that a configuration does not ask for: they are named, left out, and removed."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import attnlag
from attnlag.config.schema import Config
from attnlag.pipeline import closing
from attnlag.pipeline.unasked import unasked_places

STATED = {
    "models": {"m": {"source": "path", "path": "m"}},
    "corpora": {"c": {"files": "x.txt"}},
    "regressions": {"notebook": {"lags": [1]}, "words": {"lags": [1]}},
    "extraction": {"quantities": ["heads"]},
    "sources": None,
    "controls": {"permutation": None},
}
SITE = "m/c/attention"
ASKED = [
    *("answers.txt", "explorer.html", "corpora/c.parquet", "m/c/tokens/0000.parquet"),
    *(f"{SITE}/norms/0000.parquet", f"{SITE}/untrained_default.parquet"),
    *(f"{SITE}/notebook/coefficients.csv", f"{SITE}/notebook/coefficients.parquet"),
    *(f"{SITE}/notebook/summary/layer_00.txt", f"{SITE}/words/fits.parquet"),
    *(f"{SITE}/heads/heads.parquet", f"{SITE}/heads/figures/heads_by_layer.png"),
    *(f"{SITE}/figures/norms_by_layer.svg", "m/c/causal/elasticities.csv"),
]
# Places, each with its files.
UNASKED = {
    "n": ["c/tokens/0000.parquet", "c/attention/notebook/fits.csv"],
    "corpora/old.parquet": [""],
    "m/old": ["tokens/0000.parquet"],
    "m/c/mlp": ["norms/0000.parquet", "notebook/fits.csv"],
    "m/c/surprisal": ["0000.parquet"],
    f"{SITE}/within": ["fits.csv", "figures/coefficients_by_layer.png", ".snakemake_timestamp"],
    f"{SITE}/sources": ["shares.csv", "findings.txt"],
    f"{SITE}/readout": ["means.parquet"],
    f"{SITE}/geometry": ["means.parquet"],
    f"{SITE}/notebook/permutations": ["0000.parquet"],
    f"{SITE}/notebook/classes.parquet": [""],
    "comparison": ["pairs.csv", "findings.txt"],
}
OWN = ["notes.txt", "n/c/tokens/plan.txt", f"{SITE}/sources-of-mine/a.csv"]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return the results of former configurations and of the present one, with the user's files."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    left = [f"{place}/{file}".rstrip("/") for place, files in UNASKED.items() for file in files]
    for path in [*ASKED, *left]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".parquet"):
            pd.DataFrame({"value": [1.0]}).to_parquet(folder / path)
        else:
            (folder / path).touch()
    (folder / "provenance.json").write_text(json.dumps({"configuration": STATED}))
    return folder


CONFIG = Config.model_validate(STATED)


def test_places_of_other_configurations_are_named_once_each(results):
    assert [str(place.relative_to(results)) for place in unasked_places(CONFIG)] == sorted(UNASKED)
    words = closing.words(CONFIG, ["results/m/c/attention/notebook/coefficients.csv"])
    assert "of another configuration, read by nothing: results/comparison, " in words
    assert "(snakemake remove_unasked removes them)" in words


def test_removal_leaves_what_is_asked_for_and_the_files_of_the_user(results):
    for path in OWN:
        (results / path).parent.mkdir(parents=True, exist_ok=True)
        (results / path).touch()
    # As the rule does it.
    for place in unasked_places(CONFIG):
        subprocess.run(["rm", "-r", "--", place], check=True)
    files = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    assert files == {*ASKED, *OWN, "provenance.json"}
    assert unasked_places(CONFIG) == []


def test_tables_of_other_configurations_are_left_out_unless_they_are_asked_for(results):
    tables = attnlag.read().files
    assert set(tables["model"].dropna()) == {"m"}
    assert set(tables["regression"].dropna()) == {"notebook", "words"}
    assert {"shares", "geometry/means"}.isdisjoint(tables["table"])
    everything = attnlag.read(everything=True).files
    assert {"m", "n"} <= set(everything["model"].dropna())
    assert "geometry/means" in set(everything["table"])
    # Without a whole run, nothing is known of what was asked for.
    (results / "provenance.json").unlink()
    assert len(attnlag.read().files) == len(everything)


@pytest.mark.parametrize("seconds", [-10, 10])
def test_a_paper_that_is_older_than_the_results_is_named(results, seconds):
    table = results / SITE / "notebook/coefficients.parquet"
    paper = results / "paper/coefficients.tex"
    paper.parent.mkdir()
    paper.touch()
    made = table.stat().st_mtime + seconds
    os.utime(paper, (made, made))
    older = "results/paper: older than the results; make paper makes it again"
    assert (older in closing.words(CONFIG, [])) == (seconds < 0)
