"""A killed run leaves Snakemake's locks behind, and the next run clears them."""

import fcntl
import socket
import subprocess
import sys
import time

import pytest
from killing import wait_for_jobs
from projects import new_project

RUN = ("results/corpora/small.parquet", "--forcerun", "prepare_corpus")


def lock_of(project):
    return project.folder / ".snakemake" / "attnlag.lock"


def locks_of(project):
    return list((project.folder / ".snakemake" / "locks").glob("*.lock"))


@pytest.fixture(scope="module")
def killed_once(gpt2, tmp_path_factory):
    """Return a project whose last run was killed in the middle."""
    fresh = new_project(tmp_path_factory.mktemp("killed") / "project", gpt2)
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *RUN],
        cwd=fresh.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    # Snakemake locks outputs last, and a file that it has only opened locks nothing.
    while not any(lock.stat().st_size for lock in locks_of(fresh) if ".output" in lock.name):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.kill()
    run.wait()
    wait_for_jobs(fresh.folder.resolve())
    assert lock_of(fresh).read_text().startswith(f"{socket.gethostname()} ")
    return fresh


@pytest.fixture
def killed(killed_once, tmp_path):
    """Return a copy of it."""
    return killed_once.copy(tmp_path / "project")


def refused(project):
    """Return whether a run is refused, which leaves the locks that it found."""
    before = locks_of(project)
    result = project.snakemake("--cores", "2", *RUN)
    assert "Traceback" not in result.stdout
    assert locks_of(project) == before
    return result.returncode == 1 and "--unlock" in result.stdout


def test_the_locks_of_a_live_run_stay(killed):
    with lock_of(killed).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert refused(killed)
    killed.run(*RUN)
    assert not locks_of(killed)


def test_the_locks_of_another_machine_stay(killed):
    """A system lock may not be visible over a network."""
    lock_of(killed).write_text("elsewhere mark")
    assert refused(killed)
    # An explicit request clears them.
    assert killed.snakemake("--unlock").returncode == 0
    killed.run(*RUN)
    assert lock_of(killed).read_text().startswith(socket.gethostname())


def test_a_dry_run_keeps_the_mark_of_a_run(killed):
    """A dry run must not make a live run lose its jobs."""
    *_, mark = lock_of(killed).read_text().split()
    killed.dry_run(*RUN)
    assert lock_of(killed).read_text().split()[-1] == mark
    killed.run(*RUN)
    assert lock_of(killed).read_text().split()[-1] != mark
