"""Claims about a lag in groups of documents and in classes of tokens."""

from collections.abc import Callable

import pandas as pd

from attnlag.claims.claim import Claim
from attnlag.claims.numbers import interval, number
from attnlag.corpus.catalogue import NONE
from attnlag.errors import counted
from attnlag.regression.beyond.classes import ALL
from attnlag.regression.design.properties import OTHER
from attnlag.regression.inference.results import extremes
from attnlag.regression.labels import UPOS
from attnlag.regression.terms import named


def by_group(rows: pd.DataFrame, shown: Callable[[str], str] = str) -> Claim:
    """Return in how many groups of documents a lag has the same sign, and its range.

    ``rows`` are those of the lag; ``shown`` makes a group's name fit for its place.
    """
    medians = rows.groupby("subset", sort=False)["estimate"].median().dropna()
    if medians.empty:
        return Claim("No group of documents could be fitted separately")
    positive = int((medians > 0).sum())
    sign, count = "positive", positive
    if len(medians) > 2 * positive:
        sign, count = "negative", len(medians) - positive
    where = "every group" if count == len(medians) else f"{count} of {len(medians)} groups"
    where = "the one fitted group" if len(medians) == 1 else where
    ends = medians.sort_values(kind="stable").iloc[[0, -1]].items()
    sizes = dict.fromkeys(f"{number(size)} ({shown(str(group))})" for group, size in ends)
    return Claim(
        f"{named(rows['term'].iloc[0]).capitalize()} is {sign} in {where} of documents: "
        f"{' to '.join(sizes)} in the median layer",
    )


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


def intervals(table: pd.DataFrame, shown: Callable[[str], str] = str) -> str:
    """Return the smallest and the largest median of subsets with their intervals, if known."""
    ends = extremes(table)
    if ends is None:
        return ""
    texts = (
        f"{number(row['median'])} ({interval(row['median_low'], row['median_high'])}) in "
        f"{shown(str(row.name))}"
        for row in ends[:2]
    )
    count = table.dropna(subset="median_low")["subset"].nunique()
    return f"medians over the layers: {' to '.join(texts)}; intervals hold jointly for all {count}"
