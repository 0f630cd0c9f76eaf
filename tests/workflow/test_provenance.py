"""The record of what made every file, and its check."""

import json
import socket
import subprocess
import sys

STUDY = "results/tiny/small/attention/notebook"
RECORD = "results/provenance.json"


def verify(project):
    """Return the status of the check, its lines by file, and its last line."""
    result = subprocess.run(
        [sys.executable, "scripts/verify_results.py"],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    *lines, last = result.stdout.splitlines()
    return result.returncode, dict(line.split(": ", 1) for line in lines), last


def append(project, path, text="\n"):
    with (project.folder / path).open("a") as file:
        file.write(text)


def test_a_run_leaves_a_record_of_every_file(finished):
    record = json.loads((finished.folder / RECORD).read_text())
    made = {file for job in record["jobs"] for file in job["outputs"]}
    results = {f"results/{path}" for path in finished.results() if ".snakemake" not in path}
    models = {"data/models/tiny/source.json", "data/models/tiny/architecture.txt"}
    assert made == (results - {RECORD}) | models
    source = json.loads((finished.folder / "data/models/tiny/source.json").read_text())
    assert record["models"] == {"tiny": {"revision": None, "digest": source["digest"]}}
    (job,) = [job for job in record["jobs"] if job["rule"] == "fit_regression"]
    assert job["settings"]["settings"]["inference"]["alpha"] == 0.05
    assert job["wildcards"]["regression"] == "notebook"
    assert f"{STUDY}/design/0000.parquet" in job["inputs"]
    assert f"{STUDY}/summary/layer_01.txt" in job["outputs"]
    assert "torch" in record["environments"][job["environment"]]
    text = json.dumps(record)
    assert str(finished.folder.parent) not in text
    assert socket.gethostname() not in text
    assert verify(finished) == (0, {}, f"{len(made)} files as recorded")


def test_what_is_not_as_recorded_has_its_line(finished):
    """Then a rerun mends what the workflow has made."""
    note = finished.folder / "results/note.txt"
    model = finished.folder / "data/models/tiny/config.json"
    note.write_text("mine")
    append(finished, "data/models/tiny/config.json", " ")
    append(finished, f"{STUDY}/summary/layer_00.txt")
    append(finished, f"{STUDY}/fits.csv")
    (finished.folder / STUDY / "findings.txt").unlink()
    append(finished, "data/small.jsonl", '{"id": "new", "genre": "odd", "text": "more of it"}\n')
    append(finished, "scripts/plot_norms.py", "\n# a comment\n")
    finished.write_config(inference={"alpha": 0.1}, regressions={"far": {"lags": [5]}})
    status, lines, last = verify(finished)
    assert status == 1
    far = {path for path in lines if "/far/" in path or "specifications" in path}
    assert f"{STUDY.replace('notebook', 'far')}/coefficients.csv" in far
    assert {lines.pop(path) for path in far} == {"not made yet"}
    changed = "its content has changed: found SHA-256 "
    settings = "its settings differ: inference.alpha: made with 0.05, the configuration says 0.1"
    assert lines.pop("results/note.txt") == "not in the record"
    assert lines.pop("data/models/tiny/config.json").startswith(changed)
    assert lines.pop("results/corpora/small.parquet") == "made from another data/small.jsonl"
    assert lines.pop(f"{STUDY}/findings.txt") == f"missing; {settings}"
    for file in ("fits.csv", "summary/layer_00.txt"):
        line = lines.pop(f"{STUDY}/{file}")
        assert line.startswith(changed)
        assert line.endswith(settings)
    figure = "results/tiny/small/attention/figures/norms_by_layer.png"
    assert lines.pop(figure).startswith("its code differs: scripts/plot_norms.py or a module")
    check = lines.pop("results/layers_fitted.txt")
    assert "made from another" in check or "made without" in check
    # What else depends on alpha.
    assert f"{STUDY}/coefficients.csv" in lines
    for line in lines.values():
        assert line.startswith("its settings differ: ")
        assert line.endswith("alpha: made with 0.05, the configuration says 0.1")
    assert last.split(" not as recorded")[0].endswith("files")

    note.unlink()
    model.write_text(model.read_text()[:-1])
    finished.run()
    assert verify(finished)[:2] == (0, {})


def test_a_hand_made_change_does_not_get_on_record(finished):
    """Not with a run that has other work to do; a run that makes the file anew mends it."""
    before = (finished.folder / RECORD).read_bytes()
    append(finished, f"{STUDY}/coefficients.csv")
    finished.run("--forcerun", "check_fits")
    assert (finished.folder / RECORD).read_bytes() == before
    assert set(verify(finished)[1]) == {f"{STUDY}/coefficients.csv"}
    # As if the run were killed before it could record anything, or its record were lost.
    finished.run("--forcerun", "fit_regression", "--no-hooks")
    (finished.folder / RECORD).unlink()
    finished.run("--forcerun", "check_fits")
    assert (finished.folder / RECORD).read_bytes() == before
