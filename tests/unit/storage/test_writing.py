"""Files and folders appear whole or not at all, and what the dead left is removed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from projects import ROOT

from attnlag.errors import UserError
from attnlag.storage import writing


def test_written_whole_replaces_the_target(tmp_path):
    target = tmp_path / "new" / "a.txt"
    writing.write_text("first", target)
    writing.write_text("second", target)
    assert target.read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_target_and_no_temporary(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), writing.written_whole(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_target_do_not_mix(tmp_path):
    target = tmp_path / "a.txt"
    with writing.written_whole(target) as one, writing.written_whole(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"


def test_new_files_have_the_usual_mode(tmp_path):
    writing.write_text("x", tmp_path / "ours")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "summary"
    target.mkdir()
    (target / "old").touch()
    with writing.replaced_whole(target) as folder:
        (folder / "new").touch()
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    with pytest.raises(RuntimeError), writing.replaced_whole(target) as folder:
        raise RuntimeError
    assert names(target) == ["new"]
    assert names(tmp_path) == ["summary"]
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


# Writes half of a file and is killed.
DIE = """
import os, signal, sys
from attnlag.storage import writing
with writing.written_whole(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die_writing(target):
    command = [sys.executable, "-c", DIE, str(target)]
    assert subprocess.run(command, cwd=ROOT / "scripts", check=False).returncode == -signal.SIGKILL


def test_the_next_writer_removes_what_a_dead_one_left(tmp_path):
    """And nothing else: neither what someone is writing now nor what belongs to other targets."""
    target = tmp_path / "a.b.txt"
    for _ in range(2):
        die_writing(target)
        assert len(names(tmp_path)) == 1
    # A writer that was killed before it had a lock.
    (tmp_path / ".a.b.txt.12345678.tmp").mkdir()
    with writing.written_whole(target) as temporary:
        alive = temporary.parent.name
        assert names(tmp_path) == [alive]
        temporary.write_text("first")
        die_writing(tmp_path / "b.txt")
        writing.write_text("second", target)
        assert alive in names(tmp_path)
        assert len(names(tmp_path)) == 3
    assert target.read_text() == "first"
    assert len(names(tmp_path)) == 2


def test_nothing_is_removed_where_locks_do_not_exist(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    target = tmp_path / "a.txt"
    with writing.written_whole(target) as temporary:
        temporary.write_text("one")
        writing.write_text("two", target)
        assert temporary.read_text() == "one"
    assert target.read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def test_a_job_of_a_run_that_is_over_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(writing.RUN_VARIABLE, "first")
    target = tmp_path / "a.txt"
    # On another machine there is no such record.
    writing.write_text("before", target)
    writing.RUN_RECORD.parent.mkdir()
    writing.RUN_RECORD.write_text("machine 1 first")
    writing.write_text("still", target)
    with pytest.raises(UserError, match="newer run"), writing.written_whole(target) as temporary:
        temporary.write_text("late")
        writing.RUN_RECORD.write_text("machine 2 second")
    with pytest.raises(UserError, match="newer run"), writing.replaced_whole(target):
        raise AssertionError
    assert target.read_text() == "still"
    assert names(tmp_path) == [".snakemake", "a.txt"]
    # A program that is run by hand belongs to no run.
    monkeypatch.delenv(writing.RUN_VARIABLE)
    writing.write_text("by hand", target)


def test_a_job_without_its_shell_writes_nothing(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    monkeypatch.setenv(writing.SHELL_VARIABLE, str(os.getpid()))
    writing.write_text("before", target)
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setenv(writing.SHELL_VARIABLE, str(gone.pid))
    with pytest.raises(UserError, match="the shell of this job was killed"):
        writing.write_text("after", target)
    assert target.read_text() == "before"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "any"), RuntimeError(f"write: {os.strerror(errno.ENOSPC)} (code 28)")],
)
def test_a_full_disk_is_one_line(tmp_path, error):
    target = tmp_path / "new" / "a.txt"
    with pytest.raises(UserError) as caught, writing.written_whole(target):
        raise error
    (line,) = caught.value.problems
    assert line.startswith(f"{target}: found no room left on its disk (")
    assert not names(target.parent)
