"""A user's mistake gives its lines, no traceback, a status and no half-written file."""

import io
import json
import os
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from designs import changed

STUDY = "results/tiny/small/attention/notebook"
NORMS = "results/tiny/small/attention/norms/0000.parquet"


def test_a_configfile_replaces_the_default_file(finished):
    """If it were merged with the default file there would be two models and two corpora."""
    other = {**finished.config, "models": {"second": finished.config["models"]["tiny"]}}
    (finished.folder / "other.yaml").write_text(json.dumps(other))
    printed = finished.run("-n", "--quiet", "host", "--configfile", "other.yaml")
    assert re.search(r"^ +1  fetch_model$", printed, re.M)
    assert "results/second/small/" in printed
    assert "results/tiny/" not in printed


def test_a_layer_that_cannot_be_fitted_is_reported_and_the_others_are_fitted(finished):
    """Everything else is made. The status, the terminal and the tables report it in each run."""
    before = finished.results()
    path = finished.folder / NORMS
    norms = pq.read_table(path)
    layer = np.full(len(norms), 2, np.float32)
    layer[[10, 11]] = 0, np.inf
    pq.write_table(changed(norms, {"layer_01": layer}), path)
    dropped = "4 rows dropped for zero or non-finite norms"
    reason = "the outcome is constant"
    told = f"layer 1 was not fitted: {reason} ({dropped})"
    message = f"error: tiny, small, attention, notebook: {told}"
    assert re.findall("^error:.*", finished.fails(), re.M) == [message]
    findings = (finished.folder / STUDY / "findings.txt").read_text()
    assert f"  {told}" in findings
    fits = pd.read_csv(finished.folder / STUDY / "fits.csv")
    assert fits["status"].tolist() == ["ok", reason]
    # Two outcomes, and each is a lag of the two tokens after it: rows 10 to 13.
    assert fits["n_dropped"].tolist() == [0, 4]
    log = (finished.folder / "logs/tiny/small/attention/notebook/design/0000.log").read_text()
    assert f"; layer_01: {dropped}, the first " in log
    old = pd.read_csv(io.BytesIO(before[f"{STUDY.removeprefix('results/')}/fits.csv"]))
    assert fits.loc[0, "r_squared"] == old.loc[0, "r_squared"]
    after = finished.results()
    assert set(before) - set(after) == {"layers_fitted.txt"}
    # Finite interventions are held against no regression; the groups are too small, and so are the
    # documents for any effect to be clear.
    others = ("finite_", "cosines_", "heads_", "groups_", "signs_")
    pictures = {path for path in after if path.endswith(".png")}
    figures = {path for path in pictures if not path.rsplit("/", 1)[1].startswith(others)}
    assert [path for path in figures if before[path] == after[path]] == []

    assert finished.would_run() == {"check_fits": 1}
    again = finished.fails()
    assert re.findall("^error:.*", again, re.M) == [message]
    assert "Open results/explorer.html" in again


def test_a_failed_run_prints_no_findings_of_the_run_before(finished):
    """The design fails while the findings and figures of the last run still exist."""
    path = finished.folder / NORMS
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("no table")
    os.utime(path, ns=times)
    finished.write_config(norms={"drop_first": 2})
    assert "Open results/explorer.html" not in finished.fails()
    assert (finished.folder / STUDY / "findings.txt").exists()


def test_vectors_too_large_for_the_disk_are_refused(finished, namespaces):
    """The file system has 64 KB and is mounted where only the run sees it."""
    activations = "results/tiny/small/attention/activations"
    # This makes the extraction run again, and no other job of the model.
    finished.write_config(extraction={"fast": "off"})
    # A job that fails loses all its outputs.
    before = finished.results("tiny/small/attention/**/*")
    for made in ("geometry", "heads"):
        del before[f"tiny/small/attention/{made}/0000.parquet"]
    # An empty folder Snakemake would remove, and cannot.
    mount = f"mount -t tmpfs -o size=64k tmpfs {activations} && touch {activations}/other"
    (line,) = re.findall("^error: .*", finished.fails(mount=mount), re.M)
    assert re.fullmatch(
        r"error: results/tiny/small/attention/activations: found 4 files of \d+ kB in all to be "
        r"written, 66 kB free; expected more room or less to write \(norms in place of .*\)",
        line,
    )
    assert finished.results("tiny/small/attention/**/*") == before


def test_a_disk_without_room_for_the_record_is_named_once(finished, namespaces):
    """The job before it has replaced files by smaller ones."""
    finished.write_config(inference={"alpha": 0.1})
    fill = "cp -a results made && mount -t tmpfs -o size=16m tmpfs results && cp -a made/. results"
    mount = f"{fill} && (cat /dev/zero > results/README.md || true) 2> /dev/null"
    printed = finished.fails(f"{STUDY}/fits.parquet", mount=mount)
    (line,) = [line for line in printed.splitlines() if "found no room left" in line]
    assert line.startswith("error: results/provenance.json")
