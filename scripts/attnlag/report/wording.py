"""What the findings of all stages share."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from attnlag.claims.numbers import number, span, with_minus_signs


def titled(title: str, lines: Iterable[str]) -> str:
    """Return findings as text: a title, and a line for each finding, indented."""
    return with_minus_signs("\n  ".join([title, *lines])) + "\n"


def over_layers(
    values: pd.Series, spread: Callable[[pd.Series], str] = span, about: str = ""
) -> str:
    """Return the median and the spread of numbers by layer, or the one number."""
    known = values.dropna()
    place, beside = ("median", spread(known)) if len(known) > 1 else ("one", "")
    said = ", ".join(filter(None, [about, beside]))
    return f"{number(known.median())} in the {place} layer" + f" ({said})" * bool(said)


def extent(values: pd.Series) -> str:
    """Return the smallest and the largest of numbers by layer, and their layers."""
    ends = (values.min(), values.idxmin()), (values.max(), values.idxmax())
    return " to ".join(dict.fromkeys(f"{number(value)} in layer {at}" for value, at in ends))


def in_common(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the columns that are not empty, in the rows that have a value in each of them.

    Medians over these rows are of the same layers.
    """
    filled = [name for name in columns if table[name].notna().any()]
    return table[filled].dropna()
