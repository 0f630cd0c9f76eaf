"""A run as its user sees it, and its results."""

import base64
import gzip
import json
import os
import platform
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from described import in_memory, in_words, index_of, regressions_in, undescribed
from planning import plan
from projects import (
    ROOT,
    TOGETHER,
    Project,
    assert_drawn,
    environment_of_a_user,
    ran,
    wait_for,
    without_figures,
)
from warm_python import python

import attnlag
from attnlag.claims.row import Verdict
from attnlag.errors import UserError
from attnlag.figures import catalogue
from attnlag.report.explorer import contents, documents, page
from attnlag.storage.tables import read_provenance
from attnlag.wording import CLAIMS

RECORD = "results/provenance.json"
STUDY = "results/tiny/small/attention/notebook"

TIDY = (
    "model corpus site regression subset layer term estimate std_error statistic df p_value "
    "p_adjusted conf_low conf_high level equivalence vcov_type uncorrected"
).split()


def test_the_explorer_shows_fewer_documents_rather_than_more_bytes(finished_once, monkeypatch):
    project, _ = finished_once
    regressions = regressions_in(project.folder / "results")

    def bytes_and_documents(values: int) -> tuple[int, int]:
        monkeypatch.setattr(documents, "MAX_VALUES", values)
        shown = contents.contents(regressions, in_memory(regressions), [])
        texts = json.loads(gzip.decompress(base64.b64decode(shown.blocks["tiny/small.texts"])))
        number = f"{len(texts)} of 8" if len(texts) < 8 else "all 8"
        (about,) = {
            entry["about"].partition(", with at most")[0] for entry in shown.index["studies"]
        }
        in_turn = ", taken from the 2 groups in turn" if len(texts) < 8 else ""
        assert about == f"The page holds {number} documents{in_turn}"
        return len(page.page_of(shown).encode()), len(texts)

    whole, all_documents = bytes_and_documents(10**9)
    least, one = bytes_and_documents(1)
    # One document stays, whatever it takes.
    assert (one, all_documents) == (1, 8)
    some, several = bytes_and_documents(3_000)
    assert 1 < several < 8
    assert least < some < whole


def test_the_page_tells_what_it_told_before(whole_once, write_lists):
    """In its words, in their order: numbers are marks, and lines that repeat stand once.

    The stored ones are no oracle: open the page before they are written anew.
    """
    words = in_words(index_of(whole_once[0].folder / "results/explorer.html"))
    told = "\n".join(dict.fromkeys(words)) + "\n"
    stored = Path(__file__).with_name("page.txt")
    if write_lists:
        stored.write_text(told, encoding="utf-8")
    assert told == stored.read_text(encoding="utf-8")


# Figures of several models, checkpoints or sites, and of properties of tokens: not in these runs.
DRAWN_ELSEWHERE = {
    "coefficients_by_depth",
    "coefficients_by_step",
    "norms_by_part_of_speech",
    "norms_by_surprisal",
    "sites_by_layer",
}


def test_each_figure_of_the_catalogue_is_drawn_from_a_run(finished_once, whole_once):
    folders = [project.folder / "results" for project, _ in (finished_once, whole_once)]
    drawn = [path for folder in folders for path in folder.glob("**/figures/**/*.png")]
    for path in drawn:
        assert_drawn(path)
    names = {figure.name for figure in catalogue.figures()}
    assert {path.stem for path in drawn} == names - DRAWN_ELSEWHERE


def test_a_folder_has_the_figures_of_the_chosen_sizes_and_no_others(finished):
    before = finished.results()
    finished.write_config(figures={"sizes": ["column", "page"]})
    folder = finished.folder / "results/tiny/small/attention/figures"
    (folder / "norms_by_layer.pdf").write_text("of another configuration")
    finished.run("results/tiny/small/attention/figures")
    names = ("cosines_by_distance", "norms_by_layer", "norms_by_position")
    new = {f"tiny/small/attention/figures/{name}_column.png" for name in names}
    after = finished.results()
    assert set(after) - set(before) == new
    assert not (folder / "norms_by_layer.pdf").exists()
    # The others were drawn anew, with equal bytes.
    drawn = [path for path in before if path.endswith(".png")]
    assert [path for path in drawn if before[path] != after[path]] == []


