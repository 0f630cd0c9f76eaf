"""What a claim is: a row of numbers and a verdict, without words."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from math import isfinite, nan

import pandas as pd


class Verdict(StrEnum):
    """What an interval says of a number and a bound."""

    ABOVE = "above"
    BELOW = "below"
    WITHIN = "within"
    UNDECIDED = "undecided"
    # Without an interval there is no verdict, and with too few texts there is no interval.
    TOO_FEW_TEXTS = "too few texts"
    NONE = "none"


COUNTS = ("layers", "above", "below", "within", "undecided", "texts")


@dataclass(frozen=True)
class Row:
    """A claim: NaN or -1 stands for what is unknown.

    ``value`` has an interval from ``low`` to ``high``, which covers with probability ``level``, and
    the verdict is of these and ± ``bound``. ``above``, ``below``, ``within`` and ``undecided``
    count the layers, or heads, whose number is shown to be beyond the bound or within it, out of
    the ``layers`` that were fitted. ``baseline`` names what to compare the value with, and
    ``table`` is the table that the numbers come from.
    """

    claim: str
    subject: str
    value: float = nan
    low: float = nan
    high: float = nan
    level: float = nan
    unit: str = ""
    bound: float = nan
    baseline: str = ""
    baseline_value: float = nan
    baseline_low: float = nan
    baseline_high: float = nan
    layers: int = -1
    above: int = -1
    below: int = -1
    within: int = -1
    undecided: int = -1
    p_value: float = nan
    texts: int = -1
    verdict: Verdict = Verdict.NONE
    table: str = ""


def verdict_of(low: float, high: float, bound: float) -> Verdict:
    """Return whether an interval lies beyond ± a bound, or within it."""
    if not (isfinite(low) and isfinite(high)):
        return Verdict.NONE
    if low > bound:
        return Verdict.ABOVE
    if high < -bound:
        return Verdict.BELOW
    if -bound < low and high < bound:
        return Verdict.WITHIN
    return Verdict.UNDECIDED


def frame(rows: Iterable[Row], **study: str) -> pd.DataFrame:
    """Return rows as a table that begins with the columns of the study, such as ``model``.

    Unknown counts are missing values of type Int64.
    """
    names = [field.name for field in fields(Row)]
    table = pd.DataFrame([asdict(row) for row in rows], columns=names)
    for name in COUNTS:
        counts = table[name].astype("Int64")
        table[name] = counts.mask(counts < 0)
    table["verdict"] = table["verdict"].map(str)
    for place, (name, value) in enumerate(study.items()):
        table.insert(place, name, value)
    return table
