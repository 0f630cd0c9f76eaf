"""What a run leaves: the record of every result, its last words, and locks."""

import hashlib
import os
import socket
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gguf_files import as_gguf
from local_models import from_path

from attnlag.config.schema import Config
from attnlag.pipeline import closing, records, run_lock
from attnlag.storage import tables

MODELS = {"m": {"source": "path", "path": "m"}}
CONFIG = Config.model_validate({"corpora": {"c": {"files": "x"}}})
MADE = {"model": {"name": "tiny"}, "stages": {"norms": {}}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with a text and a table among its results, and their record."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a.txt").write_text("text")
    tables.write_table(pa.table({"x": [1]}), tmp_path / "results/b.parquet", MADE)
    records.write(CONFIG)
    return tmp_path


def test_the_record_lists_the_contents_of_every_file_and_nothing_of_the_place_or_time(folder):
    record, before = records.read(), (folder / records.RECORD).read_bytes()
    digest = hashlib.sha256(b"text").hexdigest()
    assert record["files"]["results/a.txt"] == {"sha256": digest, "bytes": 4}
    assert sorted(record["files"]["results/b.parquet"]) == ["bytes", "sha256"]
    assert record["environment"]["pyarrow"] == pa.__version__
    assert records.check(record) == {}
    os.utime("results/a.txt")
    records.write(CONFIG)
    assert (folder / records.RECORD).read_bytes() == before
    assert str(folder).encode() not in before


def test_a_check_names_each_file_that_differs(folder):
    (folder / "results/a.txt").write_text("other")
    (folder / "results/b.parquet").unlink()
    (folder / "results/c.txt").touch()
    (folder / "results/report.zip").touch()
    (folder / "results/.a.txt.12345678.tmp").mkdir()
    (folder / "results/.a.txt.12345678.tmp/a.txt").touch()
    problems = records.check(records.read())
    assert problems.pop("results/a.txt").startswith("its content has changed: found SHA-256 ")
    assert problems == {"results/b.parquet": "missing", "results/c.txt": "not in the record"}


def test_a_change_by_hand_is_not_recorded_and_a_deleted_file_leaves_the_record(folder, subtests):
    """A run that begins after the change does not record it. A file made anew is recorded anew."""
    (folder / "results/a.txt").write_text("by hand")
    (folder / "results/b.parquet").unlink()
    for begun, problems in ((time.time() + 1, ["results/a.txt"]), (0, [])):
        with subtests.test(problems=problems):
            records.write(CONFIG, begun=begun)
            assert list(records.check(records.read())) == problems
            assert list(records.read()["files"]) == ["results/a.txt"]


def test_files_of_former_shards_are_named_for_a_shell(folder):
    corpora = {"c": {"files": "x", "shards": 2}}
    config = Config.model_validate({"models": MODELS, "corpora": corpora})
    study = folder / "results/m/c"
    # The last one is a checkpoint.
    names = ["a/0001", "a/0002", "a/0010", "a/0011", "a/0012", "b/0013", "a/revisions/1024"]
    for name in names:
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        tables.write_table(pa.table({"x": [1]}), study / f"{name}.parquet", MADE)
    pq.write_table(pa.table({"x": [1]}), study / "b/2024.parquet")
    assert records.former_shards(config) == [
        *("results/m/c/a/0002.parquet", "results/m/c/a/{0010..0012}.parquet"),
        "results/m/c/b/0013.parquet",
    ]


def test_the_settings_that_changed_since_everything_was_made_are_named(folder):
    corpora = {"prompts": {"files": ["x.txt"]}}
    before = {"corpora": corpora, "regressions": {"a": {"lags": [1]}, "b": {"lags": [2]}}}
    now = {"corpora": corpora, "inference": {"alpha": 0.01}}
    now["regressions"] = {"a": {"lags": [1, 2]}, "c": {"lags": [2]}}
    # Nothing is known of a run that did not make everything.
    assert records.changed_settings(Config.model_validate(now)) == []
    records.write(Config.model_validate(before), complete=True)
    records.write(CONFIG)
    assert records.changed_settings(Config.model_validate(before)) == []
    assert records.changed_settings(Config.model_validate(now)) == [
        "regressions.a.lags: [1] → [1, 2]",
        "regressions.c: new",
        "regressions.b: removed",
        "inference.alpha: 0.05 → 0.01",
    ]


