"""Mistakes of users print the lines of tests/workflow/errors.yaml, and leave nothing half-written.

The programs of jobs run in the process of the test; rows of each kind are tried through the real
command line, which hands on what they print.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from programs import Ended, arguments_of, checked, run_program, within
from projects import ROOT, Project
from safetensors.torch import load_file, save_file

CORPUS = "results/corpora/small.parquet"
TOKENS = "results/tiny/small/tokens/0000.parquet"


class Run(NamedTuple):
    """Further arguments of snakemake, its environment, and a mount that it alone sees."""

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] | None = None
    mount: str = ""


# --- what spoils a project ------------------------------------------------------------------


def in_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Project], object]:
    """Return what changes the content of a file."""

    def spoil(project: Project) -> None:
        path = project.folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def in_rows(change: Callable[[list[dict[str, str]]], object]) -> Callable[[Project], object]:
    """Return what changes the rows of the corpus."""

    def changed(content: bytes) -> bytes:
        rows = [json.loads(line) for line in content.splitlines()]
        change(rows)
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    return in_file("data/small.jsonl", changed)


def of_model(**changes) -> Callable[[Project], object]:
    """Return what changes the configuration of the model."""
    return in_file(
        "mine/config.json", lambda content: json.dumps({**json.loads(content), **changes}).encode()
    )


def of_corpus(**changes) -> Callable[[Project], object]:
    def spoil(project: Project) -> None:
        project.write_config(corpora={"small": {**project.config["corpora"]["small"], **changes}})

    return spoil


def with_config(**sections) -> Callable[[Project], object]:
    return lambda project: project.write_config(**sections)


def in_weights(change: Callable[[dict], object]) -> Callable[[Project], object]:
    def spoil(project: Project) -> None:
        path = project.folder / "mine/model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return spoil


def several_mistakes(content: bytes) -> bytes:
    lines = content.splitlines()
    lines[1] = b'{"id": "doc-0", "genre": "odd", "text": "twice the same id"}'
    lines[2] = b'{"id": "doc-2", "genre": "odd", "txt": "words"}'
    lines[4] = b"{"
    return b"\n".join(lines) + b"\n"


def not_given_by_the_disk(project: Project) -> None:
    (project.folder / "data/small.jsonl").unlink()
    (project.folder / "data/small.jsonl").symlink_to("/proc/self/mem")


def before_its_job(command: str) -> Callable[[Project], object]:
    """Have a command of bash run once the run has begun, before the job that reads the corpus."""

    def spoil(project: Project) -> None:
        in_rows(lambda rows: rows[0].update(text="some other words"))(project)
        # The shell of each job runs this first.
        (project.folder / "first.sh").write_text(
            f'case "$BASH_EXECUTION_STRING" in *prepare_corpus*)\n{command};;\nesac\n'
        )

    return spoil


def without_tags(project: Project) -> None:
    lines = (project.folder / "data/small.jsonl").read_text().splitlines()
    table = pa.Table.from_pylist(list(map(json.loads, lines)))
    pq.write_table(table, project.folder / "data/small.parquet")
    of_corpus(files=["data/small.parquet"], tagger={"column": "tags"})(project)


def with_tags_of_another_name(project: Project) -> None:
    (project.folder / "data/tags.csv").write_text("document,word,tags\ndoc-0,the,DET\n")
    of_corpus(tagger={"file": "data/tags.csv"})(project)


def missing_and_of_the_wrong_shape(tensors: dict) -> None:
    del tensors["transformer.h.1.attn.c_proj.weight"]
    tensors["transformer.h.0.ln_1.weight"] = tensors["transformer.h.0.ln_1.weight"][:5].clone()


def fewer_embeddings(tensors: dict) -> None:
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:300].clone()


def fewer_tokens(project: Project) -> None:
    of_model(vocab_size=300)(project)
    in_weights(fewer_embeddings)(project)


def longer_texts(project: Project) -> None:
    in_rows(lambda rows: [row.update(text=row["text"] + " and so on" * 30) for row in rows])(
        project
    )
    project.write_config(tokens={"max_length": 1000})


FETCH = ("fetch_model",)
TOKENIZE = ("fetch_model", "prepare_corpus", "tokenize_corpus")
EXTRACT = ("fetch_model", "tokenize_corpus", "extract_activations")
DESIGN = (*TOKENIZE[1:], "extract_activations", "compute_norms", "build_design")
FIT = ("build_design", "fit_regression")
NO_RIGHTS = 'set -- setpriv --bounding-set -dac_override,-dac_read_search "$@"'
FIRST = {"BASH_ENV": "first.sh"}
NOWHERE = {
    **{"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "cache"},
    "NO_PROXY": "127.0.0.1,localhost",
}

# What spoils a finished project, and what runs then: snakemake, or programs of stages in turn. If
# one fails, it is the last.
CASES: dict[str, tuple[Callable[[Project], object], Run | tuple[str, ...]]] = {
    "no YAML": (
        in_file("config/config.yaml", lambda text: text + b"norms: {drop_first: 1\ninference: {}"),
        Run(),
    ),
    "a byte-order mark": (
        in_file("config/config.yaml", lambda text: b"\xef\xbb\xbf" + text),
        Run(("-n",)),
    ),
    "several problems": (
        with_config(
            corpora={"small": {"files": ["data/smal.jsonl"]}},
            regressions={"a/b": {"lags": [0]}},
            figrues={"formats": ["png"]},
        ),
        Run(),
    ),
    "a bad value of `--config`": (with_config(), Run(("--config", "inference={alpha: 3}"))),
    "a configuration that is missing": (
        lambda project: (project.folder / "config/config.yaml").unlink(),
        Run(),
    ),
    "a file without the right to read it": (
        lambda project: (project.folder / "data/small.jsonl").chmod(0),
        Run((CORPUS,), mount=NO_RIGHTS),
    ),
    "a file that the disk does not give": (not_given_by_the_disk, ("prepare_corpus",)),
    "a file that is removed before its job reads it": (
        before_its_job("rm -f data/small.jsonl"),
        Run((CORPUS,), FIRST),
    ),
    "a file that is changed before its job reads it": (
        before_its_job("sed -n 's/doc-0/one more/p' data/small.jsonl >> data/small.jsonl"),
        Run((CORPUS,), FIRST),
    ),
    "several problems of a corpus": (in_file("data/small.jsonl", several_mistakes), Run((CORPUS,))),
    "tags in a column that is missing": (without_tags, ("prepare_corpus",)),
    "a file of tags without the column": (with_tags_of_another_name, ("describe_tokens",)),
    "a tagger for a group that the corpus lacks": (
        of_corpus(tagger={"groups": ["evn"]}),
        ("describe_tokens",),
    ),
    "a document of one token": (in_rows(lambda rows: rows[7].update(text="word")), DESIGN),
    "no document that is long enough": (
        in_rows(lambda rows: [row.update(text="word") for row in rows]),
        (*DESIGN, *FIT[1:]),
    ),
    "a config.json without a type": (of_model(model_type=None), FETCH),
    "an encoder": (of_model(model_type="bert"), FETCH),
    "sizes that do not go together": (of_model(n_head=5), FETCH),
    "a tensor that is missing, another of the wrong shape": (
        in_weights(missing_and_of_the_wrong_shape),
        FETCH,
    ),
    "weights that are not finite": (
        in_weights(lambda tensors: tensors["transformer.h.1.mlp.c_fc.weight"].fill_(float("nan"))),
        EXTRACT,
    ),
    "a hub that is out of reach": (
        with_config(models={"tiny": {"source": "hub", "repository": "a/b", "revision": "main"}}),
        Run(("data/models/tiny/source.json",), NOWHERE),
    ),
    "a tokenizer that knows more tokens than the model": (fewer_tokens, TOKENIZE),
    "a tokenizer that cannot be read": (
        in_file("mine/tokenizer.json", lambda content: b"{}"),
        TOKENIZE,
    ),
    "sequences longer than the model has positions for": (longer_texts, TOKENIZE),
    "a disk that is full while weights are saved": (
        with_config(models={"copy": {"source": "path", "path": "mine"}}),
        Run(
            ("data/models/copy/source.json",),
            mount="mount -t tmpfs -o size=8m tmpfs data/models",
        ),
    ),
    "results that may only be read": (
        # What is there, and protected, Snakemake itself refuses to make anew.
        lambda project: (project.folder / TOKENS).unlink(),
        Run((TOKENS,), mount="mount --bind results results && mount -o remount,bind,ro results"),
    ),
    "errors clustered by fewer than six groups": (with_config(inference={"cluster": "group"}), FIT),
    "a design that is damaged within": (
        in_file(
            "results/tiny/small/attention/notebook/design/0000.parquet",
            lambda content: content[:9] + bytes(2000) + content[2009:],
        ),
        ("fit_regression",),
    ),
}


# --- what is printed ------------------------------------------------------------------------


# The exit status and the printed lines, in which … stands for any text, by mistake.
DOCUMENTED: dict[str, tuple[int, list[str]]] = {
    mistake: (status, lines)
    for status, mistakes in yaml.safe_load(
        Path(__file__).with_name("errors.yaml").read_text("utf-8")
    ).items()
    for mistake, lines in mistakes.items()
}


def files(project: Project) -> dict[str, bytes]:
    """Return all results and models by path, hidden and temporary files included."""
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for folder in ("results", "data/models")
        for path in sorted((project.folder / folder).rglob("*"))
        if path.is_file()
    }


def printed_problems(printed: str) -> list[str]:
    """Return the lines that name problems: those of a job, or all those of the check."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    # Snakemake repeats the log of a job on the terminal and prints what it reads.
    return list(dict.fromkeys(lines)) or [
        line
        for line in printed.splitlines()
        if not line.startswith(("Using workflow specific", "Config file config/config.yaml is"))
    ]


