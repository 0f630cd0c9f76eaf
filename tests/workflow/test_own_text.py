"""The configuration for one text of the user's own, and what a plan says of a change."""

import re

import pytest
from projects import WORDS, made_once, new_project, without_figures

# Two windows of the small model, which has a context of 64 tokens.
TEXT = " ".join(WORDS * 3)


@pytest.fixture(scope="module")
def ran(gpt2, tmp_path_factory):
    """Yield a project after a run of config/gpt2.yaml with a small GPT-2, and what was printed."""

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

    yield from made_once("own_text", tmp_path_factory, make)


def test_a_run_on_one_text_ends_in_answers_of_this_text_and_an_explorer(ran):
    project, printed = ran
    assert "gpt2 · text: 1 document, " in printed
    assert " in this text: 10% longer" in printed
    assert "nan" not in printed.lower()
    explorer = (project.folder / "results/explorer.html").read_text(encoding="utf-8")
    assert TEXT.split()[0] in explorer
    assert explorer.rstrip().endswith("</html>")


def test_a_plan_names_the_settings_that_changed(to_plan):
    to_plan.write_config(inference={"alpha": 0.01})
    plan = to_plan.run("-n").splitlines()
    # What comes first is the name of the profile.
    assert plan[1] == "inference.alpha: 0.05 → 0.01"
    assert plan[2].endswith(" jobs to run:")


def test_a_plan_names_the_safeguards_that_a_regression_leaves_out(fresh):
    within = {"lags": [1, 2, 3], "fixed_effects": "document"}
    fresh.write_config(regressions={"within": within})
    (line,) = re.findall(r"regressions\..*", fresh.run("-n"))
    lacking = "{bias_correction: half-panel, covariates: [position]}"
    assert line == f"regressions.within: without {lacking}, which it has by default"
    # What is stated is chosen.
    chosen = {"bias_correction": "none", "covariates": ["position"]}
    fresh.write_config(regressions={"within": {**within, **chosen}})
    assert "without" not in fresh.run("-n")
