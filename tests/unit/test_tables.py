import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attnlag import tables


def test_written_whole_replaces_the_target(tmp_path):
    target = tmp_path / "new" / "a.txt"
    tables.write_text("first", target)
    tables.write_text("second", target)
    assert target.read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_target_and_no_temporary(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), tables.written_whole(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_target_do_not_mix(tmp_path):
    target = tmp_path / "a.txt"
    with tables.written_whole(target) as one, tables.written_whole(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"


def test_new_files_have_the_usual_mode(tmp_path):
    tables.write_text("x", tmp_path / "ours")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_provenance_goes_along(tmp_path):
    first = tables.provenance({}, "corpus", {"text": "text"}, "pyarrow", corpus={"name": "é"})
    second = tables.provenance(first, "tokens", {"max_length": None}, "numpy")
    tables.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet", second)
    record = tables.read_provenance(tmp_path / "t.parquet")
    assert record == second
    assert record["stages"] == {"corpus": {"text": "text"}, "tokens": {"max_length": None}}
    assert record["corpus"] == {"name": "é"}
    assert set(record["versions"]) == {"pyarrow", "numpy"}


def test_equal_tables_give_equal_bytes(tmp_path):
    table = pa.table({"x": [1.5, 2.5], "d": pa.array(["a", "b"]).dictionary_encode()})
    for name in ("a", "b"):
        tables.write_table(table, tmp_path / name, {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_batches_read_everything_in_order(tmp_path):
    pq.write_table(pa.table({"x": range(1000)}), tmp_path / "t.parquet", row_group_size=300)
    batches = list(tables.batches(tmp_path / "t.parquet", 256, "rows"))
    assert max(batch.num_rows for batch in batches) <= 256
    assert sum((batch["x"].to_pylist() for batch in batches), []) == list(range(1000))
