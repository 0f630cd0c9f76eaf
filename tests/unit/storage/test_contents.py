"""Digests of files are remembered as long as no file can have changed."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from attnlag.storage import contents

FILE = Path("file.txt")
MINUTE = 60 * 10**9


@pytest.fixture(name="reads", autouse=True)
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


def test_missing_files_and_a_damaged_memory_are_no_error():
    contents.MEMORY.write_text("{")
    assert contents.remembered([FILE, "none.txt"]) == {"file.txt": digest(FILE)}
    assert list(json.loads(contents.MEMORY.read_text())) == [str(FILE.absolute())]


def test_nothing_is_remembered_where_no_run_was():
    Path(".snakemake").rmdir()
    assert contents.remembered([FILE]) == {"file.txt": digest(FILE)}
    assert os.listdir() == ["file.txt"]
