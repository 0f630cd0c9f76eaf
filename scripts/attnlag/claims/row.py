"""What a claim is: a row of numbers and a verdict, without words."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from math import isfinite, nan
from typing import Any

import pandas as pd

from attnlag.regression.limits import MIN_DOCUMENTS


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

# What tells the claims of a run apart, before their own columns.
STUDY = ("model", "corpus", "site", "analysis")


@dataclass(frozen=True)
class Row:
    """A claim: NaN, -1 or an empty text stands for what is unknown.

    Parameters
    ----------
    claim : str
        A name of `attnlag.wording.CLAIMS`.
    subject : str
        Names, separated by commas, of which the first is often a term, as in ``lag_1, prose``.
    value : float
        A number, whose interval of ``level`` reaches from ``low`` to ``high``.
    bound : float
        The size beyond which ``verdict`` calls the interval ``above`` or ``below``.
    baseline : str
        The name of what the value is compared with: ``baseline_value``, and its ends.
    layers, above, below, within, undecided : int
        The layers, heads or effects that were fitted, and those whose number is shown to be beyond
        the bound, within it, or neither.
    texts : int
        Documents, each text counted once.
    adjust : str
        How the p-values of the counts are corrected, as ``inference.adjust`` has it.
    table : str
        The table that the numbers come from.
    """

    claim: str
    subject: str = ""
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
    adjust: str = ""
    verdict: Verdict = Verdict.NONE
    table: str = ""

    @property
    def names(self) -> list[str]:
        """The names in the subject."""
        return self.subject.split(", ")


def verdict_of(low: float, high: float, bound: float, texts: int | None = None) -> Verdict:
    """Return whether an interval lies beyond ± a bound, or within it.

    Fewer than `MIN_DOCUMENTS` texts decide nothing; None if their number does not matter.
    """
    if texts is not None and texts < MIN_DOCUMENTS:
        return Verdict.TOO_FEW_TEXTS
    if not (isfinite(low) and isfinite(high)):
        return Verdict.NONE
    if low > bound:
        return Verdict.ABOVE
    if high < -bound:
        return Verdict.BELOW
    if -bound < low and high < bound:
        return Verdict.WITHIN
    return Verdict.UNDECIDED


# Columns of an estimate and of the ends of its interval.
ESTIMATE = ("estimate", "conf_low", "conf_high")


def with_interval(
    row: Row,
    estimate: Mapping[Any, Any] | pd.Series,
    columns: tuple[str, str, str] = ESTIMATE,
    *,
    bound: float,
    texts: int | None = None,
) -> Row:
    """Return a claim with the value, the interval and the verdict of a row of a table.

    ``columns`` are those of the value and of the ends, whose level is in ``level``. With too few
    texts there is no interval.
    """
    value, low, high = columns
    ends = (float(estimate[low]), float(estimate[high]))
    verdict = verdict_of(*ends, bound, texts)
    if verdict is Verdict.TOO_FEW_TEXTS:
        ends = (nan, nan)
    return replace(
        row,
        value=float(estimate[value]),
        low=ends[0],
        high=ends[1],
        level=float(estimate["level"]),
        bound=bound,
        texts=-1 if texts is None else texts,
        verdict=verdict,
    )


def over_layers(row: Row, by_layer: pd.Series) -> Row:
    """Return a claim whose value is the median of numbers by layer, beside the extremes."""
    known = by_layer.dropna()
    return replace(
        row,
        value=float(known.median()),
        baseline="smallest and largest",
        baseline_low=float(known.min()),
        baseline_high=float(known.max()),
        layers=len(known),
    )


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


def rows_in(table: pd.DataFrame) -> Iterator[Row]:
    """Yield the claims of a table of `frame`, whatever studies they are of."""
    names = [field.name for field in fields(Row)]
    counts = {name: table[name].fillna(-1).astype(int) for name in COUNTS}
    for record in table.assign(**counts)[names].to_dict("records"):
        record["verdict"] = Verdict(record["verdict"])
        yield Row(**{str(name): value for name, value in record.items()})
