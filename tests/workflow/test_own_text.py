"""What is the user's own: one text, names that end as those of files do, a file for make."""

import os
import re

import pytest
from projects import ROOT, TOGETHER, WORDS, ran, without_figures

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
    assert "Too few texts to tell (1; at least 6): 10% longer" in printed
    assert "nan" not in printed.lower()
    explorer = (fresh.folder / "results/explorer.html").read_text(encoding="utf-8")
    assert TEXT.split()[0] in explorer
    assert explorer.rstrip().endswith("</html>")


def test_a_name_may_end_as_a_file_does(fresh):
    for section in ("models", "corpora", "regressions"):
        fresh.config[section] = {"reviews.csv": next(iter(fresh.config[section].values()))}
    fresh.write_config()
    table = "results/reviews.csv/reviews.csv/attention/reviews.csv/coefficients"
    assert fresh.would_run()["fit_regression"] == 1
    fresh.run(f"{table}.csv", f"{table}.parquet")


@pytest.mark.parametrize("target", ["run", "report", "paper"])
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
