"""What is the user's own: one text, names that end as those of files do, a file for make."""

import io
import json
import os
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_server import LATEST, environment_for, serving
from projects import ROOT, TOGETHER, WORDS, ran, without_figures

from attnlag.storage import tables

# Two windows of the small model, which has a context of 64 tokens.
TEXT = " ".join(WORDS * 3)


def test_a_run_on_one_text_ends_in_answers_of_this_text_and_an_explorer(fresh):
    """The configuration is config/gpt2.yaml, with a small GPT-2."""
    path = fresh.folder / "config/gpt2.yaml"
    own, small = r"^  gpt2: .*$", "  gpt2: {source: path, path: mine}"
    text, count = re.subn(own, small, path.read_text(), flags=re.M)
    assert count == 1
    path.write_text(text)
    (fresh.folder / "data/text.txt").write_text(TEXT + "\n")
    printed = fresh.run("--configfile", "config/gpt2.yaml", *without_figures())
    assert "gpt2 · text: documents: 1, " in printed
    assert "Too few texts to tell (1; at least 6): 10% larger" in printed
    assert "nan" not in printed.lower()
    explorer = (fresh.folder / "results/explorer.html").read_text(encoding="utf-8")
    assert TEXT.split()[0] in explorer
    assert explorer.rstrip().endswith("</html>")
    claims = pd.read_csv(fresh.folder / "results/claims.csv").set_index("analysis")
    few = claims.index[claims["claim"] == "few_texts_measured"].tolist()
    assert sorted(few) == ["causal", "directions", "heads", "readout", "sources"]


def test_a_name_may_end_as_a_file_does(fresh):
    for section in ("models", "corpora", "regressions"):
        fresh.config[section] = {"reviews.csv": next(iter(fresh.config[section].values()))}
    fresh.write_config()
    table = "results/reviews.csv/reviews.csv/attention/reviews.csv/coefficients"
    assert fresh.would_run()["fit_regression"] == 1
    fresh.run(f"{table}.csv", f"{table}.parquet")


@pytest.mark.parametrize("target", ["run", "explorer", "paper"])
@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        ("config/models.yaml", 0, " --configfile config/models.yaml"),
        ("no.yaml", 2, "CONFIG: found no file 'no.yaml', expected that of a configuration.  Stop."),
    ],
)
def test_make_takes_the_configuration_that_is_asked_for_or_says_why_not(
    target, file, status, words
):
    # The tests may run in make themselves: a make within another says more.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", target, f"CONFIG={file}"]
    *_, last = lines = ran(command, status, cwd=ROOT, env=outside, **TOGETHER).stdout.splitlines()
    assert last.endswith(words)
    assert not status or len(lines) == 1


def test_texts_of_the_hub_are_a_corpus_of_one_line(fresh, tmp_path):
    rows = [{"text": f"{' '.join(WORDS)} {n}", "label": n % 2} for n in range(9)]
    stored = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stored)
    line = "{dataset: small/reviews, split: train, text: text, group: label, documents: 4}"
    del fresh.config["corpora"]["small"]
    fresh.write_config(corpora={"reviews": yaml.safe_load(line)})
    corpus, tokens = "results/corpora/reviews.parquet", "results/tiny/reviews/tokens/0000.parquet"
    with serving() as hub:
        files = {"default/train/0000.parquet": stored.getvalue()}
        hub.repositories["datasets/small/reviews"] = {LATEST: files}
        online = environment_for(hub, tmp_path)
        fresh.run(tokens, environment=online)
    table = pq.read_table(fresh.folder / corpus)
    assert table["document"].to_pylist() == [f"reviews-{n:06d}" for n in range(1, 5)]
    assert table["text"].to_pylist() == [row["text"] for row in rows[:4]]
    assert table["group"].to_pylist() == ["0", "1", "0", "1"]
    made = tables.read_provenance(fresh.folder / corpus)["corpus"]["dataset"]
    assert (made["dataset"], made["revision"]) == ("small/reviews", LATEST)
    assert made == json.loads((fresh.folder / "data/datasets/reviews.json").read_text())
    # What is fetched needs no hub any more; another number of documents does.
    assert fresh.would_run(tokens) == {}
    fresh.config["corpora"]["reviews"]["documents"] = 5
    fresh.write_config()
    planned = {"fetch_dataset": 1, "prepare_corpus": 1, "tokenize_corpus": 1}
    assert fresh.would_run(tokens) == planned
    printed = fresh.fails(tokens, environment=online)
    assert "only fetch_dataset needs the network" in printed
