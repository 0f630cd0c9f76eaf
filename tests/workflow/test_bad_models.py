"""Models that cannot be run: docs/errors.md says what is printed."""

from bad_input import Cases, Row, each_row, try_row
from projects import Project

CASES = Cases("Models")


@CASES.of("a folder that is missing")
def _(project: Project):
    project.write_config(models={"tiny": {"source": "path", "path": "mien"}})


@each_row(CASES)
def test_it_is_as_stated(row: Row, finished: Project):
    try_row(row, finished, CASES)
