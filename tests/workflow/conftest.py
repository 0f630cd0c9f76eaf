"""The real workflow through the real command line, on copies of the project."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from planning import plan
from programs import planned
from projects import Project, new_project, write_several


@pytest.fixture
def fresh(gpt2: Path, tmp_path: Path) -> Project:
    """Return a project in which nothing was run yet."""
    return new_project(tmp_path / "project", gpt2)


@pytest.fixture(scope="session")
def finished_once(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a full run, and what the run printed. Not to be changed."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project", gpt2)
    project.write_config(causal={}, vectors={}, extraction={"geometry": True, "heads": True})
    return project, project.run()


@pytest.fixture
def finished(finished_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the finished project, to be changed."""
    project = finished_once[0].copy(tmp_path / "project")
    yield project
    shutil.rmtree(project.folder)


@pytest.fixture
def results_and_inputs(finished_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return what lies around the code in the finished project, to be changed."""
    project = finished_once[0].copy(tmp_path / "project", "config", "data", "mine", "results")
    yield project
    shutil.rmtree(project.folder)


@pytest.fixture(scope="session")
def commands(finished_once: tuple[Project, str]) -> dict[str, list[str]]:
    """Return the arguments that each program gets in the finished project, by its name."""
    return dict(map(planned, plan(finished_once[0].folder, everything=True).commands.values()))


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
