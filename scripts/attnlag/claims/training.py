"""What training changed, by the scale of the initial weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from attnlag.claims.numbers import number, span
from attnlag.claims.row import Row, verdict_of
from attnlag.errors import listed
from attnlag.quantities.settings import MULTIPLE, multiple_of_own

SCALE_NAMES = {"own": "the model's own", "default": "transformers'", "by-depth": "by depth"}

# R² from which the sizes of the tokens before are said to determine a token's own.
DETERMINED = 0.9

# What a sentence says of lags after training, by the direction before it.
AFTER = {"more": "smaller", "less": "larger"}


@dataclass(frozen=True)
class AtScale:
    """A quantity in the median layer before training, at one scale of the initial weights."""

    # Where, as in ``at the model's own scale``.
    place: str
    value: float
    # ``"more"`` or ``"less"`` than after training, by the interval of the difference;
    # ``"undecided"`` if that contains zero, ``"unknown"`` without one.
    direction: str
    # Whether the interval of the mean over the layers is within the bound of what is negligible.
    gone: bool
    # Whether the initial weights are larger than the model's own.
    above_own: bool


@dataclass(frozen=True)
class Untrained:
    """A quantity in the median layer before training, at each scale, and after it."""

    scales: tuple[AtScale, ...]
    trained: float
    bound: float

    @property
    def low(self) -> float:
        """The smallest value before training."""
        return min(scale.value for scale in self.scales)

    @property
    def high(self) -> float:
        """The largest value before training."""
        return max(scale.value for scale in self.scales)

    @property
    def largest_weights(self) -> tuple[AtScale, ...]:
        """The scales above the model's own."""
        return tuple(scale for scale in self.scales if scale.above_own)

    @property
    def usual_weights(self) -> tuple[AtScale, ...]:
        """The scales up to the model's own."""
        return tuple(scale for scale in self.scales if not scale.above_own)

    def text(self, why: str = "") -> str:
        """Return the values by scale, those up to the model's own together.

        ``why`` stands after these.
        """
        parts = []
        usual = self.usual_weights
        if len(usual) == 1:
            parts.append(f"{number(usual[0].value)} {usual[0].place}{why}")
        elif usual:
            values = span([scale.value for scale in usual])
            parts.append(f"{values} at the model's own scale of initial weights and below{why}")
        for scale in self.largest_weights:
            gone = " (gone)" if scale.gone else ""
            parts.append(f"{number(scale.value)} {scale.place}{gone}")
        return ", ".join(parts)

    def verdict(self, lag: str, documents: str) -> str:
        """Return how a lag after training compares with that before it, at which scales."""
        directions = {scale.direction for scale in self.scales}
        if directions == {"unknown"}:
            return (
                f"with {documents}, it is not tested whether {lag} is smaller or larger than "
                "before training"
            )
        shared = AFTER.get(next(iter(directions)), "") if len(directions) == 1 else ""
        if shared and len(self.scales) > 1:
            return f"{lag} is {shared} than before training at every scale drawn {TESTED}"
        parts = []
        for direction, after in AFTER.items():
            places = self._places(direction)
            if places:
                parts.append(f"{after} than before training {listed(places)}")
        places = self._places("undecided", "unknown")
        if places:
            parts.append(f"not shown to differ from before training {listed(places)}")
        return f"{lag} is {'; '.join(parts)} {TESTED}"

    def _places(self, *directions: str) -> list[str]:
        """Return where the comparison has one of some directions, and where no lag was before."""
        places = []
        for scale in self.scales:
            if scale.direction in directions:
                gone = f" (where it was within ±{self.bound:g})" if scale.gone else ""
                places.append(f"{scale.place}{gone}")
        return places


TESTED = "(mean over the layers, jackknife over documents)"


def scale_of(column: str, first: str = "first") -> str:
    """Return the scale of the weights in a column of controls; a plain one has the first."""
    return column.removeprefix("random_weights").lstrip("_").replace("_", "-") or first


def scale_label(scale: str) -> str:
    """Return a scale for a legend, as in ``1.5 × own``."""
    if MULTIPLE.fullmatch(scale):
        return f"{multiple_of_own(scale):g} × own"
    return scale


