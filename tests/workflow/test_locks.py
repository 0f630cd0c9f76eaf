"""Locks of runs at once, and the locks and marks that killed runs leave."""

import base64
import fcntl
import socket

import pytest
from projects import wait_for

TARGET = "results/corpora/small.parquet"
RUN = (TARGET, "--forcerun", "prepare_corpus")


def lock_of(project):
    return project.folder / ".snakemake" / "attnlag.lock"


def locks_of(project):
    return list((project.folder / ".snakemake" / "locks").glob("*.lock"))


@pytest.fixture
def killed(fresh):
    """Return a project whose last run was killed in the middle."""
    run = fresh.start("--cores", "2", *RUN)

    def locked():
        # Snakemake locks outputs last, and a file that it has only opened locks nothing.
        return any(lock.stat().st_size for lock in locks_of(fresh) if ".output" in lock.name)

    wait_for(lambda: locked() or run.poll() is not None, 60, "the locks")
    assert run.poll() is None
    run.kill()
    run.wait()
    return fresh


def test_the_locks_of_a_live_run_stay_and_those_of_a_killed_one_are_cleared(killed):
    assert lock_of(killed).read_text() == socket.gethostname()
    with lock_of(killed).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        before = locks_of(killed)
        assert "--unlock" in killed.fails(*RUN)
        assert locks_of(killed) == before
    killed.run(*RUN)
    assert not locks_of(killed)


def test_runs_of_different_targets_may_run_at_once(fresh, finished_once):
    targets = (TARGET, "data/models/tiny/source.json")
    runs = [fresh.start("--cores", "2", target) for target in targets]
    assert [run.wait() for run in runs] == [0, 0]
    for target in targets:
        made = (fresh.folder / target).read_bytes()
        assert made == (finished_once[0].folder / target).read_bytes()
    assert fresh.would_run(*targets) == {}


# As snakemake/spawn_jobs.py calls what an executor starts on another machine.
REMOTE = (
    *("--snakefile", "Snakefile", "--target-jobs", "prepare_corpus:corpus=small"),
    *("--allowed-rules", "prepare_corpus", "--force", "--nolock"),
    *("--ignore-incomplete", "--no-hooks", "--mode", "remote"),
)


@pytest.mark.parametrize("mended", [True, False])
def test_a_remote_job_keeps_the_mark_of_an_incomplete_file(fresh, mended):
    """workflow/rules/remote_jobs.smk works around a defect that Snakemake still has.

    The run that submitted the job was killed. If this test fails for plain Snakemake, the file is
    no longer needed.
    """
    if not mended:
        (fresh.folder / "workflow/rules/remote_jobs.smk").write_text("")
    # As Snakemake marks what it begins to make.
    name = base64.urlsafe_b64encode(TARGET.encode()).decode()
    mark = fresh.folder / ".snakemake/incomplete" / name
    mark.parent.mkdir(parents=True)
    mark.write_text('{"external_jobid": "1"}')
    fresh.run(*REMOTE)
    assert (fresh.folder / TARGET).exists()
    assert mark.exists() == mended
