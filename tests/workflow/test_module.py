"""The Snakefile run from another folder, or used as a module of another workflow."""

import json
import re
import shutil

import pytest
import yaml
from projects import Project, copy_of_project, ran, small_corpus

# What another workflow has of its own is called by the same names as what attnlag has.
OWN_RULE = """
rule all:
    input:
        "own.txt",
        "results/tiny/small/attention/notebook/findings.txt"

rule own:
    input:
        "results/tiny/small/attention/notebook/coefficients.csv"
    output:
        "own.txt"
    shell:
        "python3 scripts/check_fits.py {input} > {output}"
"""
OWN_SCRIPT = "import sys\nprint(sum(1 for _ in open(sys.argv[1])), 'lines')\n"


class Elsewhere(Project):
    """A folder that holds files of the user's and nothing of attnlag's."""

    def write_config(self, **changes):
        self.config.update(changes)
        text = yaml.safe_dump({"mine": 1, "attnlag": self.config}, sort_keys=False)
        (self.folder / "settings.yaml").write_text(text)

    def write_snakefile(self, use="use rule * from attnlag", before="", after=""):
        """Write a Snakefile that uses attnlag with its section of the configuration."""
        snakefile = self.attnlag if "(" in str(self.attnlag) else f'"{self.attnlag}"'
        module = f'module attnlag:\n    snakefile: {snakefile}\n    config: config["attnlag"]\n'
        text = f'configfile: "settings.yaml"\n{before}\n{module}\n{use}\n{after}\n'
        (self.folder / "Snakefile").write_text(text)


@pytest.fixture
def elsewhere(finished_once, gpt2, tmp_path):
    """Return a folder with a model and a corpus, beside a copy of attnlag."""
    config = finished_once[0].config
    folder = tmp_path / "my {study}"
    (folder / "data").mkdir(parents=True)
    (folder / "data/small.jsonl").write_text(small_corpus())
    shutil.copytree(gpt2, folder / "mine")
    project = Elsewhere(folder, {**config})
    project.attnlag = copy_of_project(tmp_path / "it's here", config).folder / "workflow/Snakefile"
    project.write_config()
    return project


def test_another_workflow_uses_the_rules(elsewhere, finished_once):
    """The results are those of a run in attnlag's own folder, and the other rules are unchanged."""
    elsewhere.write_snakefile(
        "use rule * from attnlag as attnlag_*",
        before=OWN_RULE,
        after="onsuccess:\n    attnlag.onsuccess()",
    )
    script = elsewhere.folder / "scripts/check_fits.py"
    script.parent.mkdir()
    script.write_text(OWN_SCRIPT)
    printed = elsewhere.run("--logger", "attnlag", "--quiet", "host", "reason", "rules")
    # A line a job, as in attnlag's own folder; a rule of the user's has no message.
    assert re.search(r"^\[\d+ of \d+\] .*\battnlag_fit_regression: tiny, small, ", printed, re.M)
    assert re.search(r"^\[\d+ of \d+\] (.* · )?own( ·|$)", printed, re.M)
    assert "reason:" not in printed
    assert (elsewhere.folder / "own.txt").read_text() == "7 lines\n"
    assert printed.count("findings: results/tiny/small/attention/notebook/findings.txt\n") == 1
    made, expected = elsewhere.results(), finished_once[0].results()
    recorded = json.loads(made.pop("provenance.json"))["files"]
    assert {f"results/{path}" for path in made} <= set(recorded)
    assert made.items() <= expected.items()
    assert elsewhere.would_run() == {}


def test_a_workflow_without_rules_of_its_own_runs_those_of_attnlag(elsewhere):
    elsewhere.write_snakefile()
    assert elsewhere.would_run()["plot_regression"] == 1


def assert_same_summary(elsewhere, finished_once, *arguments, **options):
    """Run as far as to a table, which is to have the bytes of a run in attnlag's own folder."""
    table = "tiny/small/token_summary.csv"
    elsewhere.run(f"results/{table}", *arguments, **options)
    assert elsewhere.results(table) == finished_once[0].results(table)


def test_problems_name_the_file_of_the_other_workflow(elsewhere):
    elsewhere.write_config(inference={"covariance": "clustr"})
    elsewhere.write_snakefile()
    before, _, _ = (elsewhere.folder / "settings.yaml").read_text().partition("clustr")
    key = f"settings.yaml:{before.count(chr(10)) + 1}: attnlag.inference.covariance"
    assert f'{key}: found "clustr", expected cluster, ' in elsewhere.fails("-n")


def test_a_module_of_a_repository_is_refused_in_a_sentence(elsewhere):
    """It is named by `github(...)`, and git maps that host to a folder."""
    clone = elsewhere.attnlag.parents[1]
    hosted = clone.parent / "owner/attnlag"
    hosted.parent.mkdir()
    clone.rename(hosted)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(hosted)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", "v1"]):
        ran([*git, *command])
    elsewhere.attnlag = 'github("owner/attnlag", path="workflow/Snakefile", tag="v1")'
    elsewhere.write_snakefile()
    environment = {
        "XDG_CACHE_HOME": str(clone.parent / "cache"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{clone.parent}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    printed = elsewhere.fails("-n", environment=environment)
    assert printed.splitlines()[-1] == (
        "error: module attnlag: found a repository, from which Snakemake takes the rules alone; "
        "expected the path of a clone (docs/module.md)"
    )


def test_a_run_in_another_folder_gives_the_same_results(elsewhere, finished_once):
    """A Snakefile named by its path writes the results beside the configuration."""
    (elsewhere.folder / "config").mkdir()
    (elsewhere.folder / "config/config.yaml").write_text(yaml.safe_dump(elsewhere.config))
    snakefile = str(elsewhere.attnlag.parents[1] / "Snakefile")
    assert_same_summary(elsewhere, finished_once, "--snakefile", snakefile)
