"""The locks of a killed run are cleared, and those of a live run are kept."""

import fcntl
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from attnlag.pipeline import run_lock
from attnlag.storage.writing import RUN_RECORD, RUN_VARIABLE


@pytest.fixture
def stale_lock(tmp_path, monkeypatch):
    """Return a lock that a killed run on this machine has left in the working folder."""
    monkeypatch.chdir(tmp_path)
    # Set first, so that what a run puts there is taken away after the test.
    monkeypatch.setenv(RUN_VARIABLE, "none")
    monkeypatch.delenv(RUN_VARIABLE)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    RUN_RECORD.write_text(f"{socket.gethostname()} killed")
    return lock


def test_locks_of_another_machine_stay(stale_lock):
    RUN_RECORD.write_text("elsewhere mark")
    record, alone = run_lock.clear_stale_locks()
    assert not alone
    assert stale_lock.exists()
    record.close()


def test_the_lock_is_held_until_the_record_is_closed(stale_lock):
    record, _ = run_lock.clear_stale_locks()
    stale_lock.touch()
    assert not run_lock.clear_stale_locks()[1]
    record.close()
    assert run_lock.clear_stale_locks()[1]


def test_the_record_is_never_empty(stale_lock):
    """A run may be killed at any moment, and jobs read the record while it is written."""
    record, alone = run_lock.clear_stale_locks()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [run_lock.begin_run(record, alone) for _ in range(300)])
        while not writing.done():
            machine, _ = RUN_RECORD.read_text().split()
            assert machine == socket.gethostname()
    record.close()


def test_a_run_that_is_alone_clears_stale_locks_and_files_that_jobs_had_begun(stale_lock, tmp_path):
    begun = tmp_path / "results/a/.norms.parquet.12345678.tmp"
    begun.mkdir(parents=True)
    record, alone = run_lock.clear_stale_locks()
    assert alone
    assert not stale_lock.exists()
    assert RUN_RECORD.read_text().split()[-1] == "killed"
    run_lock.begin_run(record, alone)
    assert RUN_RECORD.read_text().split()[-1] == os.environ[RUN_VARIABLE] != "killed"
    assert not begun.exists()
    record.close()


def test_a_run_beside_another_leaves_its_locks_and_unfinished_files(stale_lock, tmp_path):
    begun = tmp_path / "results/a/.norms.parquet.12345678.tmp"
    begun.mkdir(parents=True)
    with RUN_RECORD.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        record, alone = run_lock.clear_stale_locks()
        assert not alone
        assert stale_lock.exists()
        run_lock.begin_run(record, alone)
        assert RUN_VARIABLE not in os.environ
        assert begun.exists()
        record.close()
