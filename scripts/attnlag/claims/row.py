"""What a claim is: a row of numbers and a verdict, without words."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan


class Verdict(StrEnum):
    """What an interval says of a number and a bound."""

    ABOVE = "above"
    BELOW = "below"
    WITHIN = "within"
    UNDECIDED = "undecided"
    # There is no interval: of too few texts, or because none was asked for.
    TOO_FEW_TEXTS = "too few texts"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Row:
    """A claim: NaN or -1 stands for what is unknown.

    ``above``, ``below``, ``within`` and ``undecided`` count the layers whose number is shown to be
    beyond the bound or within it, out of the ``layers`` that were fitted.
    """

    claim: str
    subject: str
    value: float = nan
    low: float = nan
    high: float = nan
    level: float = nan
    bound: float = nan
    layers: int = -1
    above: int = -1
    below: int = -1
    within: int = -1
    undecided: int = -1
    p_value: float = nan
    texts: int = -1
    verdict: Verdict = Verdict.UNTESTED


def verdict_of(low: float, high: float, bound: float) -> Verdict:
    """Return whether an interval lies beyond ± a bound, or within it."""
    if not (isfinite(low) and isfinite(high)):
        return Verdict.UNTESTED
    if low > bound:
        return Verdict.ABOVE
    if high < -bound:
        return Verdict.BELOW
    if -bound < low and high < bound:
        return Verdict.WITHIN
    return Verdict.UNDECIDED
