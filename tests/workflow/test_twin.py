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


def test_a_twin_is_measured_as_a_control_of_its_original(two_models):
    before = two_models.results()
    two_models.write_config(models={"twin": TWIN})
    arguments = ["--cores", "2", *without_figures()]
    result = two_models.snakemake(*arguments, environment=NOWHERE)
    assert result.returncode == 0, result.stdout
    assert "drawing the weights of a twin of tiny with seed 7" in result.stdout
    assert "\ntiny: GPT2LMHeadModel" not in result.stdout

    after = two_models.results()
    for path, content in before.items():
        if path.startswith(("tiny/", "llama/", "corpora/")):
            assert after[path] == content, path
    made = {path.removeprefix("twin/") for path in after if path.startswith("twin/")}
    numbers = {path for path in after if path.startswith("tiny/") and "/figures/" not in path}
    assert made == {path.removeprefix("tiny/") for path in numbers}

    record = source(two_models, "twin")
    assert (record["source"], record["of"], record["seed"]) == ("random", "tiny", 7)
    assert record["of_digest"] == source(two_models, "tiny")["digest"]
    tables = list((two_models.folder / "results/twin").rglob("*.parquet"))
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
    tiny, twin = (
        pd.read_csv(two_models.folder / pattern.format(name)) for name in ("tiny", "twin")
    )
    assert (tiny["term"] == twin["term"]).all()
    assert not (tiny["estimate"] == twin["estimate"]).any()

    assert "Nothing to be done" in two_models.run(*without_figures())
    # A file beside the original may be a part of it. It is not, and the twin is the same.
    (two_models.folder / "mine/notes.txt").write_text("mine")
    target = "data/models/twin/source.json"
    assert two_models.would_run(target) == {"fetch_model": 2}
    two_models.run(target)
    assert source(two_models, "twin")["digest"] == record["digest"]
    # Another seed is another twin, and nothing of its original.
    two_models.write_config(models={"twin": {**TWIN, "seed": 8}})
    jobs = two_models.would_run()
    assert (jobs["fetch_model"], jobs["extract_activations"]) == (1, 1)
