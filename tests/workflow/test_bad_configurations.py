"""Configurations that cannot be run print the lines of tests/workflow/errors.md."""

from collections.abc import Callable

import pytest
from bad_input import Cases, Row, Run, each_row, try_row
from projects import ROOT, Project

CASES = Cases("Configuration")


def write(project: Project, text: str) -> None:
    """Write the configuration as text."""
    (project.folder / "config/config.yaml").write_text(text)


def add(project: Project, text: str) -> None:
    """Add lines to the end of the configuration."""
    path = project.folder / "config/config.yaml"
    path.write_text(path.read_text() + text)


def setting(**sections) -> Callable[[Project], None]:
    """Return what sets keys of sections."""

    def spoil(project: Project) -> None:
        project.write_config(**sections)

    return spoil


def adding(text: str) -> Callable[[Project], None]:
    """Return what adds lines to the configuration."""

    def spoil(project: Project) -> None:
        add(project, text)

    return spoil


def changing(old: str, new: str) -> Callable[[Project], None]:
    """Return what puts other text in place of what the configuration has."""

    def spoil(project: Project) -> None:
        path = project.folder / "config/config.yaml"
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


def regression(**keys) -> Callable[[Project], None]:
    """Return what adds a regression."""
    return setting(regressions={"more": {"lags": [1], **keys}})


def of_corpus(**keys) -> Callable[[Project], None]:
    """Return what sets keys of the corpus."""

    def spoil(project: Project) -> None:
        project.write_config(corpora={"small": {**project.config["corpora"]["small"], **keys}})

    return spoil


CASES.update(
    {
        # keys
        "an unknown key": setting(figrues={"formats": ["png"]}),
        "a key given twice": adding("inference:\n  alpha: 0.1\n  alpha: 0.2\n"),
        "a section that is missing": changing("models:", "modles:"),
        # values
        "text in place of a number": setting(inference={"alpha": "lots"}),
        "a number out of range": setting(inference={"alpha": 5}),
        "a section that is no mapping": setting(tokens=[512]),
        "text in place of a list": regression(covariates="position"),
        "a site that is unknown": setting(extraction={"sites": ["atention"]}),
        "a layer that no model has": setting(figures={"layers": [0, 2]}),
        "a site to intervene on that is not extracted": setting(causal={"source_sites": ["mlp"]}),
        # regressions
        "a covariate that is unknown": regression(covariates=["positon"]),
        "lags that are not in order": setting(regressions={"notebook": {"lags": [2, 1]}}),
        "a lag given twice": regression(lags=[1, 1]),
        "a lag beyond all sequences": setting(
            tokens={"max_length": 8}, regressions={"notebook": {"lags": [1, 9]}}
        ),
        # models
        "a kind of source that is unknown": setting(models={"tiny": {"source": "hubb"}}),
        "a twin of no one": setting(models={"twin": {"source": "random", "of": "tinny"}}),
        # names
        "a name of two folders": setting(regressions={"a/b": {"lags": [1]}}),
        "a name that is a number": setting(regressions={1: {"lags": [1]}}),
        "a name of the results' own": setting(regressions={"norms": {"lags": [1]}}),
        # files
        "a tab": adding("norms:\n\tdrop_first: 1\n"),
        "a list in place of a configuration": lambda project: write(project, "- models\n"),
        "an empty configuration": lambda project: write(project, ""),
    }
)


@CASES.of("no YAML", whole=True)
def _(project: Project):
    add(project, "norms: {drop_first: 1\ninference: {}\n")


@CASES.of("a byte-order mark", whole=True)
def _(project: Project):
    path = project.folder / "config/config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@CASES.of("bytes that are not UTF-8", whole=True)
def _(project: Project):
    path = project.folder / "config/config.yaml"
    path.write_bytes(path.read_bytes() + b"# caf\xe9\n")


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
    "a file of `--configfile` that is no YAML": (b"norms: [", STUDY),
    "a file of `--configfile` that is empty or a list": (
        b"- norms",
        STUDY,
    ),
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


@each_row(CASES)
def test_a_bad_configuration_prints_the_documented_lines(row: Row, request: pytest.FixtureRequest):
    try_row(row, CASES, request)
