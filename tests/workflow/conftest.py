"""The real workflow through the real command line, on copies of the project."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project, new_project


@pytest.fixture
def fresh(gpt2: Path, tmp_path: Path) -> Project:
    """Return a project in which nothing was run yet."""
    return new_project(tmp_path / "project", gpt2)


@pytest.fixture(scope="session")
def finished_once(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a full run, and what the run printed. Not to be changed."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project", gpt2)
    return project, project.run()


@pytest.fixture
def finished(finished_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the finished project, to be changed."""
    project = finished_once[0].copy(tmp_path / "project")
    yield project
    shutil.rmtree(project.folder)


@pytest.fixture(scope="session")
def both_once(
    gpt2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, str]:
    """Return a project after a run of two models, of 2 and 3 layers, and what was printed."""
    project = new_project(tmp_path_factory.mktemp("both") / "project", gpt2)
    shutil.copytree(llama, project.folder / "llama")
    project.write_config(
        models={"llama": {"source": "path", "path": "llama"}},
        comparison={"draws": 200},
        extraction={"keep": "norms"},
    )
    return project, project.run()


SEVERAL = {
    "notebook": {"lags": [1, 2]},
    "within": {
        "lags": [1, 2],
        "fixed_effects": "document",
        "bias_correction": "half-panel",
        "covariates": ["position"],
        "position_knots": [4, 10, 20],
    },
    "lead": {"leads": [1, 2]},
    "null": {"lags": [1, 2], "permute": "within-document", "permutations": 19},
    "rich": {
        "lags": [1, 2, 5],
        "covariates": ["position", "log_frequency", "group", "previous_layer"],
        "position_knots": [3, 6, 12, 24],
    },
}


def write_several(project: Project, shards: int) -> None:
    """Ask for regressions of every kind, from norms that depend on no other document."""
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": shards}},
        tokens={"max_length": 40},
        extraction={"keep": "norms", "batch_tokens": 1},
        regressions=SEVERAL,
        inference={
            "covariance": "cluster-jackknife",
            "adjust": "max-t",
            "bootstrap": 200,
            "wild_bootstrap": 99,
        },
        figures={"bands": "joint"},
    )


@pytest.fixture(scope="session")
def several_once(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a run of several regressions over two shards, and what it printed."""
    project = new_project(tmp_path_factory.mktemp("several") / "project", gpt2)
    write_several(project, shards=2)
    return project, project.run()


@pytest.fixture
def several(several_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the project with several regressions, to be changed."""
    project = several_once[0].copy(tmp_path / "project")
    yield project
    shutil.rmtree(project.folder)
