"""Medians that stand beside each other in a sentence."""

from collections.abc import Sequence

import pandas as pd


def in_common(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the columns that any row has, in the rows that have them all.

    Medians over these rows are of the same layers.
    """
    known = [name for name in columns if table[name].notna().any()]
    return table[known].dropna()
