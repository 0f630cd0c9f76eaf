"""The real workflow through the real command line, on copies of the project."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from planning import plan
from programs import planned
from projects import (
    DEFAULTS,
    Project,
    made_once,
    new_project,
    small_corpus,
    without_figures,
    write_several,
)

from attnlag.figures.settings import ON_REQUEST


@pytest.fixture
def fresh(gpt2: Path, tmp_path: Path) -> Project:
    """Return a project in which nothing was run yet."""
    return new_project(tmp_path / "project", gpt2)


@pytest.fixture(scope="session")
def finished_once(
    gpt2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """Yield a project after a full run, and what the run printed."""

    def make(folder: Path) -> tuple[Project, str]:
        project = new_project(folder, gpt2)
        project.write_config(
            causal={},
            extraction={"quantities": ["geometry", "heads"]},
            figures={"also": list(ON_REQUEST)},
        )
        return project, project.run()

    yield from made_once("finished", tmp_path_factory, make)


@pytest.fixture(scope="session")
def whole_once(
    gpt2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """Yield a project with the default sections after a full run, and what the run printed."""

    def make(folder: Path) -> tuple[Project, str]:
        project = new_project(folder, gpt2)
        for section in ("sources", "extraction", *DEFAULTS):
            del project.config[section]
        (project.folder / "data/small.jsonl").write_text(small_corpus(12))
        project.write_config(**DEFAULTS, figures={"also": ["diagnostics", "outcome_by_lag"]})
        return project, project.run()

    yield from made_once("whole", tmp_path_factory, make)


def copy_of(once: tuple[Project, str], tmp_path: Path, *parts: str) -> Iterator[Project]:
    """Yield a copy of what was made once, or of some of its folders, to be changed."""
    project = once[0].copy(tmp_path / "project", *parts)
    yield project
    shutil.rmtree(project.folder)


@pytest.fixture
def finished(finished_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the finished project, to be changed."""
    yield from copy_of(finished_once, tmp_path)


@pytest.fixture
def results_and_inputs(finished_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return what lies around the code in the finished project, to be changed."""
    yield from copy_of(finished_once, tmp_path, "config", "data", "mine", "results")


def link_or_copy(source: str, target: str) -> None:
    """Copy what a plan or `write_config` writes to; link other files, which nothing writes to."""
    written = "/config/" in source or ("/.snakemake/" in source and "/metadata/" not in source)
    (shutil.copy2 if written else os.link)(source, target)


@pytest.fixture
def to_plan(whole_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Yield a copy of the project with the default sections to make plans of.

    It lacks what no plan reads, and a file is changed by another in its place.
    """
    shutil.copytree(
        whole_once[0].folder,
        tmp_path / "project",
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "logs"),
        copy_function=link_or_copy,
    )
    yield Project(tmp_path / "project", json.loads(json.dumps(whole_once[0].config)))
    shutil.rmtree(tmp_path / "project")


@pytest.fixture(scope="session")
def commands(
    finished_once: tuple[Project, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Return the program of each stage in the finished project, with its arguments."""
    project = finished_once[0].copy(tmp_path_factory.mktemp("planned") / "project")
    return dict(map(planned, plan(project.folder, everything=True).commands.values()))


@pytest.fixture(scope="session")
def two_models_once(
    gpt2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """Yield a project after a run of two models, of 2 and 3 layers, and what was printed."""

    def make(folder: Path) -> tuple[Project, str]:
        project = new_project(folder, gpt2)
        shutil.copytree(llama, project.folder / "llama")
        project.write_config(
            models={"llama": {"source": "path", "path": "llama"}},
            extraction={"keep": "norms"},
        )
        return project, project.run()

    yield from made_once("two_models", tmp_path_factory, make)


@pytest.fixture
def two_models(two_models_once: tuple[Project, str], tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the project with two models, to be changed."""
    yield from copy_of(two_models_once, tmp_path)


@pytest.fixture(scope="session")
def several_once(
    gpt2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """Yield a project after a run of several regressions over two shards, and what it printed."""

    def make(folder: Path) -> tuple[Project, str]:
        project = new_project(folder, gpt2)
        write_several(project, shards=2)
        return project, project.run(*without_figures())

    yield from made_once("several", tmp_path_factory, make)