def test_the_run_prints_its_progress_and_its_findings(finished_once, subtests):
    project, printed = finished_once
    for words in (
        "tiny: GPT2LMHeadModel, 2 layers",
        "tiny, small: 303 tokens x 2 layers",
        "8 documents in 2 groups",
        "tiny, small: 1,519 characters, 303 tokens, ",
        "block input + adjustments = block output within",
        "tokens: 100%",
        "tiny · small: documents: 8, different texts: 8, tokens: 303 · attention, layers: 2",
        "Does a large adjustment follow a large one?",
        "two tokens later",
        "variance explained",
        "effects in 8 documents (303 tokens)",
        "Does one cause the next?",
    ):
        with subtests.test(words=words):
            assert words in printed
    answers = (project.folder / "results/answers.txt").read_text()
    assert answers in printed
    assert "Open results/explorer.html · everything else: findings.txt and figures/" in printed
    # Figures that were asked for besides those of every run.
    assert "results/tiny/small/attention/notebook/figures/diagnostics.png\n" in printed
    assert printed.index("variance explained") > printed.index("303 tokens x 2 layers")


def test_the_run_prints_a_line_for_each_job_with_what_is_to_come(finished_once, subtests):
    """The line states what was made, the time taken, what runs, and how long the rest takes."""
    project, printed = finished_once
    lines = [line for line in printed.replace("\r", "\n").splitlines() if line.strip()]
    for noise in ("Reason:", "rule ", "SNAKEMAKE"):
        with subtests.test(noise=noise):
            assert noise not in printed
    jobs = len(list((project.folder / "logs").rglob("*.log")))
    # The progress bar of another job may not have ended its line.
    *made, last = re.findall(r"\[\d+ of \d+\] .*", "\n".join(lines))
    assert last == f"[{jobs + 1} of {jobs + 1}] default"
    assert len(made) == jobs
    for number, line in enumerate(made, 1):
        start = rf"\[{number} of {jobs + 1}\] [a-z_]+: .* \(\d+\.\d s, [\d,.]+ [MG]B\)"
        assert re.fullmatch(rf"{start}( · now \w+( \(.*\))?)?( · about \d+ (s|min) left)?", line)
    assert sum(" · now " in line for line in made) > 3
    assert sum(" left" in line for line in made) >= jobs - 4
    # Before the first line stand the profile and the number of jobs; progress bars are between.
    timed = [line for line in lines if re.search(r" \(\d+\.\d s, [\d,.]+ [MG]B\)", line)]
    assert len(timed) == jobs
    seconds = json.loads((project.folder / ".snakemake/attnlag.seconds.json").read_text())
    assert seconds["extract_activations"] > 0


def stopped_by_ctrl_c(project: Project, seconds: float) -> tuple[int | None, str]:
    """Press Ctrl-C while the first program of a run works.

    Parameters
    ----------
    project : Project
    seconds : float
        The time after which a run that has not ended is killed.

    Returns
    -------
    int or None
        The exit status; None if the run was killed.
    str
        What the terminal shows.
    """
    terminal, printed = pty.openpty()
    run = subprocess.Popen(
        # A session of its own, with this terminal.
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "snakemake", "--cores", "2"],
        cwd=project.folder,
        env=environment_of_a_user(),
        stdin=printed,
        stdout=printed,
        stderr=printed,
        # Programs that a shell starts in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(printed)
    deadline = time.monotonic() + seconds
    text = b""
    pressed = False
    # Linux ends the reading of a terminal that nobody has open with an error.
    with suppress(OSError):
        while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            text += os.read(terminal, 4096)
            if b"prepare_corpus" in text and not pressed:
                # The first program runs: before, Python's own start may print a traceback.
                wait_for((project.folder / "logs/corpora/small.log").exists, 60, "a log")
                os.write(terminal, b"\x03")
                pressed = True
    os.close(terminal)
    try:
        return run.wait(max(1, deadline - time.monotonic())), text.decode()
    except subprocess.TimeoutExpired:
        # All processes of its session are in its group.
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(60)
        return None, text.decode()


