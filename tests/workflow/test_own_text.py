"""The configuration for one text of the user's own, and what a plan says of a change."""

import re

from projects import WORDS, without_figures

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
    assert "gpt2 · text: 1 document, " in printed
    assert " in this text: 10% longer" in printed
    assert "nan" not in printed.lower()
    explorer = (fresh.folder / "results/explorer.html").read_text(encoding="utf-8")
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
