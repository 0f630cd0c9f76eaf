"""Runs that are killed, and what the next plain run makes of what they left."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from projects import SMALL, Project, new_project

SHARDS = 3


class Prepared(NamedTuple):
    """Starting points of the runs to be killed, and the files that an undisturbed run leaves."""

    states: list[Project]  # not to be changed
    seconds: list[float]  # of a run from each state to the next, and from the last to the end
    expected: dict[str, bytes]  # contents by path
    targets: tuple[str, ...]  # of all runs; everything if empty


def left_by(project: Project) -> dict[str, bytes]:
    """Return the content of every file below results/ and data/models/, by path."""
    # An empty folder that is left behind counts too.
    return {
        str(path.relative_to(project.folder)): path.read_bytes() if path.is_file() else b""
        for folder in ("results", "data/models")
        for path in (project.folder / folder).rglob("*")
    }


def prepare(
    folder: Path, model: Path, stages: tuple[str | None, ...], targets: tuple[str, ...] = ()
) -> Prepared:
    """Run a small project once, undisturbed, and keep a copy after each stage.

    A stage is the last rule that has finished; None is a new project.
    """
    project = new_project(folder / "project", model)
    project.write_config(corpora={"small": {**SMALL, "shards": SHARDS}})
    states, seconds = [], []
    for stage, following in zip(stages, (*stages[1:], None), strict=True):
        states.append(project.copy(folder / f"after {stage or 'nothing'}"))
        began = time.monotonic()
        project.run(*targets, *(["--until", following] if following else []))
        seconds.append(time.monotonic() - began)
    return Prepared(states, seconds, left_by(project), targets)


def processes_in(folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes that work in a folder, whoever started them."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()) == folder:
                yield process


def jobs_of(run: subprocess.Popen[bytes]) -> Iterator[psutil.Process]:
    """Yield the programs of a run's jobs."""
    with suppress(psutil.Error):
        for process in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                if program_of(process):
                    yield process


def program_of(process: psutil.Process) -> str:
    """Return the name of the program of a job that a process runs, if it is one."""
    # A shell has the whole command in one argument.
    words = itertools.pairwise(process.cmdline())
    return next((name for run, name in words if run.endswith("scripts/run.py")), "")


def wait_for_jobs(folder: Path) -> None:
    """Wait until no process works in a folder."""
    _, alive = psutil.wait_procs(list(processes_in(folder)), timeout=300)
    assert not alive, alive


def assert_as_undisturbed(project: Project, prepared: Prepared) -> None:
    """Hold that a project has the files of an undisturbed run, and no others."""
    # Jobs that outlived a killed run may outlive the next one too.
    wait_for_jobs(project.folder)
    files, expected = left_by(project), prepared.expected
    assert [path for path in expected | files if expected.get(path) != files.get(path)] == []
    assert project.would_run(*prepared.targets) == {}


def assert_mended(project: Project, prepared: Prepared) -> None:
    """Hold that another run makes what an interrupted one did not."""
    project.run(*prepared.targets)
    assert_as_undisturbed(project, prepared)
