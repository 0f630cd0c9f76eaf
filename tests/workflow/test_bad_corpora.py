"""Corpora that cannot be read print the lines of tests/workflow/errors.md."""

import csv
import gzip
import json
import os
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
    """Change keys of the corpus in the configuration."""
    project.write_config(corpora={"small": {**project.config["corpora"]["small"], **changes}})


def replace(project: Project, name: str) -> Path:
    """Make the corpus a file of another name, and return its path."""
    change_corpus(project, files=[f"data/{name}"])
    return project.folder / "data" / name


def corpus_of(project: Project) -> Path:
    """Return the path of the corpus as it is."""
    return project.folder / "data/small.jsonl"


def rows_of(project: Project) -> list[dict[str, str]]:
    """Return the documents as they are."""
    return [json.loads(line) for line in corpus_of(project).read_text().splitlines()]


def change_row(project: Project, number: int, **changes) -> Jobs:
    """Change fields of the document in a line, from 1; None takes them away."""
    rows = rows_of(project)
    changed = {**rows[number - 1], **changes}
    rows[number - 1] = {key: value for key, value in changed.items() if value is not None}
    corpus_of(project).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CORPUS


def change_line(project: Project, number: int, line: bytes) -> Jobs:
    """Put bytes in place of a line, from 1."""
    lines = corpus_of(project).read_bytes().splitlines()
    lines[number - 1] = line
    corpus_of(project).write_bytes(b"\n".join(lines) + b"\n")
    return CORPUS


def as_csv(project: Project, mark: str = "") -> Path:
    """Make the corpus a CSV file, and return its path."""
    rows = rows_of(project)
    path = replace(project, "small.csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(mark)
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(project: Project, **columns) -> Path:
    """Make the corpus a Parquet file with columns replaced, None for none; return its path."""
    table = pa.Table.from_pylist(rows_of(project)).to_pydict() | columns
    path = replace(project, "small.parquet")
    pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), path)
    return path


# --- files ---------------------------------------------------------------------------------


@CASES.of("a file that is missing", whole=True)
def _(project: Project):
    change_corpus(project, files=["data/smal.jsonl"])


@CASES.of("a pattern that matches nothing")
def _(project: Project):
    change_corpus(project, files=["data/*.txt"])


@CASES.of("a folder in place of a file")
def _(project: Project):
    change_corpus(project, files=["data"])


@CASES.of("a link to what is missing")
def _(project: Project):
    corpus_of(project).unlink()
    corpus_of(project).symlink_to("elsewhere.jsonl")


@CASES.of("a pipe, which has no end until someone writes")
def _(project: Project):
    corpus_of(project).unlink()
    os.mkfifo(corpus_of(project))


@CASES.of("a device, which has no end")
def _(project: Project):
    corpus_of(project).unlink()
    corpus_of(project).symlink_to("/dev/zero")


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


@CASES.of("an unknown suffix")
def _(project: Project):
    path = replace(project, "small.jsnl")
    path.write_bytes(corpus_of(project).read_bytes())
    return CORPUS


@CASES.of("an empty file")
def _(project: Project):
    corpus_of(project).write_bytes(b"")
    return CORPUS


@CASES.of("the same file twice")
def _(project: Project):
    change_corpus(project, files=["data/small.jsonl", "./data/*.jsonl", "data/small.jsonl"])
    (project.folder / "data/prompts.jsonl").unlink()
    return CORPUS


# --- bytes ---------------------------------------------------------------------------------


@CASES.of("bytes that are not UTF-8")
def _(project: Project):
    text = corpus_of(project).read_bytes()
    corpus_of(project).write_bytes(text.replace(b"rain", b"r\xe4in"))
    return CORPUS


@CASES.of("UTF-16")
def _(project: Project):
    corpus_of(project).write_text(corpus_of(project).read_text(), encoding="utf-16")
    return CORPUS


@CASES.of("UTF-16 without a mark, or NUL bytes for another reason")
def _(project: Project):
    corpus_of(project).write_text(corpus_of(project).read_text(), encoding="utf-16-le")
    return CORPUS


@CASES.of("a byte-order mark")
def _(project: Project):
    path = project.folder / "data/small.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return CORPUS


@CASES.of("a byte-order mark in CSV")
def _(project: Project):
    as_csv(project, mark="\ufeff")
    return CORPUS


