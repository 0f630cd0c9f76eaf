"""Slopes that change with a number, such as the surprisal of a token.

With the number z, in standard deviations from its mean, the model is

    log a_t = α + δ z_t + Σ_k (β_k + η_k z_t) log a_{t-k} + e_t,

so that β_k is the slope at the mean and η_k its change per standard deviation. Linearity is an
assumption. It is checked against separate slopes for each third of the tokens, which assume no
form, by the test whether these add anything to the line (Hainmueller, Mummolo and Xu 2019).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from attnlag.regression.design.properties import TERCILES, Property
from attnlag.regression.terms import LINEAR, of_class

# Points, in standard deviations from the mean, and the name of the change of a slope per one.
POINTS = {"-1 SD": -1.0, "0 SD": 0.0, "+1 SD": 1.0}
PER_SD = "per SD"


@dataclass(frozen=True)
class Scale:
    """The distribution of a number over all tokens of the corpus that have it."""

    mean: float
    std: float
    # The largest numbers in the lowest and the middle third.
    cuts: tuple[float, ...]
    # Mean of each third; NaN for a third without tokens.
    means: tuple[float, ...]

    def to_json(self) -> str:
        """Return the scale as JSON, in which an unknown mean is null."""
        means = [None if np.isnan(mean) else mean for mean in self.means]
        return json.dumps({**asdict(self), "means": means}, indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Scale":
        values = json.loads(text)
        means = (np.nan if mean is None else mean for mean in values["means"])
        return cls(values["mean"], values["std"], tuple(values["cuts"]), tuple(means))


def scale_of(facts: Property) -> Scale:
    """Return the scale of a number; the standard deviation of a constant is set to 1."""
    numbers = facts.values[~np.isnan(facts.values)]
    if not len(numbers):
        return Scale(0.0, 1.0, (0.0, 0.0), (np.nan,) * len(TERCILES))
    cuts = np.quantile(numbers, [1 / 3, 2 / 3], method="inverted_cdf")
    thirds = np.searchsorted(cuts, numbers, side="left")
    size = np.bincount(thirds, minlength=len(TERCILES))
    sums = np.bincount(thirds, numbers, len(TERCILES))
    means = np.where(size > 0, sums / np.maximum(size, 1), np.nan)
    std = float(numbers.std()) or 1.0
    return Scale(float(numbers.mean()), std, tuple(cuts.tolist()), tuple(means.tolist()))


def thirds_of(numbers: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the third of each number as an index into `TERCILES`; NaN if the number is unknown.

    Equal numbers are in the same third, so the thirds of a number with few values differ in size.
    """
    thirds = np.searchsorted(scale.cuts, numbers, side="left").astype(np.float64)
    thirds[np.isnan(numbers)] = np.nan
    return thirds


def points(names: Sequence[str], lags: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return names and weights, (slopes, terms), of the slopes at `POINTS` and of `PER_SD`.

    Slopes are named by lag or lead and point, as in ``lag_1|-1 SD``.
    """
    slopes, rows = [], []
    for lag in lags:
        for subset, z in (*POINTS.items(), (PER_SD, None)):
            row = np.zeros(len(names))
            row[names.index(lag)] = z is not None
            row[names.index(f"{LINEAR}_{lag}")] = 1.0 if z is None else z
            slopes.append(of_class(lag, subset))
            rows.append(row)
    return slopes, np.stack(rows)
