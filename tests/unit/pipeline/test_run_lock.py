"""The locks of a killed run are cleared, and those of a live run are kept."""

import fcntl
import socket

import pytest

from attnlag.pipeline import run_lock


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """Return a lock that a killed run on this machine has left in the working folder."""
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    run_lock.HOLDER.write_text(socket.gethostname())
    return lock


@pytest.mark.parametrize("other", ["none", "killed on another machine", "alive"])
def test_only_a_run_that_is_alone_clears_locks_and_files_that_jobs_had_begun(lock, tmp_path, other):
    begun = tmp_path / "results/a/.norms.parquet.12345678.tmp"
    begun.mkdir(parents=True)
    if other == "killed on another machine":
        run_lock.HOLDER.write_text("elsewhere")
    with run_lock.HOLDER.open() as file:
        if other == "alive":
            fcntl.flock(file, fcntl.LOCK_SH)
        holder, alone = run_lock.clear_stale_locks()
    run_lock.remove_leftovers(alone)
    assert (alone, not lock.exists(), not begun.exists()) == (other == "none",) * 3
    assert run_lock.HOLDER.read_text() == (
        "elsewhere" if "another" in other else socket.gethostname()
    )
    holder.close()


def test_the_lock_is_held_until_the_file_is_closed(lock):
    holder, _ = run_lock.clear_stale_locks()
    lock.touch()
    assert not run_lock.clear_stale_locks()[1]
    holder.close()
    assert run_lock.clear_stale_locks()[1]
