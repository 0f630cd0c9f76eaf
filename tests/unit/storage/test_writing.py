"""Files and folders appear whole or not at all, and leftovers of killed writers are removed."""

import errno
import os

import pytest

from attnlag.errors import UserError
from attnlag.storage import writing


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
