"""Slopes by class and effects of tokens in a real run, against what the library gives."""

import json
import re

import pandas as pd
import pytest
from in_memory import assert_equal_tables, measured_again
from projects import assert_drawn, new_project, small_corpus, without_figures

import attnlag

BASE = "results/tiny/small"
SITE = f"{BASE}/attention"
TAGS = ("NOUN", "VERB", "ADP")
REGRESSIONS = {
    "by_class": {
        "lags": [1, 2],
        "slopes_by": {"upos": "outcome"},
        "min_rows_per_class": 30,
        "covariates": ["word_final", "upos_previous", "surprisal"],
    },
    "held_fixed": {
        "lags": [1],
        "slopes_by": {"surprisal": "lag"},
        "min_rows_per_class": 30,
        "fixed_effects": "document",
    },
}


@pytest.fixture(scope="module")
def project(gpt2, tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("classes") / "project", gpt2)
    lines = ["document,word,tag"]
    # The longest have two windows, and one word has several tokens.
    corpus = re.sub(r"(\w+ \w+ )\w+", r"\1zyxwv", small_corpus(14))
    (project.folder / "data" / "small.jsonl").write_text(corpus)
    for line in corpus.splitlines():
        document = json.loads(line)
        for place, word in enumerate(re.findall(r"\S+", document["text"])):
            tag = TAGS[(len(word) + place % 2) % 3]
            lines.append(f'{document["id"]},"{word.replace(chr(34), chr(34) * 2)}",{tag}')
    (project.folder / "data" / "tags.csv").write_text("\n".join(lines) + "\n")
    tagger = {"file": "data/tags.csv"}
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": 2, "tagger": tagger}},
        regressions=REGRESSIONS,
        causal={"targets": 1, "documents": 8, "interventions": ["zero"], "positions": 6},
        controls={
            "permutation": {"draws": 19, "within": "upos"},
            "random_weights": {"documents": 8},
        },
    )
    project.run(*without_figures("plot_classes"))
    return project


def table(project, regression, name):
    return pd.read_parquet(project.folder / f"{SITE}/{regression}/{name}.parquet")


def test_interventions_are_at_tokens_of_each_part_of_speech(project):
    paths = sorted(project.folder.glob(f"{BASE}/causal/effects/*.parquet"))
    effects = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    assert effects.loc[effects["intervention"] == "derivative", "upos"].isna().all()
    cell = "intervention == 'zero' and source_layer == 0 and target_layer == 1 and lag == 0"
    zero = effects.query(cell + " and target_site == 'attention'")
    assert zero["document"].nunique() == 8
    assert set(zero["upos"]) == set(TAGS)
    assert (zero.groupby("document", observed=True)["positions"].sum() == 6).all()


def test_the_findings_state_how_slopes_differ_and_what_was_permuted(project):
    text = (project.folder / f"{SITE}/by_class/findings.txt").read_text()
    assert re.search(r"; medians over the layers: [\d.]+ \(.*\) in (noun|verb|adposition)", text)
    rows = table(project, "by_class", "nested_models").query("term == 'lag_1'")
    means = rows.groupby("step")["estimate"]
    first, last = means.mean()[["pooled", "token_previous"]]
    assert f"fixed moves lag 1 from {first:.2f} to {last:.2f}" in text
    assert "permuted within the parts of speech of their documents 19 times" in text
    text = (project.folder / f"{SITE}/held_fixed/findings.txt").read_text()
    assert re.search(r"; medians over the layers: .* in (low|middle|high)", text)
    figure = project.folder / f"{SITE}/by_class/classes/figures/slopes_by_class.png"
    assert_drawn(figure)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_the_library_gives_the_tables_of_the_run(project, regression):
    tagger = {"file": str(project.folder / "data/tags.csv")}
    measured = measured_again(project, tagger=tagger, quantities="surprisal")
    controls = project.config["controls"]
    fit = attnlag.fit(measured, controls=controls, **REGRESSIONS[regression])
    assert_equal_tables(fit, project, regression)
