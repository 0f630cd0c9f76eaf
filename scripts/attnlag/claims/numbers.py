"""The one format of numbers and intervals in sentences; page.state.js has the same."""

import re
from collections.abc import Iterable


def number(value: float) -> str:
    """Return a number with two decimals and a minus sign; zero has none."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def significant(value: float) -> str:
    """Return a positive number with two or three digits: ``2.7``, ``193``, ``0.097``."""
    return f"{value:,.0f}" if value >= 99.5 else f"{float(f'{value:.2g}'):g}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage; one that rounds to zero has no sign."""
    return f"{round(100 * share, digits) + 0.0:.{digits}f}%".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Return the ends of an interval, as in ``0.21 to 0.25``."""
    return f"{number(low)} to {number(high)}"


def span(values: Iterable[float]) -> str:
    """Return the smallest and the largest number, once if they are alike; NaN is none."""
    known = [value for value in values if value == value]
    return " to ".join(dict.fromkeys((number(min(known)), number(max(known)))))


def with_minus_signs(text: str) -> str:
    """Return a text whose negative numbers have minus signs instead of hyphens.

    The hyphen at the beginning of a name, as in ``-2nd``, stays.
    """
    return re.sub(r"(?<![\w-])-(?=\d[\d.,]*(?![\w-]))", "−", text)
