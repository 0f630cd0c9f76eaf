"""Files appear whole or not at all, keep what made them, and have digests that are remembered."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from projects import ROOT, ran, refused

from attnlag.errors import UserError
from attnlag.storage import contents, tables, writing
from attnlag.storage.made_by import settings_of_file


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


def test_a_text_for_people_has_no_control_characters_and_other_files_have_their_own(
    tmp_path, subtests
):
    for name, written in (("a.txt", "one\\x1b[2J\ntwo\n"), ("a.html", "one\x1b[2J\ntwo\n")):
        with subtests.test(name=name):
            writing.write_text("one\x1b[2J\ntwo\n", tmp_path / name)
            assert (tmp_path / name).read_bytes() == written.encode()


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


def test_the_old_folder_stays_if_the_new_one_cannot_take_its_place(tmp_path):
    target = tmp_path / "summary"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), writing.replaced_whole(target) as folder:
        folder.rmdir()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["summary"]


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


def test_the_record_of_a_file_leaves_out_which_files_its_job_makes():
    settings = {"sites": ["mlp"], "extraction": {"quantities": [], "dtype": "auto"}, "seed": 1}
    assert settings_of_file(settings) == {"extraction": {"dtype": "auto"}, "seed": 1}


@pytest.fixture
def disk_of_a_megabyte(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))


def test_room_is_for_the_shards_that_are_not_there(tmp_path, disk_of_a_megabyte):
    """What is there stays until this shard replaces its own."""
    for shard in (0, 1):
        (tmp_path / f"{shard:04d}.parquet").touch()
    sizes = {tmp_path / "0001.parquet": 100_000}
    said = writing.room_for_shards(sizes, 4)
    assert said == f"{tmp_path}: 2 files of 200 kB in all to be written, 1 MB free"
    said = writing.room_for_shards(sizes, 2)
    assert said == f"{tmp_path}: 1 file of 100 kB to be written, 1 MB free"


def test_files_of_all_quantities_need_room_together(tmp_path, disk_of_a_megabyte):
    sizes = {tmp_path / "norms/0000.parquet": 400_000, tmp_path / "stream/0000.parquet": 100_000}
    assert ": 4 files of 1 MB in all to be written" in writing.room_for_shards(sizes, 2)
    (line,) = refused(writing.room_for_shards, sizes, 3)
    assert "6 files of 2 MB in all to be written, 1 MB free" in line


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "any"), RuntimeError(f"write: {os.strerror(errno.ENOSPC)} (code 28)")],
)
def test_a_full_disk_is_reported_in_one_line(tmp_path, error):
    target = tmp_path / "new" / "a.txt"
    with pytest.raises(UserError) as caught, writing.written_whole(target):
        raise error
    (line,) = caught.value.problems
    assert re.fullmatch(
        rf"{target}: found no room left on its disk \([\d.,]+ [kMG]B free\), expected more room",
        line,
    )
    assert not names(target.parent)


def test_advice_on_norms_is_given_where_vectors_are_written(tmp_path):
    target = tmp_path / "activations" / "0000.parquet"
    with pytest.raises(UserError) as caught, writing.written_whole(target):
        raise OSError(errno.ENOSPC, "any")
    (line,) = caught.value.problems
    assert line.endswith("or less to write (norms alone take far less than vectors)")


def test_a_limit_of_the_size_of_files_is_a_line(tmp_path):
    """The limit is that of the shell; a table and a text reach it."""
    code = (
        "import pyarrow as pa, sys\n"
        "from attnlag.errors import UserError\n"
        "from attnlag.storage import tables, writing\n"
        "for write in (\n"
        "    lambda: writing.write_text('x' * 10_000, 'a.json'),\n"
        "    lambda: tables.write_table(pa.table({'x': [*range(10_000)]}), 'a.parquet', {}),\n"
        "):\n"
        "    try:\n"
        "        write()\n"
        "    except UserError as error:\n"
        "        print(error)\n"
    )
    command = f'ulimit -f 4; exec {sys.executable} -c "$CODE"'
    environment = os.environ | {"CODE": code, "PYTHONPATH": str(ROOT / "scripts")}
    done = ran(["bash", "-c", command], cwd=tmp_path, env=environment)
    said = "found a limit of the size of files, expected a larger one (ulimit -f)"
    assert done.stdout == f"a.json: {said}\na.parquet: {said}\n"
    assert list(tmp_path.iterdir()) == []


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
def test_missing_files_and_a_memory_that_is_damaged_or_has_no_folder_are_no_error():
    contents.MEMORY.write_text("{")
    assert contents.remembered([FILE, "none.txt"]) == {"file.txt": digest(FILE)}
    assert list(json.loads(contents.MEMORY.read_text())) == [str(FILE.absolute())]
    shutil.rmtree(".snakemake")
    assert contents.remembered([FILE]) == {"file.txt": digest(FILE)}
    assert os.listdir() == ["file.txt"]


@pytest.mark.usefixtures("reads")
def test_digests_stand_in_the_order_of_the_files_and_a_missing_one_is_said_to_be():
    Path("other.txt").write_text("two")
    told = contents.digests_in_words("other.txt", "none.txt", "file.txt")
    assert told == f"{digest('other.txt')} missing {digest(FILE)}"


def test_a_table_keeps_the_provenance_of_earlier_stages(tmp_path):
    first = tables.provenance({}, "corpus", {"text": "text"}, "pyarrow", corpus={"name": "é"})
    second = tables.provenance(first, "tokens", {"max_length": None}, "numpy")
    tables.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet", second)
    record = tables.read_provenance(tmp_path / "t.parquet")
    assert record == second
    assert record["stages"] == {"corpus": {"text": "text"}, "tokens": {"max_length": None}}
    assert record["corpus"] == {"name": "é"}
    assert set(record["versions"]) == {"pyarrow", "numpy"}
    # Equal tables give equal bytes, in whatever order their record was made.
    again = dict(reversed(second.items()))
    tables.write_table(pa.table({"x": [1]}), tmp_path / "again.parquet", again)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "t.parquet").read_bytes()


def write_groups(path, sizes):
    """Write documents a, b, … of so many rows, a row group each, and return the table."""
    parts, done = [], 0
    for name, size in zip("abcdefgh", sizes, strict=False):
        names = pa.array([name] * size).dictionary_encode()
        parts.append(pa.table({"document": names, "x": np.arange(done, done + size) / 2}))
        done += size
    tables.write_parts(parts, parts[0].schema, path, lambda: {"rows": done})
    return pa.concat_tables(parts).unify_dictionaries()


def test_each_part_becomes_a_row_group_of_a_file_with_their_totals(tmp_path):
    path = tmp_path / "new" / "x.parquet"
    table = write_groups(path, [3, 1, 4])
    assert pq.read_metadata(path).num_row_groups == 3
    assert tables.read_provenance(path) == {"rows": 8}
    assert pq.read_table(path).to_pylist() == table.to_pylist()
    assert [file.name for file in path.parent.iterdir()] == ["x.parquet"]
    # Equal parts give equal bytes.
    first = path.read_bytes()
    write_groups(path, [3, 1, 4])
    assert path.read_bytes() == first


def test_a_failure_while_writing_parts_leaves_no_file(tmp_path):
    def parts():
        yield pa.table({"x": [1]})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        tables.write_parts(parts(), pa.schema([("x", pa.int64())]), tmp_path / "x.parquet", dict)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rows", "sizes"), [(0, [3, 1, 4, 9, 2]), (5, [8, 9, 2]), (100, [19])])
def test_whole_documents_are_combined_into_batches(rows, sizes, tmp_path):
    path = tmp_path / "x.parquet"
    table = write_groups(path, [3, 1, 4, 9, 2])
    batches = list(tables.whole_documents(tables.batches(path, 5, "rows"), rows))
    assert [len(batch) for batch in batches] == sizes
    assert [row for batch in batches for row in batch.to_pylist()] == table.to_pylist()


@pytest.mark.parametrize("rows", [[], [0], [2, 3], [7], [0, 4, 8, 9, 19]])
def test_values_of_rows_are_found_across_row_groups_and_files(rows, tmp_path):
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    written = write_groups(paths[0], [3, 5]), write_groups(paths[1], [8, 4])
    x = np.concatenate([table["x"].to_numpy() for table in written])
    assert tables.row_count(paths) == 20
    assert tables.values_at(paths, "x", np.array(rows, int)).tolist() == x[rows].tolist()


def test_damaged_files_are_named(tmp_path):
    intact, other, cut = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet"))
    write_groups(intact, [3, 1])
    pq.write_table(pa.table({"x": [1]}), other)
    cut.write_bytes(intact.read_bytes()[:-10])
    first, second = tables.damaged([intact, other, cut])
    assert first.startswith(f"{other}: found no record of what made it; ")
    assert second.startswith(f"{cut}: found a damaged file, expected Parquet (")
    assert second.endswith("); delete it, and it is made anew")


def test_shards_of_different_precision_are_refused(tmp_path):
    """`dtype: auto` is float32 on a CPU and the weights' own precision on a GPU."""

    def shard(number, dtype):
        used = {"used": {"device": "cuda", "dtype": dtype}} if dtype else {}
        record = {"model": {}, "corpus": {}, "versions": {}, "tokens": number}
        path = tmp_path / f"{number:04d}.parquet"
        record["stages"] = {"activations": used, "design": {}}
        tables.write_table(pa.table({"a": [1]}), path, record)
        return path

    paths = [shard(0, None), shard(1, "float32"), shard(2, "float32")]
    assert set(tables.shared_provenance(paths)) == {"model", "corpus", "stages", "versions"}
    assert refused(tables.shared_provenance, [*paths, shard(3, "bfloat16")]) == [
        f"{tmp_path}/0003.parquet: found numbers of a model in bfloat16, expected float32 as in "
        f"{tmp_path}/0001.parquet; state extraction.dtype, and all shards are made in one precision"
    ]


def test_no_text_begins_a_row_of_a_csv_file_or_a_formula(tmp_path):
    """A carriage return alone begins a row in a spreadsheet."""
    texts = ["\r=1+1", "a\r\n=2", "=3", "+4", "-5", "\t@6", "7\x1b", "＝8", "＋a", "－9"]
    tables.write_frame(pd.DataFrame({"id": texts}), tmp_path / "a.parquet", {})
    assert pq.read_table(tmp_path / "a.parquet")["id"].to_pylist() == texts
    rows = re.split("[\r\n]+", (tmp_path / "a.csv").read_text())
    assert rows == [
        "id",
        r"\r=1+1",
        r"a\r\n=2",
        "'=3",
        "+4",
        "-5",
        r"\t@6",
        r"7\x1b",
        "'＝8",
        "'＋a",
        "－9",
        "",
    ]