def name_of_scale(scale: str) -> str:
    """Return a scale in words, as in ``1.5 times its own``."""
    return SCALE_NAMES.get(scale) or f"{multiple_of_own(scale):g} times its own"


def before_training(before: pd.DataFrame, quantity: str, bound: float) -> Untrained | None:
    """Return a quantity before and after training, by scale.

    Parameters
    ----------
    before : DataFrame
        The table ``before_training``.
    quantity : str
        Its ``quantity``: a lag or lead, ``lags_summed`` or ``r_squared``.
    bound : float
        The size up to which a coefficient is negligible.

    Returns
    -------
    Untrained, optional
        None if the quantity is unknown at every scale.
    """
    rows = before[before["quantity"] == quantity].dropna(subset="before")
    if rows.empty:
        return None
    scales = tuple(_at_scale(row, bound) for row in rows.to_dict("records"))
    return Untrained(scales, rows["trained"].median(), bound)


def by_scale(before: pd.DataFrame, alpha: float) -> Iterator[Row]:
    """Yield each quantity before training (median layer), and what it is more than after, by scale.

    The latter is a mean over the layers, which has an interval.

    Parameters
    ----------
    before : DataFrame
        The table ``before_training``; scales that were left out have no value.
    alpha : float
        Of the intervals.
    """
    for row in before.dropna(subset="before").to_dict("records"):
        subject = f"{row['quantity']}, {row['scale']}"
        texts = int(row["documents"])
        yield Row(
            claim="before_training",
            subject=subject,
            value=float(row["before"]),
            baseline="after training",
            baseline_value=float(row["trained"]),
            texts=texts,
            table="before_training",
        )
        if pd.notna(row["difference"]):
            low = float(row["conf_low"])
            high = float(row["conf_high"])
            yield Row(
                claim="change_by_training",
                subject=subject,
                value=float(row["difference"]),
                low=low,
                high=high,
                level=1 - alpha,
                bound=0.0,
                texts=texts,
                verdict=verdict_of(low, high, 0.0),
                table="before_training",
            )


def _at_scale(row: Mapping[Any, Any], bound: float) -> AtScale:
    """Return a row of the table of comparisons as a scale with its verdicts."""
    direction = "undecided"
    if pd.isna(row["conf_low"]):
        direction = "unknown"
    elif row["conf_low"] > 0:
        direction = "more"
    elif row["conf_high"] < 0:
        direction = "less"
    scale = row["scale"]
    place = name_of_scale(scale)
    if scale != "by-depth":
        place = f"at {place} scale"
    return AtScale(
        place=place,
        value=row["before"],
        direction=direction,
        gone=bool(-bound < row["before_low"] and row["before_high"] < bound),
        above_own=bool(row["above_own"]),
    )


def averaging(r_squared: Untrained | None) -> str:
    """Return what an untrained copy does up to the model's own scale, if R² shows it."""
    usual: Sequence[AtScale] = r_squared.usual_weights if r_squared else ()
    if usual and min(scale.value for scale in usual) >= DETERMINED:
        return " (an untrained copy nearly averages its past)"
    return ""


def scales_in_words(before: pd.DataFrame) -> str:
    """Return the scales of the initial weights, their origins, and those left out."""
    texts, left_out = [], []
    for row in before.drop_duplicates("scale").to_dict("records"):
        text = name_of_scale(row["scale"])
        if row["left_out"]:
            left_out.append(f"{text} left out: {row['left_out']}")
            continue
        if row["scale"] != "by-depth" and pd.notna(row["initializer_range"]):
            text += f" {row['initializer_range']:.3g}"
            if row["origin"] == "assumed":
                text += " (assumed)"
        texts.append(text)
    return "; ".join([*texts, *left_out])


def assumed_scale(before: pd.DataFrame) -> str:
    """Return that the model's own scale is not known, if it is not."""
    assumed = before[before["origin"] == "assumed"]
    if assumed.empty:
        return ""
    row = assumed.iloc[0]
    own = row["initializer_range"] / multiple_of_own(row["scale"])
    return f"its own scale is not stated, {own:.3g} assumed"