@CASES.of("gzip that breaks off")
def _(project: Project):
    packed = gzip.compress(corpus_of(project).read_bytes(), mtime=0)
    replace(project, "small.jsonl.gz").write_bytes(packed[:-20])
    return CORPUS


@CASES.of("zstd that breaks off")
def _(project: Project):
    packed = pa.compress(corpus_of(project).read_bytes(), "zstd", asbytes=True)
    replace(project, "small.jsonl.zst").write_bytes(packed[:-20])
    return CORPUS


@CASES.of("a file that is called gzip and is not")
def _(project: Project):
    replace(project, "small.jsonl.gz").write_bytes(corpus_of(project).read_bytes())
    return CORPUS


@CASES.of("a line without end")
def _(project: Project):
    with gzip.open(replace(project, "small.jsonl.gz"), "wb", compresslevel=1) as stream:
        for _ in range(200):
            stream.write(b"x" * 10**6)
    return CORPUS


@CASES.of("a line of 10 MB")
def _(project: Project):
    return change_row(project, 1, text="words " * 1_700_000)


# --- rows ----------------------------------------------------------------------------------


@CASES.of("several problems", whole=True)
def _(project: Project):
    change_line(project, 2, b'{"id": "doc-0", "genre": "odd", "text": "twice the same id"}')
    change_line(project, 3, b'{"id": "doc-2", "genre": "odd", "txt": "words"}')
    change_line(project, 5, b"{")
    return Run([TABLE])


@CASES.of("a line that is no JSON")
def _(project: Project):
    return change_line(project, 3, b'{"id": "doc-2" "genre": "odd", "text": "words"}')


@CASES.of("a line that is JSON, but no object")
def _(project: Project):
    return change_line(project, 3, b'["doc-2", "odd", "words"]')


@CASES.of("a text that is missing")
def _(project: Project):
    return change_row(project, 3, text=None, texts="some words")


@CASES.of("a group that is missing")
def _(project: Project):
    return change_row(project, 3, genre=None)


@CASES.of("a text that is no string")
def _(project: Project):
    return change_row(project, 3, text=["some", "words"])


@CASES.of("a text that is empty")
def _(project: Project):
    return change_row(project, 3, text="")


@CASES.of("a text of spaces only")
def _(project: Project):
    return change_row(project, 3, text=" \n\t")


@CASES.of("half of a surrogate pair")
def _(project: Project):
    return change_row(project, 3, text="half \ud83d")


@CASES.of("an id given twice")
def _(project: Project):
    return change_row(project, 3, id="doc-1")


@CASES.of("an id of more than 1,000 characters")
def _(project: Project):
    return change_row(project, 3, id="doc-" * 500)


@CASES.of("CSV with a row that is too short")
def _(project: Project):
    path = as_csv(project)
    lines = path.read_text().splitlines()
    lines[3] = "doc-2,odd"
    path.write_text("\n".join(lines))
    return CORPUS


@CASES.of("CSV with a quote that is never closed")
def _(project: Project):
    path = as_csv(project)
    lines = path.read_text().splitlines()
    lines[3] = 'doc-2,odd,"some words'
    path.write_text("\n".join(lines))
    return CORPUS


@CASES.of("CSV with two columns of one name")
def _(project: Project):
    path = as_csv(project)
    path.write_text(path.read_text().replace("id,genre,text", "id,text,text"))
    return CORPUS


@CASES.of("Parquet without the column")
def _(project: Project):
    as_parquet(project, text=None, texts=["words"] * 8)
    return CORPUS


@CASES.of("Parquet with a column of numbers for text")
def _(project: Project):
    as_parquet(project, text=list(range(8)))
    return CORPUS


@CASES.of("Parquet that breaks off")
def _(project: Project):
    path = as_parquet(project)
    path.write_bytes(path.read_bytes()[:-100])
    return CORPUS


# --- parts of speech -----------------------------------------------------------------------

PROPERTIES = Jobs(("describe_tokens",))


@CASES.of("tags in a column that is missing")
def _(project: Project):
    as_parquet(project)
    change_corpus(project, tagger={"column": "tags"})
    return CORPUS


@CASES.of("a file of tags that is missing")
def _(project: Project):
    change_corpus(project, tagger={"file": "data/tags.csv"})


def tag_file(project: Project, text: str) -> Jobs:
    """Give the corpus a file of tags."""
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
    *("build_design", "accumulate_crossproducts", "fit_regression"),
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
