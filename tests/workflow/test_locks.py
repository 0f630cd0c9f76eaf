"""A killed run leaves Snakemake's locks behind, and the next run clears them."""

import fcntl
import socket
import subprocess
import sys
import time

import pytest

RUN = ("results/corpora/small.parquet", "--forcerun", "prepare_corpus")


def lock_of(project):
    return project.folder / ".snakemake" / "attnlag.lock"


def locks_of(project):
    return list((project.folder / ".snakemake" / "locks").glob("*.lock"))


@pytest.fixture
def killed(fresh):
    """Return a project whose last run was killed in the middle."""
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
    return fresh


def refused(project):
    """Return whether a run is refused, which leaves the locks that it found."""
    before = locks_of(project)
    result = project.snakemake("--cores", "2", *RUN)
    assert "Traceback" not in result.stdout
    assert locks_of(project) == before
    return result.returncode == 1 and "--unlock" in result.stdout


def test_the_locks_of_a_live_run_stay_and_those_of_a_killed_one_are_cleared(killed):
    assert lock_of(killed).read_text() == socket.gethostname()
    with lock_of(killed).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert refused(killed)
    killed.run(*RUN)
    assert not locks_of(killed)
