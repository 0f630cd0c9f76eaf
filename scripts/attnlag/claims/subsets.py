"""Claims about a lag in groups of documents and in classes of tokens."""

from collections.abc import Sequence
from math import isfinite

import pandas as pd

from attnlag.claims.claim import Claim
from attnlag.claims.numbers import number
from attnlag.claims.row import Row, verdict_of
from attnlag.corpus.catalogue import NONE
from attnlag.errors import counted
from attnlag.regression.beyond.classes import ALL
from attnlag.regression.design.properties import OTHER
from attnlag.regression.inference.results import extremes
from attnlag.regression.labels import UPOS
from attnlag.regression.terms import named


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


def by_class(slopes: pd.DataFrame, tests: pd.DataFrame, trait: str, alpha: float) -> Claim:
    """Return whether a lag's slopes differ by class of tokens, and the extremes if they are apart.

    The extremes of noisy medians are named only if their intervals do not meet.
    """
    lag, p_values = named(tests["term"].iloc[0]).capitalize(), tests["p_adjusted"].dropna()
    if p_values.empty:
        return Claim(f"It could not be tested whether {lag.lower()} differs by {trait}")
    rejected = int((p_values < alpha).sum())
    layers = counted(len(p_values), "layer")
    where = "every layer" if rejected == len(p_values) else f"{rejected} of {layers}"
    ends = extremes(slopes[~slopes["subset"].isin([ALL, OTHER, NONE])])
    if not ends or not ends[2]:
        return Claim(f"{lag} differs by {trait} in {where}")
    low, high = (f"{class_name(row.name)} ({number(row['median'])})" for row in ends[:2])
    return Claim(
        f"{lag} is weakest for {low} and strongest for {high}; slopes differ in {where}",
    )


def class_name(name: object) -> str:
    """Return the name of a class of tokens: a part of speech in full."""
    return UPOS.get(str(name), str(name))
