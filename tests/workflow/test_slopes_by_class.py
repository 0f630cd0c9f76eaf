"""Slopes by class and effects of tokens in a real run, against statsmodels on the norms alone."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from in_memory import assert_equal_tables, measured_again
from projects import assert_drawn, new_project, small_corpus, without_figures

import attnlag

BASE = "results/tiny/small"
SITE = f"{BASE}/attention"
TAGS = ("NOUN", "VERB", "ADP")
REGRESSIONS = {
    "by_class": {
        "lags": [1, 2],
        "by": {"upos": "outcome"},
        "by_rows": 30,
        "covariates": ["word_final", "upos_previous", "surprisal"],
    },
    "held_fixed": {
        "lags": [1],
        "by": {"surprisal": "lag"},
        "by_rows": 30,
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


@pytest.fixture(scope="module")
def rows(project):
    """Return all tokens with their log norms in the last layer and their properties."""

    def of_all_shards(pattern):
        paths = sorted(project.folder.glob(pattern))
        return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)

    norms = of_all_shards(f"{SITE}/norms/*.parquet")
    tokens = of_all_shards(f"{BASE}/token_properties/*.parquet").astype(
        {"document": str, "upos": str}
    )
    log = np.log(norms["layer_01"].astype(float)).where(norms["position"] >= 1)
    surprisal = of_all_shards(f"{BASE}/surprisal/*.parquet")["surprisal"]
    tokens = tokens.assign(y=log, surprisal=surprisal)
    sequence = tokens.groupby(["document", "window"])
    for name, source, by in (
        ("lag_1", "y", 1),
        ("lag_2", "y", 2),
        ("upos_previous", "upos", 1),
        ("token_previous", "token_id", 1),
        ("initial_previous", "word_initial", 1),
    ):
        tokens[name] = sequence[source].shift(by)
    return tokens


def table(project, regression, name):
    return pd.read_parquet(project.folder / f"{SITE}/{regression}/{name}.parquet")


def test_slopes_by_class_equal_those_of_statsmodels(project, rows):
    data = rows.dropna(subset=["lag_1", "lag_2", "surprisal"])
    data = data.assign(final=data["word_final"].astype(float))
    common = "final + C(upos_previous) + surprisal"
    fit = smf.ols(f"y ~ 0 + C(upos) + C(upos):lag_1 + C(upos):lag_2 + {common}", data).fit()
    slopes = table(project, "by_class", "classes").query("layer == 1 and term == 'lag_1'")
    classes = sorted(data["upos"].unique())
    assert sorted(slopes["subset"]) == sorted([*classes, "all"])
    for name, estimate in slopes.set_index("subset")["estimate"].drop("all").items():
        assert estimate == pytest.approx(fit.params[f"C(upos)[{name}]:lag_1"], rel=1e-6)
    main = table(project, "by_class", "coefficients").query("layer == 1").set_index("term")
    plain = smf.ols(f"y ~ lag_1 + lag_2 + {common}", data).fit()
    assert main.loc["lag_1", "estimate"] == pytest.approx(plain.params["lag_1"], rel=1e-6)
    assert main.loc["surprisal", "estimate"] == pytest.approx(plain.params["surprisal"], rel=1e-6)


def test_steps_equal_regressions_with_dummies(project, rows):
    data = rows.dropna(subset=["lag_1"])
    steps = table(project, "held_fixed", "steps").query("layer == 1").set_index("step")
    for step, dummies in (
        ("upos", "C(document) + C(upos)"),
        (
            "token_previous",
            "C(document) + C(upos) + C(upos_previous) + C(token_id) + C(token_previous)",
        ),
    ):
        plain = smf.ols(f"y ~ lag_1 + {dummies}", data).fit()
        assert steps.loc[step, "estimate"] == pytest.approx(plain.params["lag_1"], rel=1e-6)
        assert steps.loc[step, "r_squared"] == pytest.approx(plain.rsquared, rel=1e-6)


def test_thirds_by_a_number_are_those_of_the_whole_corpus(project, rows):
    """The thirds are not those of each of the two shards."""
    surprisal = rows["surprisal"].dropna()
    cuts = np.quantile(surprisal, [1 / 3, 2 / 3], method="inverted_cdf")
    slopes = table(project, "held_fixed", "classes").query("layer == 1 and term == 'lag_1'")
    before = rows.groupby(["document", "window"])["surprisal"].shift(1)
    used = before[rows["lag_1"].notna() & before.notna()]
    sizes = pd.Series(np.searchsorted(cuts, used)).value_counts().sort_index()
    slopes = slopes.set_index("subset")
    assert slopes.loc[["low", "middle", "high"], "n_obs"].tolist() == sizes.tolist()
    text = (project.folder / f"{SITE}/held_fixed/findings.txt").read_text()
    assert re.search("lag 1 by class of token, .* (low|middle|high)", text)


def test_interventions_cover_each_part_of_speech_in_proportion(project, rows):
    paths = sorted(project.folder.glob(f"{BASE}/causal/effects/*.parquet"))
    effects = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    assert effects.loc[effects["intervention"] == "derivative", "upos"].isna().all()
    cell = "intervention == 'zero' and source_layer == 0 and target_layer == 1 and lag == 0"
    zero = effects.query(cell + " and target_site == 'attention'").astype({"upos": str})
    assert zero["document"].nunique() == 8
    for document, drawn in zero.groupby("document", observed=True):
        of_document = rows[(rows["document"] == document) & (rows["window"] == 0)]
        # Neither the first token, nor those without four tokens behind.
        allowed = of_document["upos"].iloc[1:-4]
        count = min(6, len(allowed))
        assert drawn["positions"].sum() == count
        drawn = drawn.set_index("upos")["positions"]
        for tag, tokens in allowed.value_counts().items():
            assert abs(drawn.get(tag, 0) - count * tokens / len(allowed)) < 1
    by_tag = pd.read_csv(project.folder / f"{BASE}/causal/by_part_of_speech.csv")
    by_tag = by_tag.query(cell + " and target_site == 'attention'").set_index("upos")
    sums = zero.groupby("upos")[["effect_sum", "positions"]].sum()
    assert by_tag.index.tolist() == sorted(sums.index)
    expected = sums["effect_sum"] / sums["positions"]
    assert by_tag["estimate"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)


def test_the_findings_state_how_slopes_differ_and_what_was_permuted(project):
    text = (project.folder / f"{SITE}/by_class/findings.txt").read_text()
    assert re.search(
        r"lag 1 by class of token, median over the layers: [\d.]+ in (NOUN|VERB|ADP)", text
    )
    means = table(project, "by_class", "steps").query("term == 'lag_1'").groupby("step")["estimate"]
    first, last = means.mean()[["pooled", "token_previous"]]
    assert f"fixed moves lag 1 from {first:.3f} to {last:.3f}" in text
    assert "permuted within the parts of speech of their documents 19 times" in text
    figure = project.folder / f"{SITE}/by_class/figures/slopes_by_class.png"
    assert_drawn(figure)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_the_library_gives_the_tables_of_the_run(project, regression):
    tagger = {"file": str(project.folder / "data/tags.csv")}
    measured = measured_again(project, tagger=tagger, quantities="surprisal")
    controls = project.config["controls"]
    fit = attnlag.fit(measured, controls=controls, **REGRESSIONS[regression])
    assert_equal_tables(fit, project, regression)
