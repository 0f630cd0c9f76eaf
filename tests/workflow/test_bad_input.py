"""Mistakes of users print their lines, as in errors.yaml, and leave nothing half-written."""

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from designs import changed
from killing import left_by
from projects import (
    SMALL,
    TOGETHER,
    Project,
    environment_of_a_user,
    new_project,
    ran,
    small_corpus,
)
from safetensors.torch import load_file, save_file

STATED = yaml.safe_load(Path(__file__).with_name("errors.yaml").read_text("utf-8"))


def equals(printed: str, stated: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, stated.split("…"))), printed) is not None


def problems(printed: str) -> list[str]:
    """Return the lines that name problems: those of jobs, or all those of the check."""
    # A line may follow the progress bar of another job.
    lines = re.findall(r"(?:^|\])(error: .*)$", printed, re.M)
    # Snakemake repeats the log of a job on the terminal and prints what it reads.
    return list(dict.fromkeys(lines)) or [
        line
        for line in printed.splitlines()
        if not line.startswith(("Using workflow specific", "Config file config/config.yaml is"))
    ]


def configured(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def with_weights(folder: Path, change: Callable[[dict], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def missing_and_of_the_wrong_shape(tensors: dict) -> None:
    del tensors["transformer.h.1.attn.c_proj.weight"]
    tensors["transformer.h.0.ln_1.weight"] = tensors["transformer.h.0.ln_1.weight"][:5].clone()


def fewer_tokens(tensors: dict) -> None:
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:300].clone()


def not_finite(tensors: dict) -> None:
    tensors["transformer.h.1.mlp.c_fc.weight"].fill_(float("nan"))


# What spoils the folder of a model, and what runs of it, by name.
MODELS = {
    "no_type": (lambda folder: configured(folder, model_type=None), "source"),
    "encoder": (lambda folder: configured(folder, model_type="bert"), "source"),
    "sizes": (lambda folder: configured(folder, n_head=5), "source"),
    "tensors": (lambda folder: with_weights(folder, missing_and_of_the_wrong_shape), "source"),
    "infinite": (lambda folder: with_weights(folder, not_finite), "norms"),
    "vocabulary": (
        lambda folder: (configured(folder, vocab_size=300), with_weights(folder, fewer_tokens)),
        "tokens",
    ),
    "tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokens"),
}
# The documents of a corpus that have one word, further settings, and what runs of it, by name.
CORPORA = {
    "groups": ((), {"tagger": {"groups": ["g-1"]}}, "properties"),
    "long": ((), {}, "tokens"),
    "words": (range(12), {}, "fits"),
    "few": (range(6, 12), {}, "fits"),
}
PATHS = {
    "source": "data/models/{}/source.json",
    "tokens": "results/{}/tokens/0000.parquet",
    "norms": "results/{}/attention/norms/0000.parquet",
    "properties": "results/{}/token_properties/0000.parquet",
    "fits": "results/{}/attention/notebook/fits.parquet",
}
TARGETS = {
    name: PATHS[kind].format(name if kind == "source" else f"{name}/small")
    for name, (_, kind) in MODELS.items()
} | {name: PATHS[kind].format(f"tiny/{name}") for name, (_, _, kind) in CORPORA.items()}


@pytest.fixture(scope="module")
def study(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a run that fails for each of these mistakes, and what it printed.

    Errors are clustered by groups: one of the first six documents, and one of each other.
    """
    project = new_project(tmp_path_factory.mktemp("mistakes") / "project", gpt2)
    for name, (spoil, _) in MODELS.items():
        shutil.copytree(gpt2, project.folder / "models" / name)
        spoil(project.folder / "models" / name)
    corpora = {}
    rows = [json.loads(line) for line in small_corpus(12).splitlines()]
    for name, (short, settings, _) in {"small": ((), {}, ""), **CORPORA}.items():
        file = f"data/{name}.jsonl"
        corpora[name] = {**SMALL, "files": [file], **settings}
        added = " and so on" * 30 if name == "long" else ""
        texts = [
            {
                "id": row["id"],
                "genre": f"g{max(0, place - 5)}",
                "text": "word" if place in short else row["text"] + added,
            }
            for place, row in enumerate(rows)
        ]
        (project.folder / file).write_text("\n".join(map(json.dumps, texts)))
    project.write_config(
        models={name: {"source": "path", "path": f"models/{name}"} for name in MODELS},
        corpora=corpora,
        tokens={"max_length": 1000},
        extraction={"keep": "norms"},
        inference={"cluster": "group"},
    )
    return project, project.fails("--keep-going", *TARGETS.values())


@pytest.mark.parametrize("name", STATED["study"])
def test_the_job_of_a_mistake_names_it_and_leaves_nothing(study, name, subtests):
    project, printed = study
    found = problems(printed)
    for stated in STATED["study"][name]:
        with subtests.test(stated=stated):
            assert [line for line in found if equals(line, stated)], f"{stated}\n{printed}"
    target = project.folder / TARGETS[name]
    assert not list(target.parent.glob(f"{target.stem}*"))


def test_each_mistake_is_named_once_and_in_the_log_of_its_job(study, subtests):
    project, printed = study
    found = problems(printed)
    assert len(found) == sum(map(len, STATED["study"].values()))
    assert "did not complete successfully" not in printed
    logs = "".join(path.read_text() for path in project.folder.glob("logs/**/*.log"))
    assert sorted(found) == sorted(problems(logs))
    assert not list(project.folder.rglob("*.tmp"))
    assert set(STATED["study"]) == set(TARGETS) - {"long"}
    # Logs also count what is no mistake: documents too short for a row or too long for the model.
    for words in (
        r": tiny, few: \d+ rows from 12 sequences \(6 too short\) \(",
        r": tiny, long: 12 documents, .* sequences \(12 documents split, 0 truncated\) \(",
    ):
        with subtests.test(words=words):
            assert re.search(words, printed)


CONFIG, STUDY = "config/config.yaml", ["--configfile", "study.yaml"]
CORPUS, MODEL = "results/corpora/small.parquet", "data/models/tiny/source.json"
SITE = "results/tiny/small/attention"


def written(name: str, content: bytes) -> Callable[[Project], object]:
    return lambda project: (project.folder / name).write_bytes(content)


def in_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Project], object]:
    """Return what changes the content of a file."""
    return lambda project: written(name, change((project.folder / name).read_bytes()))(project)


def before_its_job(command: str) -> Callable[[Project], object]:
    """Have a command of bash run once the run has begun, before the job that reads the corpus."""
    # The shell of each job runs this first.
    text = f'case "$BASH_EXECUTION_STRING" in *prepare_corpus*)\n{command};;\nesac\n'
    return written("first.sh", text.encode())


def several_mistakes(content: bytes) -> bytes:
    lines = content.splitlines()
    lines[1] = b'{"id": "doc-0", "genre": "odd", "text": "twice the same id"}'
    lines[2] = b'{"id": "doc-2", "genre": "odd", "txt": "words"}'
    lines[4] = b"{"
    return b"\n".join(lines) + b"\n"


def mistakes_in_corpora(project: Project) -> None:
    rows = map(json.loads, (project.folder / "data/small.jsonl").read_text().splitlines())
    pq.write_table(pa.Table.from_pylist(list(rows)), project.folder / "data/rows.parquet")
    in_file("data/small.jsonl", several_mistakes)(project)
    (project.folder / "data/memory.jsonl").symlink_to("/proc/self/mem")
    tagger = {"tagger": {"column": "tags"}}
    project.write_config(
        corpora={
            "memory": {**SMALL, "files": ["data/memory.jsonl"]},
            "rows": {**SMALL, "files": ["data/rows.parquet"], **tagger},
        }
    )


class Mistake(NamedTuple):
    """What spoils a project, and how it is run."""

    spoil: Callable[[Project], object] = str  # nothing
    arguments: Sequence[str] = ()
    environment: dict[str, str] | None = None
    mount: str = ""  # what only the run sees
    of: str = "fresh"


FIRST = {"BASH_ENV": "first.sh"}
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "cache"}
NO_HUB |= {"NO_PROXY": "127.0.0.1,localhost"}
HUB = {"source": "hub", "repository": "a/b", "revision": "main"}
RUNS = {
    "no YAML": Mistake(in_file(CONFIG, lambda text: text + b"norms: {drop_first: 1\nfigures: {}")),
    "no YAML in a file of `--configfile`": Mistake(
        written("study.yaml", b"norms:\n\tdrop_first: 1\n"), ["-n", *STUDY]
    ),
    "several problems of a configuration": Mistake(
        lambda project: project.write_config(
            corpora={"small": {"files": ["data/smal.jsonl"]}},
            regressions={"a/b": {"lags": [0]}, "comparison": {"lags": [1]}},
            figrues={"formats": ["png"]},
        )
    ),
    "a bad value of `--config`": Mistake(arguments=["--config", "inference={alpha: 3}"]),
    "a configuration that is missing": Mistake(lambda project: (project.folder / CONFIG).unlink()),
    "several problems of corpora": Mistake(mistakes_in_corpora),
    "a file without the right to read it": Mistake(
        lambda project: (project.folder / "data/small.jsonl").chmod(0),
        mount='set -- setpriv --bounding-set -dac_override,-dac_read_search "$@"',
    ),
    "a file that is removed before its job reads it": Mistake(
        before_its_job("rm -f data/small.jsonl"), [CORPUS], FIRST
    ),
    "a hub that is out of reach": Mistake(
        lambda project: project.write_config(models={"tiny": HUB}), [MODEL], NO_HUB
    ),
    "a disk that is full while weights are saved": Mistake(
        arguments=[MODEL],
        mount="mkdir data/models && mount -t tmpfs -o size=1m tmpfs data/models",
    ),
    "results that may only be read": Mistake(
        arguments=[CORPUS],
        mount="mkdir results && mount --bind results results && mount -o remount,bind,ro results",
    ),
    "a design that is damaged within": Mistake(
        in_file(
            f"{SITE}/notebook/design/0000.parquet",
            lambda content: content[:9] + bytes(2000) + content[2009:],
        ),
        [f"{SITE}/notebook/fits.parquet"],
        of="finished",
    ),
}


@pytest.mark.parametrize("mistake", {**RUNS, **STATED["runs"]})
def test_a_mistake_prints_its_lines_and_leaves_nothing(mistake, request):
    spoil, arguments, environment, mount, of = RUNS[mistake]
    project = request.getfixturevalue(of)
    if mount:
        request.getfixturevalue("namespaces")
    spoil(project)
    before = left_by(project)
    printed = project.fails(*arguments, environment=environment, mount=mount)
    assert "did not complete successfully" not in printed
    found, stated = problems(printed), STATED["runs"][mistake]
    assert list(map(equals, found, stated)) == [True] * max(len(found), len(stated)), printed
    # The output of the failed job is gone; all else is as it was, but for the record of the run.
    after = left_by(project).items()
    changed = {path for path, content in after if before.get(path) != content}
    files = {path for path in changed if (project.folder / path).is_file()}
    assert files <= {"results/provenance.json"}


def test_a_byte_order_mark_and_a_file_that_grows_before_it_is_read_are_no_mistakes(fresh):
    in_file(CONFIG, lambda text: b"\xef\xbb\xbf" + text)(fresh)
    before_its_job("sed -n 's/doc-0/one more/p' data/small.jsonl >> data/small.jsonl")(fresh)
    assert "small: 9 documents in 2 groups, " in fresh.run(CORPUS, environment=FIRST)


# What study.yaml holds, if it is there, the arguments of snakemake, and the line that is printed.
COMMAND_LINES = {
    "a missing file": (None, STUDY, "study.yaml: no such file"),
    "a file in another encoding": (
        b"a: caf\xe9\n",
        STUDY,
        "study.yaml:1: found byte 0xe9 at offset 6, expected UTF-8",
    ),
    "a key without a value": (
        None,
        ["--config", "norms"],
        "error: --config: Config entries have to be defined as name=value pairs. "
        "(Unparsable value: 'norms')",
    ),
    "a key of a section": (
        None,
        ["--config", "inference.alpha=0.1"],
        "error: --config: Config entry must start with a valid identifier.",
    ),
}


@pytest.mark.parametrize("mistake", COMMAND_LINES)
def test_a_mistake_in_the_command_line_is_one_line(mistake: str, fresh: Project):
    content, arguments, line = COMMAND_LINES[mistake]
    if content is not None:
        (fresh.folder / "study.yaml").write_bytes(content)
    profile, *printed = fresh.snakemake("-n", *arguments, status=1).splitlines()
    assert profile.startswith("Using workflow specific profile")
    assert printed == [line]
    assert not (fresh.folder / "results").exists()


STUDY, NORMS = f"{SITE}/notebook", f"{SITE}/norms/0000.parquet"


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
    dropped = "4 rows dropped for zero or non-finite values"
    reason = "the outcome is constant"
    told = (
        f"layers that were not fitted: 1 ({reason}; rows dropped in each for zero or non-finite "
        "values: 4)"
    )
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
    finished.write_config(extraction={"fast": False})
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


PROFILE = "Using workflow specific profile"


def lines_of(printed):
    return [line for line in printed.splitlines() if not line.startswith(PROFILE)]


@pytest.mark.parametrize(
    ("kilobytes", "said"),
    [
        (1, "error: Snakemake cannot write a file of its own: File too large"),
        (100, "error: found a limit of 102 kB for files (ulimit -f), expected at least 1 MB"),
    ],
)
def test_a_limit_of_the_size_of_files_is_a_line(fresh, kilobytes, said):
    command = f"ulimit -f {kilobytes}; exec {sys.executable} -m snakemake -n"
    options = {"cwd": fresh.folder, "env": environment_of_a_user()}
    printed = ran(["bash", "-c", command], status=1, **options, **TOGETHER).stdout
    assert lines_of(printed) == [said]


def test_a_record_of_snakemake_that_cannot_be_written_is_a_line(fresh, namespaces):
    (fresh.folder / ".snakemake").mkdir(exist_ok=True)
    mount = "mount --bind .snakemake .snakemake && mount -o remount,ro,bind .snakemake"
    said = "error: .snakemake: found Read-only file system, expected a folder that can be written"
    assert lines_of(fresh.fails("-n", mount=mount)) == [said]


def test_braces_in_the_folder_of_attnlag_are_a_line(fresh):
    moved = fresh.folder.with_name("a {brace}")
    fresh.folder.rename(moved)
    fresh.folder = moved
    (line,) = lines_of(fresh.fails("-n"))
    assert line == f"error: {moved}: found braces in the folder of attnlag, expected another name"


def test_a_run_ends_in_an_encoding_without_its_characters(finished):
    printed = finished.run("list_unasked", environment={"PYTHONIOENCODING": "ascii"})
    assert r"10% larger \u2192" in printed
