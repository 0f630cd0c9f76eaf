"""Adjustments that cannot be regressed: docs/errors.md says what is printed."""

from bad_input import Cases, Row, each_row, try_row
from projects import Project

# Up to the cross-products, a corpus of one document is like any other.
UPSTREAM = (
    r"results/(corpora|tiny/small/(tokens|token_\w+\.\w+"
    r"|attention/(activations|norms|figures|notebook/(design|crossproducts|solution|residuals))))"
)
CASES = Cases("Numbers", made_anew=UPSTREAM)


@CASES.of("one document only")
def _(project: Project):
    path = project.folder / "data/small.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])


@each_row(CASES)
def test_it_is_as_stated(row: Row, finished: Project):
    try_row(row, finished, CASES)
