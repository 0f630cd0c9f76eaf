"""The text of a job: what its rule hands on is what its program reads; and how programs end."""

import importlib
import json
import marshal
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from projects import ROOT, command_of, command_of_code, environment_of_a_user, ran, refused
from warm_python import python

from attnlag.config.schema import Config
from attnlag.pipeline import job, needs, program, stages
from attnlag.regression.settings import GeometrySettings
from attnlag.section import Section

SETTINGS = json.dumps({"alpha": 0.1, "drop_first": 2})


def test_a_job_has_no_markup_and_names_settings_and_options():
    names = {"corpus": "</script><script>alert(1)</script>", "site": "ü"}
    given = {"norms": ["x/0000.parquet"], "none": []}
    text = job.text_of("s", given, {"table": "a.parquet"}, names, SETTINGS, {"device": "cpu"})
    assert "<" not in text
    assert text.isascii()
    read = job.read(text, GeometrySettings)
    assert (read.stage, read.output.table) == ("s", Path("a.parquet"))
    assert (read.input.norms, read.input.none) == ([Path("x/0000.parquet")], [])
    assert vars(read.names) == names
    assert read.settings == GeometrySettings(alpha=0.1, drop_first=2)
    assert read.options.device == "cpu"


def test_a_long_job_goes_through_a_file(tmp_path, monkeypatch):
    """All tables of 20 models, 5 corpora, 5 regressions and 3 sites, as the last job has them."""
    monkeypatch.chdir(tmp_path)
    fits = [f"results/model-{n:02d}/corpus-name/attention/within/fits.parquet" for n in range(1500)]
    text = job.text_of("check_fits", {"fits": fits}, {}, {})
    given = job.argument(text)
    assert len(text) > job.MAX_CHARACTERS > 100 > len(given)
    assert job.argument(text) == given
    assert job.read(given, None).input.fits == list(map(Path, fits))
    assert job.argument("{}") == "{}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.json", "--job: found no JSON and no file with it"),
        ("{", "--job: found no JSON and no file with it"),
        ("{}", "job: found no 'input', expected stage, input, output, names, settings, options"),
        (job.text_of("s", {}, {}, {}, '{"alpha": 7}'), "job: settings: found 7 at 'alpha'"),
    ],
)
def test_what_is_no_job_is_refused_in_a_line(given, message):
    (line,) = refused(job.read, given, GeometrySettings)
    assert line.startswith(message)


def test_a_program_without_a_job_says_what_it_needs():
    """Its rule, the names in it, its files and its settings."""
    command = [python(), ROOT / "scripts/run.py", "fit_regression"]
    printed = ran(command).stdout
    assert printed.startswith("Fit one regression in every layer")
    rules = (ROOT / "workflow/rules/regression.smk").read_text(encoding="utf-8")
    rule = rules[rules.index("use rule program as fit_regression") :]
    # Resources and parameters are alike in all rules.
    files, _, _ = rule.partition("\n    log:\n")
    assert f"\n\n{files}\nnames: model, corpus, site, regression\nwhat it reads, " in printed
    lines = printed.splitlines()
    assert "  crossproducts: moments, the sums that least squares needs" in lines
    assert "  fits: goodness of fit, residual tests and status" in lines
    assert "  alpha: Significance level; intervals cover 1 - alpha" in lines


def test_a_job_that_is_misspelt_is_refused_with_what_its_program_needs():
    command = [python(), ROOT / "scripts/run.py", "compute_norms", "--jobs", "{}"]
    printed = ran(command, status=1).stderr
    assert printed.startswith(f"usage: {command[1]} compute_norms --job JSON|FILE\n")
    assert "\n  norms: norms of the adjustments\n" in printed


