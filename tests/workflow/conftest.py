"""The real workflow through the real command line, on copies of the project."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from projects import (
    DEFAULTS,
    REGRESSIONS,
    Project,
    new_project,
    small_corpus,
    state_of,
    without_figures,
    write_several,
)

from attnlag.figures.settings import ON_REQUEST


@pytest.fixture
def fresh(gpt2: Path, tmp_path: Path) -> Project:
    """Return a project in which nothing was run yet."""
    return new_project(tmp_path / "project", gpt2)


# A project after its run, and what the run printed.
Once = tuple[Project, str]


def once(name: str, ask: Callable[[Project, Path], object], *arguments: str) -> Callable:
    """Return a fixture: a project that is run once for all workers, and that no test changes.

    ``ask`` states what is asked for, given the folder of a second model.
    """

    @pytest.fixture(scope="session")
    def made(gpt2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Once]:
        base = tmp_path_factory.getbasetemp()
        # The folder of a worker is in that of the session.
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        folder, record = base / name, base / f"{name}.json"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                project = new_project(folder, gpt2)
                ask(project, llama)
                printed = project.run(*arguments)
                record.write_text(json.dumps([project.config, printed, state_of(folder)]))
        config, printed, state = json.loads(record.read_text())
        yield Project(folder, config), printed
        assert state_of(folder) == state, f"a test has changed {name}, which others read"

    return made


def ask_for_all_quantities(project: Project, _: Path) -> None:
    project.write_config(
        causal={},
        extraction={"quantities": ["geometry", "heads"]},
        figures={"also": list(ON_REQUEST)},
    )


def ask_for_the_default_sections(project: Project, _: Path) -> None:
    for section in ("sources", "extraction", *DEFAULTS):
        del project.config[section]
    (project.folder / "data/small.jsonl").write_text(small_corpus(12))
    project.write_config(**DEFAULTS, figures={"also": ["diagnostics", "as_in_the_post"]})
    # As in config/config.yaml, by a property that needs no tagger.
    within = {**REGRESSIONS["within"], "slopes_by": {"word_initial": "outcome"}}
    project.write_config(regressions={"within": within})


def ask_for_two_models(project: Project, llama: Path) -> None:
    """Ask for models of 2 and 3 layers."""
    shutil.copytree(llama, project.folder / "llama")
    project.write_config(
        models={"llama": {"source": "path", "path": "llama"}}, extraction={"keep": "norms"}
    )


finished_once = once("finished", ask_for_all_quantities)
whole_once = once("whole", ask_for_the_default_sections)
two_models_once = once("two_models", ask_for_two_models)
several_once = once("several", lambda project, _: write_several(project, 2), *without_figures())


def copy_of(name: str) -> Callable:
    """Return a fixture: a copy of a project that was run once, to be changed."""

    @pytest.fixture
    def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
        project = request.getfixturevalue(f"{name}_once")[0].copy(tmp_path / "project")
        yield project
        shutil.rmtree(project.folder)

    return copied


finished, two_models = map(copy_of, ("finished", "two_models"))


def link_or_copy(source: str, target: str) -> None:
    """Copy what a plan or `write_config` writes to; link other files, which nothing writes to."""
    written = "/config/" in source or ("/.snakemake/" in source and "/metadata/" not in source)
    (shutil.copy2 if written else os.link)(source, target)


@pytest.fixture
def to_plan(whole_once: Once, tmp_path: Path) -> Iterator[Project]:
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
