"""Claims about a lag in groups of documents and in classes of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

import pandas as pd

from attnlag.claims.row import Row, Verdict, with_interval
from attnlag.corpus.catalogue import NONE
from attnlag.regression.inference.groups import fitted_groups
from attnlag.regression.labels import UPOS
from attnlag.regression.properties import OTHER
from attnlag.regression.slopes.classes import ALL
from attnlag.regression.terms import is_lag_or_lead, nearest_lag

# The median over the layers, with an interval that holds for all subsets at once.
JOINTLY = ("estimate", "median_low", "median_high")


def by_subset(table: pd.DataFrame, claim: str) -> list[Row]:
    """Return the median of a lag over the layers in each subset that was fitted.

    ``table`` has the rows of the lag, whose intervals of medians hold for all subsets at once.
    """
    found = []
    for subset, rows in table.groupby("subset", sort=False):
        if rows["estimate"].isna().all():
            continue
        row = Row(
            claim=claim,
            subject=f"{rows['term'].iloc[0]}, {subset}",
            layers=int(rows["estimate"].notna().sum()),
            table=claim,
        )
        estimate = rows.iloc[0].to_dict() | {"estimate": rows["estimate"].median()}
        found.append(with_interval(row, estimate, JOINTLY, bound=0.0))
    return found


def counted(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield in how many subsets the joint interval of a lag excludes zero, and two that differ.

    Rows are of one lag. The extremes are ``above`` each other if their intervals do not meet.
    Where these are wide, two others may still lie apart, and stand in place of the extremes; if
    none do, the extremes are ``undecided``. Of one subset there are none.
    """
    known = sorted((row for row in rows if isfinite(row.low)), key=lambda row: row.value)
    if not known:
        return
    claim = known[0].claim
    verdicts = [row.verdict for row in rows]
    yield Row(
        claim=f"{claim}_counted",
        subject=known[0].names[0],
        level=known[0].level,
        bound=0.0,
        layers=len(rows),
        above=verdicts.count(Verdict.ABOVE),
        below=verdicts.count(Verdict.BELOW),
        undecided=verdicts.count(Verdict.UNDECIDED),
        table=claim,
    )
    if len(known) < 2:
        return
    extremes = _beside(known[-1], known[0], f"{claim}_extremes", len(known))
    if extremes.verdict is Verdict.UNDECIDED:
        ends_first = min(known, key=lambda row: row.high)
        begins_last = max(known, key=lambda row: row.low)
        apart = _beside(begins_last, ends_first, f"{claim}_apart", len(known))
        if apart.verdict is Verdict.ABOVE:
            yield apart
            return
    yield extremes


def _beside(high: Row, low: Row, claim: str, subsets: int) -> Row:
    """Return the lag of one subset beside that of another: above it if their intervals do not meet.

    ``layers`` counts the subsets.
    """
    return replace(
        high,
        claim=claim,
        baseline=", ".join(low.names[1:]),
        baseline_value=low.value,
        baseline_low=low.low,
        baseline_high=low.high,
        layers=subsets,
        verdict=Verdict.ABOVE if low.high < high.low else Verdict.UNDECIDED,
    )


def groups(table: pd.DataFrame) -> Iterator[Row]:
    """Yield the nearest lag by group of documents, its extremes, and the groups without any."""
    fitted, reasons = fitted_groups(table)
    if len(fitted) + len(reasons) == 1:
        yield Row(claim="groups_counted", subject=nearest_lag(table["term"]), layers=0)
        return
    nearest = nearest_lag(table["term"])
    for term in filter(is_lag_or_lead, dict.fromkeys(table["term"])):
        rows = by_subset(table[table["term"] == term], "groups")
        yield from rows
        if term == nearest:
            yield from counted(rows)
    for reason in dict.fromkeys(reasons.values()):
        without = [group for group, stated in reasons.items() if stated == reason]
        yield Row(
            claim="groups_unfitted",
            subject=", ".join(without),
            baseline=reason,
            layers=len(fitted) + len(reasons),
            above=len(without),
            table="groups",
        )


def classes(
    slopes: pd.DataFrame, tests: pd.DataFrame, trait: str, alpha: float, adjust: str
) -> Iterator[Row]:
    """Yield in how many layers the nearest lag differs by class of tokens, and its extremes.

    ``trait`` is the property by which tokens are classified. Without two classes or any test there
    are no layers.
    """
    term = nearest_lag(tests["term"])
    slopes = slopes[(slopes["term"] == term) & (slopes["subset"] != ALL)]
    tests = tests[tests["term"] == term]
    p_values = tests["p_adjusted"].dropna()
    fitted = slopes.dropna(subset="estimate")
    test = Row(
        claim="class_slopes", subject=f"{term}, {trait}", layers=0, above=0, table="equal_slopes"
    )
    if fitted["subset"].nunique() < 2:
        yield test
        return
    rejected = int((p_values < alpha).sum())
    yield replace(
        test,
        level=1 - alpha,
        layers=len(p_values),
        above=rejected,
        undecided=len(p_values) - rejected,
        adjust=adjust,
    )
    rows = by_subset(fitted[~fitted["subset"].isin([OTHER, NONE])], "classes")
    yield from rows
    yield from counted(rows)
    if tests["merged"].iloc[0]:
        yield Row(
            claim="classes_merged", subject=str(tests["merged"].iloc[0]), table="equal_slopes"
        )


def class_name(name: object) -> str:
    """Return the name of a class of tokens: a part of speech in full."""
    return UPOS.get(str(name), str(name))
