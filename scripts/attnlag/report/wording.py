"""What the findings of all stages share."""

from collections.abc import Iterable, Sequence

import pandas as pd

from attnlag.claims.numbers import with_minus_signs


def titled(title: str, lines: Iterable[str]) -> str:
    """Return findings as text: a title, and a line for each finding, indented."""
    return with_minus_signs("\n  ".join([title, *lines])) + "\n"


def in_common(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the columns that are not empty, in the rows that have a value in each of them.

    Medians over these rows are of the same layers.
    """
    filled = [name for name in columns if table[name].notna().any()]
    return table[filled].dropna()
