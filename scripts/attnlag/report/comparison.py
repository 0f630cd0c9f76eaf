"""Findings of a comparison of models in words."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnlag.claims.numbers import number
from attnlag.errors import counted
from attnlag.regression.beyond import replication
from attnlag.regression.terms import named
from attnlag.report.wording import titled


def comparison_findings(pairs: pd.DataFrame, equivalence_bound: float) -> str:
    """Return how two models differ, pair by pair, as text; there may be one model only.

    A difference up to ``equivalence_bound`` is none.
    """
    if pairs.empty:
        return "comparison: there is one model, so there are no pairs of models\n"
    return "".join(
        titled(
            f"comparison of models over relative depth, {name}:",
            [_pair_finding(row, equivalence_bound) for row in rows.itertuples()],
        )
        for name, rows in pairs.groupby("regression", sort=False)
    )


def claims_findings(held: pd.DataFrame, models: Sequence[str]) -> str:
    """Return which claims hold in which of several models."""
    if len(models) < 2:
        return ""
    text = ""
    for regression, rows in held.groupby("regression", sort=False):
        text += titled(f"what holds in {regression}:", replication.sentences(rows, models))
    return text


def _pair_finding(row: Any, equivalence_bound: float) -> str:
    dropped = row.documents_only_a + row.documents_only_b
    note = f"; {counted(dropped, 'document')} with rows in one model only left out"
    differ = ""
    if row.layers_compared:
        differ = (
            f"; they are shown to differ by more than {equivalence_bound:g} in "
            f"{row.layers_differing} of {counted(row.layers_compared, 'layer')} and by less in "
            f"{row.layers_alike}, "
            f"{row.median_difference:+.2f} in the median layer"
        )
    return (
        f"{named(row.term)}, {row.site}, {row.corpus}: median {number(row.median_a)} in "
        f"{row.model_a}, {number(row.median_b)} in {row.model_b}{differ}{note * bool(dropped)}"
    )
