"""The locks of a killed run are cleared, and those of a live run are kept."""

import fcntl
import socket

import pytest

from attnlag.pipeline import run_lock


@pytest.fixture
def stale_lock(tmp_path, monkeypatch):
    """Return a lock that a killed run on this machine has left in the working folder."""
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    run_lock.HOLDER.write_text(socket.gethostname())
    return lock


def test_locks_of_another_machine_stay(stale_lock):
    run_lock.HOLDER.write_text("elsewhere")
    holder, alone = run_lock.clear_stale_locks()
    assert not alone
    assert stale_lock.exists()
    holder.close()


def test_the_lock_is_held_until_the_file_is_closed(stale_lock):
    holder, _ = run_lock.clear_stale_locks()
    stale_lock.touch()
    assert not run_lock.clear_stale_locks()[1]
    holder.close()
    assert run_lock.clear_stale_locks()[1]


def test_a_run_that_is_alone_clears_stale_locks_and_files_that_jobs_had_begun(stale_lock, tmp_path):
    begun = tmp_path / "results/a/.norms.parquet.12345678.tmp"
    begun.mkdir(parents=True)
    holder, alone = run_lock.clear_stale_locks()
    assert alone
    assert not stale_lock.exists()
    assert run_lock.HOLDER.read_text() == socket.gethostname()
    run_lock.remove_leftovers(alone)
    assert not begun.exists()
    holder.close()


def test_a_run_beside_another_leaves_its_locks_and_unfinished_files(stale_lock, tmp_path):
    begun = tmp_path / "results/a/.norms.parquet.12345678.tmp"
    begun.mkdir(parents=True)
    with run_lock.HOLDER.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        holder, alone = run_lock.clear_stale_locks()
        assert not alone
        assert stale_lock.exists()
        run_lock.remove_leftovers(alone)
        assert begun.exists()
        holder.close()