def run_stages(
    stages: tuple[str, ...], project: Project, commands: dict[str, list[str]]
) -> tuple[Ended, tuple[str, ...]]:
    """Run programs in turn until one fails; return also the folders that they have written to."""
    config, problems = checked(project)
    assert not problems
    printed, written = "", ()
    for stage in stages:
        with within(project.folder):
            arguments = arguments_of(stage, config, commands[stage])
        ended = run_program(project.folder, *arguments)
        printed += ended.printed
        if ended.status:
            # The lines that a user finds in the log.
            log = project.folder / arguments[arguments.index("--log") + 1]
            assert printed_problems(log.read_text()) == printed_problems(ended.printed)
            break
        outputs = json.dumps(json.loads(arguments[2])["output"])
        written += tuple(re.findall(r'"((?:results|data)/[^"]*/)', outputs))
    assert stage == stages[-1], printed
    return Ended(ended.status, printed), written


def test_each_row_has_a_case():
    assert sorted(DOCUMENTED) == sorted(CASES)


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_prints_the_documented_lines(mistake: str, request: pytest.FixtureRequest):
    status, lines = DOCUMENTED[mistake]
    spoil, run = CASES[mistake]
    whole = isinstance(run, Run)
    project: Project = request.getfixturevalue("finished" if whole else "results_and_inputs")
    spoil(project)
    before = files(project)
    if isinstance(run, Run):
        arguments, environment, mount = run
        if mount:
            request.getfixturevalue("namespaces")
        result = project.snakemake("--cores", "2", *arguments, environment=environment, mount=mount)
        (ended_status, printed), written = (result.returncode, result.stdout), ()
    else:
        commands = request.getfixturevalue("commands")
        (ended_status, printed), written = run_stages(run, project, commands)
    assert "Traceback" not in printed, printed
    # What Snakemake would say again of jobs that failed.
    assert "did not complete successfully" not in printed
    assert ended_status == status, printed
    after = files(project)
    assert not [path for path in after if path.endswith(".tmp")]
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in lines]
    if not status:
        for pattern in patterns:
            assert re.search(f"^{pattern}$", printed, re.M), printed
        return
    problems = printed_problems(printed)
    assert len(problems) == len(lines), printed
    for problem, pattern, line in zip(problems, patterns, lines, strict=True):
        assert re.fullmatch(pattern, problem), f"printed: {problem}\nstated:  {line}"
    # The output of the failed job is gone; all else is as it was, but for the record of the run.
    changed = {path for path in after if before.get(path) != after[path]}
    changed -= {"results/provenance.json"}
    assert not [path for path in changed if not path.startswith(written)]