def test_a_folder_of_a_model_that_was_made_from_another_entry_is_named(folder):
    """It may be a copy, of which Snakemake knows no job, so nothing would make it anew."""
    file, record = as_gguf(folder / "tiny.gguf", "llama"), "data/models/m/source.json"

    def named(source="path", **entry):
        where = {"path": str(file)} if source == "path" else {"repository": "a/b", "revision": "c"}
        models = {"m": {"source": source, **where, **entry}}
        config = {"models": models, "corpora": {"c": {"files": "x"}}}
        return records.changed_models(Config.model_validate(config))

    def line(change):
        return [f"{record}: {change}; --forcerun fetch_model makes it anew"]

    assert named() == []
    from_path(file, folder / record.rpartition("/")[0], 0.05)
    assert named(initializer_range=0.05) == []
    assert named() == line("initializer_range: 0.05 → null")
    assert named(initializer_range=0.04) == line("initializer_range: 0.05 → 0.04")
    assert named("hub", initializer_range=0.05)[0] == line('source: "path" → "hub"')[0]
    # What is assumed where an entry states nothing is none of it.
    from_path(file, folder / record.rpartition("/")[0])
    assert named() == []
    # A copy may have been interrupted. Making it anew must stay possible.
    (folder / record).write_text('{"source": ')
    assert named() == []


def test_a_run_ends_with_the_figures_besides_those_of_every_run_in_their_first_size(
    folder, subtests
):
    (folder / "results/answers.txt").write_text("answers")
    drawn = folder / "results/figures"
    drawn.mkdir()
    for name in ("diagnostics", "diagnostics_column", "norms_by_layer", "norms_by_layer_column"):
        (drawn / f"{name}.png").touch()
    for sizes, named in (["page", "column"], ""), (["column"], "_column"):
        with subtests.test(named=named):
            figures = {"also": ["diagnostics"], "sizes": sizes}
            config = Config.model_validate({"corpora": {"c": {"files": "x"}}, "figures": figures})
            said = closing.words(config, ["results/figures", "results/a.txt"]).splitlines()
            asked = f"results/figures/diagnostics{named}.png"
            assert [line for line in said if ".png" in line] == [asked]


def test_a_run_ends_with_its_answers_and_what_the_comparison_found(folder):
    """The findings of a single study are in its folder."""
    compared = folder / "results/comparison/findings.txt"
    single = folder / "results/m/comparison/findings.txt"
    for path in (compared, single):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"found in {path.parent.parent.name}\n")
    answers = folder / "results/answers.txt"
    config = Config.model_validate({"corpora": {"c": {"files": "x"}}})
    targets = [str(path.relative_to(folder)) for path in (compared, single)]
    # Older answers are of another run: the findings are named.
    answers.write_text("the answers")
    os.utime(answers, (1, 1))
    paths = [f"findings: {path}" for path in targets]
    assert closing.words(config, targets).splitlines()[:2] == paths
    os.utime(answers)
    said = closing.words(config, targets).splitlines()
    assert said[:2] == ["the answers", "found in results"]
    assert "found in m" not in said
    # Answers of the very same moment are no older.
    for path in (answers, compared, single):
        os.utime(path, (9, 9))
    assert closing.words(config, targets).startswith("the answers")


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
    alive = [run_lock.clear_stale_locks()[0]] if other == "alive" else []
    lock.touch()
    holder, alone = run_lock.clear_stale_locks()
    run_lock.remove_leftovers(alone)
    assert (alone, not lock.exists(), not begun.exists()) == (other == "none",) * 3
    name = "elsewhere" if "another" in other else socket.gethostname()
    assert run_lock.HOLDER.read_text() == name
    # A run is alive until its file is closed.
    for file in (*alive, holder):
        file.close()
    assert run_lock.clear_stale_locks()[1] == ("another" not in other)
