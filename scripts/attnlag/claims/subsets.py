"""Claims about a lag in groups of documents and in classes of tokens."""

from collections.abc import Sequence
from math import isfinite

import pandas as pd

from attnlag.claims.row import Row, verdict_of
from attnlag.corpus.catalogue import NONE
from attnlag.regression.design.properties import OTHER
from attnlag.regression.labels import UPOS
from attnlag.regression.slopes.classes import ALL


def by_subset(table: pd.DataFrame) -> list[Row]:
    """Return the median of a lag over the layers in each subset that was fitted.

    ``table`` has the rows of the lag, whose intervals of medians hold for all subsets at once.
    """
    found = []
    for subset, rows in table.groupby("subset", sort=False):
        if rows["estimate"].isna().all():
            continue
        low = float(rows["median_low"].iloc[0])
        high = float(rows["median_high"].iloc[0])
        row = Row(
            claim="subset",
            subject=str(subset),
            value=float(rows["estimate"].median()),
            low=low,
            high=high,
            bound=0.0,
            layers=int(rows["estimate"].notna().sum()),
            verdict=verdict_of(low, high, 0.0),
        )
        found.append(row)
    return found


def extremes_apart(rows: Sequence[Row]) -> tuple[Row, Row] | None:
    """Return the smallest and the largest of some numbers if their intervals do not meet."""
    known = sorted((row for row in rows if isfinite(row.low)), key=lambda row: row.value)
    if not known or known[0].high >= known[-1].low:
        return None
    return known[0], known[-1]


def by_class(tests: pd.DataFrame, alpha: float) -> Row:
    """Return in how many layers a lag's slopes differ by class of tokens.

    ``tests`` are those of equal slopes of one lag; without any p-value, no layer was tested.
    """
    p_values = tests["p_adjusted"].dropna()
    rejected = int((p_values < alpha).sum())
    return Row(
        claim="class_slopes",
        subject=str(tests["term"].iloc[0]),
        layers=len(p_values),
        above=rejected,
        undecided=len(p_values) - rejected,
        table="equal_slopes",
    )


def of_classes(slopes: pd.DataFrame) -> list[Row]:
    """Return the median of a lag over the layers in each class of tokens."""
    return by_subset(slopes[~slopes["subset"].isin([ALL, OTHER, NONE])])


def class_name(name: object) -> str:
    """Return the name of a class of tokens: a part of speech in full."""
    return UPOS.get(str(name), str(name))
