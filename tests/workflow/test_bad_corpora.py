"""Corpora that cannot be read: docs/errors.md says what is printed."""

from bad_input import Cases, Row, each_row, try_row
from projects import Project

CASES = Cases("Corpora")


def change_corpus(project: Project, **changes) -> None:
    """Change keys of the corpus in the configuration."""
    project.write_config(corpora={"small": {**project.config["corpora"]["small"], **changes}})


@CASES.of("a file that is missing")
def _(project: Project):
    change_corpus(project, files=["data/smal.jsonl"])


@CASES.of("a byte-order mark")
def _(project: Project):
    path = project.folder / "data/small.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@each_row(CASES)
def test_it_is_as_stated(row: Row, finished: Project):
    try_row(row, finished, CASES)
