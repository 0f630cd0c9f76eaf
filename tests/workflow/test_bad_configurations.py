"""Configurations that cannot be run print the lines of tests/workflow/errors.md."""

import pytest
from bad_input import Cases, Row, Run, each_row, try_row
from projects import ROOT, Project

CASES = Cases("Configuration")


def add(project: Project, text: str) -> None:
    path = project.folder / "config/config.yaml"
    path.write_text(path.read_text() + text)


@CASES.of("no YAML", whole=True)
def _(project: Project):
    add(project, "norms: {drop_first: 1\ninference: {}\n")


@CASES.of("a byte-order mark", whole=True)
def _(project: Project):
    path = project.folder / "config/config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@CASES.of("several problems", whole=True)
def _(project: Project):
    project.write_config(
        corpora={"small": {"files": ["data/smal.jsonl"]}},
        regressions={"a/b": {"lags": [0]}},
        figrues={"formats": ["png"]},
    )


@CASES.of("a bad value of `--config`", whole=True)
def _(project: Project):
    return Run(["--config", "inference={alpha: 3}"])


@CASES.of("a configuration that is missing", whole=True)
def _(project: Project):
    (project.folder / "config/config.yaml").unlink()


STUDY = ["--configfile", "study.yaml"]

# What study.yaml holds, if it is there, and the arguments of snakemake.
SNAKEMAKES_OWN = {
    "a file of `--configfile` that is missing": (None, STUDY),
    "a file of `--configfile` that is not UTF-8": (b"a: caf\xe9\n", STUDY),
    "`--config norms`, without a value": (None, ["--config", "norms"]),
    "`--config inference.alpha=0.1`, in place of `--config inference='{alpha: 0.1}'`": (
        None,
        ["--config", "inference.alpha=0.1"],
    ),
}


@pytest.mark.parametrize("wrong", SNAKEMAKES_OWN)
def test_the_documented_lines_are_those_that_snakemake_prints_itself(wrong: str, fresh: Project):
    content, arguments = SNAKEMAKES_OWN[wrong]
    if content is not None:
        (fresh.folder / "study.yaml").write_bytes(content)
    page = ROOT / "docs/errors.md"
    (row,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {wrong} |")]
    result = fresh.snakemake("-n", *arguments)
    assert result.returncode == 1
    assert row.split("`")[-2] in result.stdout
    assert not (fresh.folder / "results").exists()


def test_a_file_of_configfile_that_is_no_yaml_is_named_with_its_line(fresh: Project):
    (fresh.folder / "study.yaml").write_text("norms:\n\tdrop_first: 1\n")
    result = fresh.snakemake("-n", *STUDY)
    (line,) = result.stdout.splitlines()[1:]
    assert line.startswith("study.yaml:2: no YAML at column 1: ")
    assert line.endswith("; expected spaces in place of a tab")


@each_row(CASES)
def test_a_bad_configuration_prints_the_documented_lines(row: Row, request: pytest.FixtureRequest):
    try_row(row, CASES, request)
