"""Files appear whole or not at all, and their digests are remembered."""

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from attnlag.errors import UserError
from attnlag.storage import contents, writing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_the_old_one_or_that_stays(tmp_path):
    target, plain = tmp_path / "new" / "a.txt", tmp_path / "plain"
    writing.write_text("first", target)
    writing.write_text("second", target)
    with pytest.raises(RuntimeError), writing.written_whole(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "second"
    assert names(target.parent) == ["a.txt"]
    plain.write_text("x")
    assert target.stat().st_mode == plain.stat().st_mode


def test_two_writers_of_one_target_do_not_mix(tmp_path):
    target = tmp_path / "a.txt"
    with writing.written_whole(target) as one, writing.written_whole(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"


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


def test_what_a_killed_writer_leaves_is_found(tmp_path):
    target = tmp_path / "results/a.txt"
    with writing.written_whole(target) as temporary:
        # A killed writer gets no further.
        (left,) = writing.leftovers(tmp_path)
        assert (left, left.parent) == (temporary.parent, target.parent)
        assert not target.exists()
        writing.write_text("of another writer", target)
        assert list(writing.leftovers(tmp_path)) == [left]
        temporary.touch()
    assert not list(writing.leftovers(tmp_path))


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "any"), RuntimeError(f"write: {os.strerror(errno.ENOSPC)} (code 28)")],
)
def test_a_full_disk_is_reported_in_one_line(tmp_path, error):
    target = tmp_path / "new" / "a.txt"
    with pytest.raises(UserError) as caught, writing.written_whole(target):
        raise error
    (line,) = caught.value.problems
    assert line.startswith(f"{target}: found no room left on its disk (")
    assert not names(target.parent)


FILE = Path("file.txt")
MINUTE = 60 * 10**9


@pytest.fixture(name="reads")
def a_file_in_a_folder_of_runs(tmp_path, monkeypatch):
    """Make a folder of runs with a file and a clock that is a minute later; return what is read."""
    reads = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contents, "sha256_of", lambda path: reads.append(path) or digest(path))
    later = time.time_ns() + MINUTE
    monkeypatch.setattr(contents.time, "time_ns", lambda: later)
    Path(".snakemake").mkdir()
    FILE.write_text("one")
    return reads


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_read(reads):
    """Return whether the file is read for its digest, which is right."""
    reads.clear()
    assert contents.remembered([FILE]) == {"file.txt": digest(FILE)}
    return bool(reads)


def test_a_file_is_read_once(reads):
    assert [is_read(reads), is_read(reads)] == [True, False]


def test_a_file_of_equal_size_and_date_is_read_again(reads):
    times = FILE.stat().st_atime_ns, FILE.stat().st_mtime_ns
    assert is_read(reads)
    Path("other.txt").write_text("two")
    os.utime("other.txt", ns=times)
    os.replace("other.txt", FILE)
    assert is_read(reads)
    FILE.write_text("six")
    os.utime(FILE, ns=times)
    assert (FILE.stat().st_size, FILE.stat().st_mtime_ns) == (3, times[1])
    assert is_read(reads)


def test_a_file_changed_just_now_is_not_remembered(reads, monkeypatch):
    """It may change again within a tick of the clock, which nothing would show."""
    now = FILE.stat().st_ctime_ns + 10**6
    monkeypatch.setattr(contents.time, "time_ns", lambda: now)
    assert [is_read(reads), is_read(reads)] == [True, True]


@pytest.mark.usefixtures("reads")
def test_missing_files_and_a_damaged_memory_are_no_error():
    contents.MEMORY.write_text("{")
    assert contents.remembered([FILE, "none.txt"]) == {"file.txt": digest(FILE)}
    assert list(json.loads(contents.MEMORY.read_text())) == [str(FILE.absolute())]


@pytest.mark.usefixtures("reads")
def test_nothing_is_remembered_where_no_run_was():
    Path(".snakemake").rmdir()
    assert contents.remembered([FILE]) == {"file.txt": digest(FILE)}
    assert os.listdir() == ["file.txt"]