def test_ctrl_c_ends_with_advice_on_what_to_do_next(fresh, tmp_path):
    status, text = stopped_by_ctrl_c(fresh.copy(tmp_path / "first"), 120)
    if status is None:
        # Python may raise KeyboardInterrupt after Snakemake's scheduler has taken the lock of a
        # semaphore and before the block that gives it back. Then the run never ends.
        status, text = stopped_by_ctrl_c(fresh, 120)
    assert status == 1
    assert text.rstrip().endswith("Stopped. Run the same command to go on.")
    assert "Traceback" not in text
    assert "Error" not in text


def test_a_notebook_reads_the_results_of_a_run(finished_once):
    project, _ = finished_once
    study = attnlag.read(project.folder / "results")
    assert repr(study).splitlines()[1:] == ["  tiny, small, attention, notebook"]
    table = pd.read_csv(project.folder / STUDY / "coefficients.csv")
    np.testing.assert_allclose(study.table("coefficients")["estimate"], table["estimate"])
    norms = study.norms(layer=1)
    texts = study.table("corpora").set_index("document")["text"]
    assert norms.groupby("document", sort=False)["token"].sum().to_dict() == texts.to_dict()
    stored = pq.read_table(project.folder / "results/tiny/small/attention/norms/0000.parquet")
    assert norms["norm"].tolist() == stored["layer_01"].to_pylist()
    assert (project.folder / "results/answers.txt").read_text() == study.findings
    claims = study.claims
    assert {"lag", "response"} <= set(claims["claim"]) <= set(CLAIMS)
    assert set(claims["verdict"]) <= set(Verdict)
    first = claims.query("claim == 'lag' and subject == 'lag_1'").iloc[0]
    estimates = table.query("term == 'lag_1' and subset == 'all'")["estimate"]
    assert first["value"] == pytest.approx(estimates.median())
    with pytest.raises(UserError, match="found 2, expected 0 to 1"):
        study.norms(layer=2)
    with pytest.raises(UserError, match="did you mean 'influence'"):
        study.table("influences")


def test_the_tables_of_results_are_tidy(finished_once):
    folder = finished_once[0].folder / STUDY
    coefficients = pd.read_parquet(folder / "coefficients.parquet")
    assert list(coefficients.columns) == TIDY
    assert coefficients["layer"].dtype.kind == "i"
    fits = pd.read_parquet(folder / "fits.parquet")
    assert list(fits["layer"]) == [0, 1]
    assert list(fits["status"]) == ["ok", "ok"]
    pd.testing.assert_frame_equal(
        coefficients, pd.read_csv(folder / "coefficients.csv"), check_dtype=False
    )


def test_a_run_makes_the_files_of_the_catalogue(to_plan):
    assert list(undescribed(to_plan.folder)) == []
    expected = {path for job in plan(to_plan.folder, everything=True) for path in job.made}
    made = {f"results/{path}": {os.path.dirname(f"results/{path}")} for path in to_plan.results()}
    others = [path for path, folder in made.items() if not (folder | {path}) & expected]
    assert others == ["results/provenance.json"]


def test_effects_are_those_of_the_documents_that_are_asked_for(whole_once):
    project, _ = whole_once
    effects = pd.read_parquet(project.folder / "results/tiny/small/causal/effects/0000.parquet")
    assert effects["document"].nunique() == project.config["causal"]["documents"] == 6


def test_every_parquet_file_states_what_made_it(finished_once, subtests):
    project, _ = finished_once
    source = json.loads((project.folder / "data/models/tiny/source.json").read_text())
    for path in project.folder.glob("results/**/*.parquet"):
        with subtests.test(path=path.name):
            records = [read_provenance(path)]
            if path.name == "claims.parquet":
                # Claims are of several analyses.
                records = [study["record"] for study in records[0]["studies"]]
            assert records
            for record in records:
                assert record["corpus"]["name"] == "small"
                assert record["versions"]
                if "corpora" not in path.parts:
                    assert record["model"]["digest"] == source["digest"]
    record = read_provenance(project.folder / STUDY / "coefficients.parquet")
    assert record.settings("regression")["alpha"] == 0.05


def test_no_result_says_where_or_when_it_was_made(finished_once, subtests):
    project, _ = finished_once
    told = [str(project.folder), str(ROOT), time.strftime("%Y-%m-%d"), time.strftime("%d %b %Y")]
    told += [name for name in (socket.gethostname(), platform.node()) if len(name) > 5]
    results = project.results()
    for text in told:
        with subtests.test(text=text):
            assert [name for name, content in results.items() if text.encode() in content] == []


