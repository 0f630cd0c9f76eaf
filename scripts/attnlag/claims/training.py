"""What training changed, if it holds at every scale of the initial weights."""

from typing import NamedTuple

import pandas as pd

from attnlag.claims.numbers import span

SCALE_NAMES = {"own": "the model's own", "default": "transformers'", "by-depth": "by depth"}


class Range(NamedTuple):
    """A quantity in the median layer before training, over scales, and after it."""

    low: float
    high: float
    trained: float
    scales: int
    # "more" or "less" than after training at every scale, by intervals, "unknown" without any of
    # these; else "".
    direction: str

    def text(self) -> str:
        """Return the numbers before training."""
        return span([self.low, self.high])


def scale_of(column: str, first: str = "first") -> str:
    """Return the scale of the weights in a column of controls; a plain one has the first."""
    return column.removeprefix("random_weights").lstrip("_").replace("_", "-") or first


def range_of(before: pd.DataFrame, quantity: str) -> Range | None:
    """Return a quantity before and after training; None if it is unknown.

    That an untrained model has more of it is only said if intervals say so at all scales.
    """
    rows = before[(before["quantity"] == quantity) & (before["left_out"] == "")]
    known = rows.dropna(subset="before")
    if known.empty:
        return None
    direction = ""
    if (rows["conf_low"] > 0).all():
        direction = "more"
    elif (rows["conf_high"] < 0).all():
        direction = "less"
    elif rows["conf_low"].isna().all():
        direction = "unknown"
    sizes = known["before"]
    return Range(sizes.min(), sizes.max(), known["trained"].median(), len(known), direction)


def scales_in_words(before: pd.DataFrame) -> str:
    """Return the scales of the initial weights, their origins, and those left out."""
    texts, left_out = [], []
    for row in before.drop_duplicates("scale").to_dict("records"):
        text = SCALE_NAMES[row["scale"]]
        if row["left_out"]:
            left_out.append(f"{text} left out: {row['left_out']}")
            continue
        if row["scale"] != "by-depth" and pd.notna(row["initializer_range"]):
            text += f" {row['initializer_range']:.3g}" + " (assumed)" * (row["origin"] == "assumed")
        texts.append(text)
    return "; ".join([*texts, *left_out])


def assumed_scale(before: pd.DataFrame) -> str:
    """Return that the model's own scale is not known, if it is not."""
    rows = before[before["origin"] == "assumed"]
    if rows.empty:
        return ""
    return f"its own scale is not stated, {rows['initializer_range'].iloc[0]:.3g} assumed"
