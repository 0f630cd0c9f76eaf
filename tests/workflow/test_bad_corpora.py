"""Corpora that cannot be read print the lines of tests/workflow/errors.md."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_input import Cases, Jobs, Row, Run, each_row, try_row
from projects import Project

# A corpus of short documents is like any other up to the regression.
CASES = Cases("Corpora", made_anew=r"results/(corpora|tiny/small)/")

# What fails is the job that reads the corpus, or the check before it.
TABLE = "results/corpora/small.parquet"
CORPUS = Jobs(("prepare_corpus",))


def change_corpus(project: Project, **changes) -> None:
    project.write_config(corpora={"small": {**project.config["corpora"]["small"], **changes}})


def corpus_of(project: Project) -> Path:
    return project.folder / "data/small.jsonl"


def rows_of(project: Project) -> list[dict[str, str]]:
    return [json.loads(line) for line in corpus_of(project).read_text().splitlines()]


def change_row(project: Project, number: int, **changes) -> Jobs:
    rows = rows_of(project)
    changed = {**rows[number - 1], **changes}
    rows[number - 1] = {key: value for key, value in changed.items() if value is not None}
    corpus_of(project).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CORPUS


def change_line(project: Project, number: int, line: bytes) -> Jobs:
    lines = corpus_of(project).read_bytes().splitlines()
    lines[number - 1] = line
    corpus_of(project).write_bytes(b"\n".join(lines) + b"\n")
    return CORPUS


# --- files ---------------------------------------------------------------------------------


@CASES.of("a file that is missing", whole=True)
def _(project: Project):
    change_corpus(project, files=["data/smal.jsonl"])


@CASES.of("a file without the right to read it", whole=True)
def _(project: Project):
    corpus_of(project).chmod(0)
    rights = "-dac_override,-dac_read_search"
    return Run([TABLE], mount=f'set -- setpriv --bounding-set {rights} "$@"')


@CASES.of("a file that the disk does not give")
def _(project: Project):
    corpus_of(project).unlink()
    corpus_of(project).symlink_to("/proc/self/mem")
    return CORPUS


def before_its_job(project: Project, command: str) -> Run:
    """Have a command of bash run once the run has begun, before the job that reads the corpus."""
    # The shell of each job runs this first.
    script = project.folder / "first.sh"
    script.write_text(f'case "$BASH_EXECUTION_STRING" in *prepare_corpus*)\n{command};;\nesac\n')
    return Run([TABLE], environment={"BASH_ENV": str(script)})


@CASES.of("a file that is removed before its job reads it", whole=True)
def _(project: Project):
    change_row(project, 1, text="some other words")
    return before_its_job(project, "rm -f data/small.jsonl")


@CASES.of("a file that is changed before its job reads it", whole=True)
def _(project: Project):
    change_row(project, 1, text="some other words")
    line = json.dumps({**rows_of(project)[0], "id": "one more"})
    return before_its_job(project, f"echo '{line}' >> data/small.jsonl")


# --- rows ----------------------------------------------------------------------------------


@CASES.of("several problems", whole=True)
def _(project: Project):
    change_line(project, 2, b'{"id": "doc-0", "genre": "odd", "text": "twice the same id"}')
    change_line(project, 3, b'{"id": "doc-2", "genre": "odd", "txt": "words"}')
    change_line(project, 5, b"{")
    return Run([TABLE])


# --- parts of speech -----------------------------------------------------------------------

PROPERTIES = Jobs(("describe_tokens",))


@CASES.of("tags in a column that is missing")
def _(project: Project):
    pq.write_table(pa.Table.from_pylist(rows_of(project)), project.folder / "data/small.parquet")
    change_corpus(project, files=["data/small.parquet"], tagger={"column": "tags"})
    return CORPUS


@CASES.of("a file of tags that is missing")
def _(project: Project):
    change_corpus(project, tagger={"file": "data/tags.csv"})


def tag_file(project: Project, text: str) -> Jobs:
    (project.folder / "data/tags.csv").write_text(text)
    change_corpus(project, tagger={"file": "data/tags.csv"})
    return PROPERTIES


@CASES.of("a file of tags of other words")
def _(project: Project):
    return tag_file(project, "document,word,tag\ndoc-0,the,DET\ndoc-0,dog,NOUN\n")


@CASES.of("a file of tags without the column")
def _(project: Project):
    return tag_file(project, "document,word,tags\ndoc-0,the,DET\n")


@CASES.of("a tagger that is not installed")
def _(project: Project):
    stated = {"package": "en-core-xx", "version": "1.0", "sha256": "0" * 64}
    change_corpus(project, tagger=stated)
    return PROPERTIES


@CASES.of("a tagger for a group that the corpus lacks")
def _(project: Project):
    change_corpus(project, tagger={"groups": ["evn"]})
    return PROPERTIES


# --- what is too short ---------------------------------------------------------------------


REGRESSION = (
    *("prepare_corpus", "tokenize_corpus", "extract_activations", "compute_norms"),
    *("build_design", "fit_regression"),
)


@CASES.of("a document of one token", whole=True)
def _(project: Project):
    change_row(project, 8, text="word")
    return Run(["results/tiny/small/attention/notebook/coefficients.csv"])


@CASES.of("no document that is long enough")
def _(project: Project):
    rows = rows_of(project)
    corpus_of(project).write_text(
        "".join(json.dumps({**row, "text": "word"}) + "\n" for row in rows)
    )
    return Jobs(REGRESSION)


@each_row(CASES)
def test_a_bad_corpus_prints_the_documented_lines(
    row: Row, finished_once: tuple[Project, str], request: pytest.FixtureRequest
):
    project = try_row(row, CASES, request)
    if not row.status and not row.lines:
        before = pq.read_table(finished_once[0].folder / TABLE)
        assert pq.read_table(project.folder / TABLE).equals(before)
