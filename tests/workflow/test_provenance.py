"""The record that a run leaves of every file, and its check."""

import json
import os
import platform
import socket
import time

from projects import ROOT, TOGETHER, ran
from warm_python import python

from attnlag.storage.tables import read_provenance

STUDY = "results/tiny/small/attention/notebook"
RECORD = "results/provenance.json"


def verify(project):
    """Return the status of the check, its lines by file, and its last line."""
    command = [python(), "-m", "attnlag.pipeline.records"]
    result = ran(command, None, cwd=project.folder, **TOGETHER)
    *lines, last = result.stdout.splitlines()
    return result.returncode, dict(line.split(": ", 1) for line in lines), last


def test_a_run_leaves_a_record_of_every_file_and_the_check_names_those_that_differ(finished):
    record = json.loads((finished.folder / RECORD).read_text())
    results = {f"results/{path}" for path in finished.results()}
    models = {file for file in record["files"] if file.startswith("data/models/tiny/")}
    assert {f"data/models/tiny/{name}" for name in ("source.json", "config.json")} <= models
    assert set(record["files"]) == (results - {RECORD}) | models
    made_from = read_provenance(finished.folder / f"{STUDY}/coefficients.parquet")
    source = json.loads((finished.folder / "data/models/tiny/source.json").read_text())
    assert made_from["model"]["digest"] == source["digest"]
    assert made_from.settings("regression")["alpha"] == 0.05
    text = json.dumps(record)
    assert str(finished.folder.parent) not in text
    assert socket.gethostname() not in text
    assert "data/small.jsonl" in record["inputs"]
    assert "mine/config.json" in record["inputs"]
    count = len(record["files"]) + len(record["inputs"])
    assert verify(finished) == (0, {}, f"{count} files as recorded")

    # One is replaced by an older file of the same size.
    path = finished.folder / "data/small.jsonl"
    path.write_text(path.read_text().replace("river", "brook"))
    os.utime(path, (1e9, 1e9))
    (finished.folder / "mine/config.json").unlink()
    status, lines, _ = verify(finished)
    assert status == 1
    assert lines.pop("data/small.jsonl").startswith("its content has changed: found SHA-256 ")
    assert lines == {"mine/config.json": "missing"}


def test_no_result_says_where_or_when_it_was_made(finished_once):
    project, _ = finished_once
    told = [str(project.folder), str(ROOT), time.strftime("%Y-%m-%d"), time.strftime("%d %b %Y")]
    told += [name for name in (socket.gethostname(), platform.node()) if len(name) > 5]
    for name, content in project.results().items():
        assert not [text for text in told if text.encode() in content], name