def test_what_a_program_reads_and_writes_by_one_name_is_told_apart(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    lines = needs.described(importlib.import_module("summarize_heads")).splitlines()
    place = lines.index("what it writes, likewise:")
    assert "  heads: norms of what each attention head adds" in lines[:place]
    assert "  heads: what heads write and attend to" in lines[place:]


PROGRAMS = sorted({path.stem for path in (ROOT / "scripts").glob("*.py")} - {"run"})


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_printed_with_its_rule(name, monkeypatch):
    """All rules of figures name draw_figures."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    printed = needs.described(importlib.import_module(name))
    if name == "draw_figures":
        assert "rule: those that name it in `job_params`" in printed.splitlines()
    else:
        assert f"\n\nuse rule program as {name} with:\n    " in printed
        assert len(re.findall("^names: ", printed, re.M)) == 1


def _has_class(settings):
    """Whether a function returns a section, not a plain dictionary."""
    kind = get_type_hints(settings)["return"]
    return isinstance(kind, type) and issubclass(kind, Section)


STAGES_WITH_CLASSES = [
    stage for stage, entry in stages.STAGES.items() if entry.settings and _has_class(entry.settings)
]


@pytest.mark.parametrize("stage", STAGES_WITH_CLASSES)
def test_every_setting_of_a_program_is_printed_with_its_meaning(stage, monkeypatch):
    """Those of nested settings too."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    printed = needs.described(importlib.import_module(stage))
    _, _, lines = printed.partition("\nsettings:\n")
    names = {line.strip().partition(":")[0] for line in lines.splitlines()}
    described = [line for line in lines.splitlines() if re.fullmatch(r" +\w+: [^\[\]]*\S.*", line)]
    assert lines.splitlines() == described
    kind = get_type_hints(stages.STAGES[stage].settings)["return"]
    assert set(kind.model_fields) <= names
    if "design" in names:
        assert {"lags", "covariates", "drop_first"} <= names


def test_the_log_of_a_failed_job_ends_with_a_command_that_repeats_it(tmp_path):
    (tmp_path / "it's").mkdir()
    given, made = {"files": ["it's/x.jsonl"], "source": []}, {"corpus": "made.parquet"}
    settings = '{"id": "id", "text": "text", "group": null, "split": "none"}'
    command = command_of(
        "prepare_corpus", given, made, settings, {"corpus": "x"}, clusters_needed=0
    )
    ran([*command, "--log", "log.txt"], status=1, cwd=tmp_path)
    again = (tmp_path / "log.txt").read_text().splitlines()[-1].removeprefix("to run it again: ")
    (tmp_path / "it's/x.jsonl").write_text('{"id": "a", "text": "words"}\n')
    ran(["sh", "-c", again], cwd=tmp_path)
    assert (tmp_path / "made.parquet").exists()


# Each limit is reached where a library is loaded. Where it is reached while Python itself handles
# an exception, CPython 3.11 may go round in circles.
@pytest.mark.parametrize("megabytes", [400, 700])
def test_imports_that_lack_memory_end_in_a_line(megabytes):
    """The program is not called yet, so its job does not matter."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    program = [sys.executable, ROOT / "scripts/run.py", "extract_activations"]
    command = [*program, "--job", "{}", "--memory", "2500"]
    result = ran(command, status=1, preexec_fn=limit)
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("OpenBLAS")]
    assert line.startswith("error: extract_activations ran out of memory with ")
    assert "it asked for mem_mb: 2500; give it more" in line


def test_advice_on_memory_is_for_programs_with_a_model_and_names_settings(subtests):
    of_models = r"load_decoder|untrained_decoders|decoder_for_shard|fetch_model|fetch_revision"
    running = set()
    for path in (ROOT / "scripts").glob("*.py"):
        if re.search(of_models, f"{path.stem} {path.read_text(encoding='utf-8')}"):
            running.add(path.stem)
    assert set(program.LESS_MEMORY) == running
    for stage, advice in program.LESS_MEMORY.items():
        for section, key in re.findall(r"(\w+)\.(\w+)", advice):
            with subtests.test(stage=stage, key=key):
                assert key in Config.model_fields[section].default.model_dump()


def test_no_compiled_module_is_cut_off(tmp_path):
    """No file may have more than 4 kB, as if the disk were full; Python reports no error."""
    environment = {**environment_of_a_user(), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    # Python's own modules are compiled long before.
    modules = {"unlimited": "resource, shutil, typing", "4": "attnlag.pipeline.program"}
    for limit, names in modules.items():
        command = f"ulimit -f {limit}; {sys.executable} -c 'import {names}'"
        ran(["bash", "-c", command], cwd=ROOT / "scripts", env=environment)
    for path in tmp_path.rglob("*.pyc"):
        marshal.loads(path.read_bytes()[16:])


@pytest.mark.parametrize("code", ["def main(job): {}", "{}"], ids=["of main", "of an import"])
def test_a_traceback_keeps_its_lines(code, tmp_path):
    """Control characters in it are escaped."""
    command = command_of_code(code.format(r"raise RuntimeError('\x1b[2J')"), tmp_path)
    lines = ran(command, status=1).stderr.splitlines()
    assert lines[0] == "coded.py failed"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == r"RuntimeError: \x1b[2J"


def test_the_memory_of_a_program_is_not_that_of_what_started_it():
    printed = "from attnlag.pipeline import program; print(program._peak())"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {printed!r}])"
    done = ran([sys.executable, "-c", f"large = bytearray(500_000_000); {starts}"])
    assert 1e7 < int(done.stdout) < 4e8


def test_ctrl_c_while_a_program_starts_prints_no_traceback(tmp_path):
    program = subprocess.Popen(
        # Names each module on standard error as soon as it is imported.
        [sys.executable, "-X", "importtime", ROOT / "scripts/run.py", "fit_regression"],
        cwd=tmp_path,
        env=environment_of_a_user(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert program.stderr is not None
    for line in program.stderr:
        if line.rstrip().endswith("attnlag.errors"):
            program.send_signal(signal.SIGINT)
            break
    assert "Traceback" not in program.stderr.read()
    assert program.wait(60) == 130


def test_damaged_inputs_are_named_whether_a_rule_has_one_or_a_list(tmp_path):
    for name in ("one", "first", "second"):
        (tmp_path / f"{name}.parquet").write_bytes(b"damaged")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "whole.parquet")
    inputs = SimpleNamespace(
        one=tmp_path / "one.parquet",
        several=[tmp_path / "first.parquet", tmp_path / "second.parquet"],
        other=tmp_path / "text.txt",
    )
    named = [line.partition(":")[0] for line in program._damaged_inputs(inputs)]
    assert named == [str(tmp_path / f"{name}.parquet") for name in ("one", "first", "second")]