def test_a_run_leaves_a_record_of_every_file_and_the_check_names_those_that_differ(finished):
    record = json.loads((finished.folder / RECORD).read_text())
    results = {f"results/{path}" for path in finished.results()}
    models = {file for file in record["files"] if file.startswith("data/models/tiny/")}
    assert {f"data/models/tiny/{name}" for name in ("source.json", "config.json")} <= models
    assert set(record["files"]) == (results - {RECORD}) | models
    assert {"data/small.jsonl", "mine/config.json"} <= set(record["inputs"])

    def verify(status):
        command = [python(), "-m", "attnlag.pipeline.records"]
        return ran(command, status, cwd=finished.folder, **TOGETHER).stdout.splitlines()

    count = len(record["files"]) + len(record["inputs"])
    assert verify(0) == [f"{count} files as recorded"]
    # One is replaced by an older file of the same size.
    path = finished.folder / "data/small.jsonl"
    path.write_text(path.read_text().replace("river", "brook"))
    os.utime(path, (1e9, 1e9))
    (finished.folder / "mine/config.json").unlink()
    changed, missing, _ = verify(1)
    assert changed.startswith("data/small.jsonl: its content has changed: found SHA-256 ")
    assert missing == "mine/config.json: missing"


def test_several_sites_come_from_one_extraction(finished_once, fresh, subtests):
    """Each site has its own tables and figures. Those of attention equal those of a run alone."""
    sites = ["block", "attention", "mlp"]
    fresh.write_config(extraction={"sites": sites, "keep": "vectors", "quantities": ["surprisal"]})
    printed = fresh.run(*without_figures("plot_adjustments", "plot_sites"))
    assert len(list(fresh.folder.glob("logs/tiny/small/activations/*.log"))) == 1
    assert "2 layers (attention, mlp, block)" in printed
    alone, several = finished_once[0].results("tiny/small/attention/**/*"), fresh.results()
    # What was not asked for again.
    others = "/(heads|sinks|geometry|distances)/|/all.parquet|cosines|growth"
    others += "|notebook/figures"
    alone = {path: content for path, content in alone.items() if not re.search(others, path)}
    assert [path for path in alone if several[path] != alone[path]] == []
    for site in ("mlp", "block"):
        with subtests.test(site=site):
            for path in alone:
                assert path.replace("attention", site) in several
            table = pd.read_parquet(
                fresh.folder / STUDY.replace("attention", site) / "fits.parquet"
            )
            assert set(table["site"]) == {site}
            assert f"tiny, small, {site}, notebook: fitted 2 layers" in printed
            assert f"tiny, small, {site}: drew norms_by_" in printed
    drawn = {f"tiny/small/{site}/figures/norms_by_surprisal.png" for site in sites}
    assert drawn | {"tiny/small/figures/notebook/sites_by_layer.png"} <= several.keys()
    record = read_provenance(fresh.folder / "results/tiny/small/mlp/norms/0000.parquet")
    assert record["stages"]["activations"]["site"] == "mlp"


def test_what_another_configuration_has_left_is_named_and_removed_by_name(finished):
    finished.config["regressions"] = {"other": {"lags": [1]}}
    finished.write_config(causal=None)
    left = ["results/tiny/small/attention/notebook", "results/tiny/small/causal"]
    printed = finished.run("list_unasked")
    assert "\n".join(left) in printed
    assert f"of another configuration, read by nothing: {', '.join(left)} (" in printed
    assert all((finished.folder / place).exists() for place in left)
    printed = finished.run("remove_unasked")
    assert "results/tiny/small/causal: removed" in printed
    assert not any((finished.folder / place).exists() for place in left)
    assert (finished.folder / "results/tiny/small/attention/norms/0000.parquet").exists()


def test_the_report_numbers_its_chapters_without_gaps_and_warns_of_nothing(finished, tmp_path):
    printed = finished.snakemake("--report", str(tmp_path / "report.zip"))
    assert "arning" not in printed
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("report.html")]
        page = archive.read(name).decode()
    chapters = sorted(set(re.findall(r'"([0-9] [A-Z][a-z]+)"', page)))
    names = ["Explorer", "Norms", "Coefficients", "Diagnostics", "Interventions", "Directions"]
    assert chapters == [f"{number} {name}" for number, name in enumerate(names)]