# --- what snakemake itself prints -----------------------------------------------------------

STUDY = ["--configfile", "study.yaml"]

# What study.yaml holds, if it is there, and the arguments of snakemake.
SNAKEMAKES_OWN = {
    "a file of `--configfile` that is missing": (None, STUDY),
    "a file of `--configfile` that is not UTF-8": (b"a: caf\xe9\n", STUDY),
    "`--config norms`, without a value": (None, ["--config", "norms"]),
    "`--config inference.alpha=0.1`, in place of `--config inference='{alpha: 0.1}'`": (
        None,
        ["--config", "inference.alpha=0.1"],
    ),
}


@pytest.mark.parametrize("mistake", SNAKEMAKES_OWN)
def test_the_documented_lines_are_those_that_snakemake_prints_itself(mistake: str, fresh: Project):
    content, arguments = SNAKEMAKES_OWN[mistake]
    if content is not None:
        (fresh.folder / "study.yaml").write_bytes(content)
    page = ROOT / "docs/errors.md"
    (row,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {mistake} |")]
    assert row.split("`")[-2] in fresh.snakemake("-n", *arguments).stdout
    assert not (fresh.folder / "results").exists()


def test_a_file_of_configfile_that_is_no_yaml_is_named_with_its_line(fresh: Project):
    (fresh.folder / "study.yaml").write_text("norms:\n\tdrop_first: 1\n")
    _, line = fresh.fails("-n", *STUDY).splitlines()
    assert line.startswith("study.yaml:2: no YAML at column 1: ")
    assert line.endswith("; expected spaces in place of a tab")
