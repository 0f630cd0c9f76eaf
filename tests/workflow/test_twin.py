"""A model and its random-weights twin in one run."""

import json

import pandas as pd
from projects import without_figures

from attnlag.storage.tables import read_provenance

TWIN = {"source": "random", "of": "tiny", "seed": 7}
# No hub answers there.
NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}


def source(project, name):
    return json.loads((project.folder / f"data/models/{name}/source.json").read_text())


def test_a_twin_is_measured_as_a_control_of_its_original(both):
    before = both.results()
    both.write_config(models={"twin": TWIN})
    arguments = ["--cores", "2", *without_figures()]
    result = both.snakemake(*arguments, environment=NOWHERE)
    assert result.returncode == 0, result.stdout
    assert "drawing the weights of a twin of tiny with seed 7" in result.stdout
    assert "\ntiny: GPT2LMHeadModel" not in result.stdout

    after = both.results()
    for path, content in before.items():
        if path.startswith(("tiny/", "llama/", "corpora/")):
            assert after[path] == content, path
    made = {path.removeprefix("twin/") for path in after if path.startswith("twin/")}
    numbers = {path for path in after if path.startswith("tiny/") and "/figures/" not in path}
    assert made == {path.removeprefix("tiny/") for path in numbers}

    record = source(both, "twin")
    assert (record["source"], record["of"], record["seed"]) == ("random", "tiny", 7)
    assert record["of_digest"] == source(both, "tiny")["digest"]
    tables = list((both.folder / "results/twin").rglob("*.parquet"))
    assert tables
    for path in tables:
        model = read_provenance(path)["model"]
        assert model == {
            "name": "twin",
            "source": "random",
            "of": "tiny",
            "seed": 7,
            "revision": None,
            "digest": record["digest"],
        }
    # The same tokens, and other numbers.
    tokens = [after[f"{name}/small/token_summary.csv"] for name in ("tiny", "twin")]
    assert tokens[0] == tokens[1]
    pattern = "results/{}/small/attention/notebook/coefficients.csv"
    tiny, twin = (pd.read_csv(both.folder / pattern.format(name)) for name in ("tiny", "twin"))
    assert (tiny["term"] == twin["term"]).all()
    assert not (tiny["estimate"] == twin["estimate"]).any()

    assert "Nothing to be done" in both.run(*without_figures())
    # Another seed is another twin, and nothing of its original.
    both.write_config(models={"twin": {**TWIN, "seed": 8}})
    jobs = both.would_run()
    assert (jobs["fetch_model"], jobs["extract_activations"]) == (1, 1)


def test_a_change_in_the_original_remakes_the_twin(both):
    both.write_config(models={"twin": TWIN})
    both.run("data/models/twin/source.json")
    digest = source(both, "twin")["digest"]
    # A file that is no part of the model.
    (both.folder / "mine/notes.txt").write_text("mine")
    assert both.would_run("data/models/twin/source.json") == {"fetch_model": 2}
    both.run("data/models/twin/source.json")
    # The original is the same after all, and so is the twin.
    assert source(both, "twin")["digest"] == digest
