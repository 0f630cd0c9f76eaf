"""Findings of a comparison of models, as lists of claims."""

from attnlag.claims.comparison import COMPARISON
from attnlag.claims.run import Claims, RunClaims
from attnlag.report.lines import Line, lines_of, titled

LINES = (
    Line(("models_differ",), each="subject"),
    Line(("replicated",), each="subject"),
)


def comparison_findings(run: RunClaims) -> str:
    """Return how models differ, pair by pair, and what holds in how many of them, as text."""
    by_regression: dict[str, list[Claims]] = {}
    for (_, _, _, analysis), claims in run.analyses.items():
        comparison, _, regression = analysis.partition(", ")
        if comparison == COMPARISON:
            by_regression.setdefault(regression, []).append(claims)
    if not by_regression:
        return "comparison: there is one model, so there are no pairs of models\n"
    text = ""
    for regression, found in by_regression.items():
        rows = [row for claims in found for row in claims.rows]
        lines = lines_of(LINES, Claims(tuple(rows)))
        text += titled(f"comparison of models over relative depth, {regression}:", lines)
    return text
