"""Digests of files are remembered as long as no file can have changed."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from attnlag.storage import contents


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file in a folder of runs, with a clock that is a minute later."""
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(contents.time, "time_ns", lambda: later)
    path = Path("file.txt")
    path.write_text("one")
    return path


def read(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bool]:
    """Return the digest of a file, and whether the file was read for it."""
    opened = []
    monkeypatch.setattr(contents, "sha256_of", lambda path: opened.append(path) or digest(path))
    (found,) = contents.remembered([path]).values()
    return found, bool(opened)


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(file, monkeypatch) == (digest(file), True)
    assert read(file, monkeypatch) == (digest(file), False)


def test_a_file_of_equal_size_and_date_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.stat()
    read(file, monkeypatch)
    other = Path("other.txt")
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_size == before.st_size
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert read(file, monkeypatch) == (digest(file), True)
    file.write_text("six")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(file, monkeypatch) == (digest(file), True)


def test_a_file_changed_just_now_is_not_remembered(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change again within a tick of the clock, which nothing would show."""
    now = file.stat().st_ctime_ns + 10**6
    monkeypatch.setattr(contents.time, "time_ns", lambda: now)
    assert read(file, monkeypatch)[1]
    assert read(file, monkeypatch)[1]


def test_missing_files_and_a_damaged_memory_are_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.MEMORY.write_text("{")
    assert contents.remembered([file, "none.txt"]) == {"file.txt": digest(file)}
    assert list(json.loads(contents.MEMORY.read_text())) == [str(file.absolute())]


def test_nothing_is_remembered_where_no_run_was(file: Path) -> None:
    Path(".snakemake").rmdir()
    assert contents.remembered([file]) == {"file.txt": digest(file)}
    assert os.listdir() == ["file.txt"]
