"""Slopes that change with a number, such as the surprisal of a token.

With the number z, in standard deviations from its mean, the model is

    log a_t = α + δ z_t + Σ_k (β_k + η_k z_t) log a_{t-k} + e_t,

so that β_k is the slope at the mean and η_k its change per standard deviation. Linearity is an
assumption. It is checked against separate slopes for each third of the tokens, which assume no
form, by the test whether these add anything to the line (Hainmueller, Mummolo and Xu 2019).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attnlag.regression.design.properties import TERCILES, Property
from attnlag.regression.terms import LINEAR, is_lag, of_class

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
        found = json.loads(text)
        means = (np.nan if mean is None else mean for mean in found["means"])
        return cls(found["mean"], found["std"], tuple(found["cuts"]), tuple(means))


def scale_of(facts: Property) -> Scale:
    """Return the scale of a number; the standard deviation of a constant is set to 1."""
    known = facts.values[~np.isnan(facts.values)]
    if not len(known):
        return Scale(0.0, 1.0, (0.0, 0.0), (np.nan,) * len(TERCILES))
    cuts = np.quantile(known, [1 / 3, 2 / 3], method="inverted_cdf")
    thirds = np.searchsorted(cuts, known, side="left")
    size = np.bincount(thirds, minlength=len(TERCILES))
    sums = np.bincount(thirds, known, len(TERCILES))
    means = np.where(size > 0, sums / np.maximum(size, 1), np.nan)
    std = float(known.std()) or 1.0
    return Scale(float(known.mean()), std, tuple(cuts.tolist()), tuple(means.tolist()))


def terciles(facts: Property, scale: Scale) -> Property:
    """Return the third of each token as an index into `TERCILES`.

    Equal numbers are in the same third, so the thirds of a number with few values differ in size.
    """
    codes = np.searchsorted(scale.cuts, facts.values, side="left").astype(np.float64)
    codes[np.isnan(facts.values)] = np.nan
    return Property(facts.name, facts.starts, codes)


def schema_of(design: pa.Schema) -> pa.Schema:
    """Return the schema of a design with a number and its products with each lag and lead."""
    slopes = [
        pa.field(f"{layer}.{LINEAR}_{term}", pa.float64()) for layer, term in _lags(design.names)
    ]
    return pa.schema([*design, *slopes, pa.field(LINEAR, pa.float64())])


def expanded(
    batches: Iterable[pa.RecordBatch], facts: Property, scale: Scale, offset: int
) -> Iterator[pa.RecordBatch]:
    """Yield a design with a standardised number and its products with each lag and lead.

    A row whose token lacks the number is dropped by setting its outcomes to null.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        A design with its keys.
    facts : Property
        The number of each token.
    offset : int
        The token whose number is used: 0 for the outcome, -1 for the token before it.
    """
    for batch in batches:
        z = (facts.at(batch, offset) - scale.mean) / scale.std
        known = pa.array(~np.isnan(z))
        z = np.nan_to_num(z)
        columns = [
            pc.if_else(known, column, pa.scalar(None, column.type))
            if name.endswith(".y")
            else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        for layer, term in _lags(batch.schema.names):
            values = batch.column(f"{layer}.{term}").to_numpy(zero_copy_only=False)
            columns.append(pa.array(values * z))
        columns.append(pa.array(z))
        yield pa.RecordBatch.from_arrays(columns, schema=schema_of(batch.schema))


def points(names: Sequence[str], lags: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the weights that turn the terms of a regression into slopes at `POINTS`.

    Returns
    -------
    slopes : list of str
        Each lag and lead at each point, such as ``lag_1|-1 SD``, and `PER_SD`.
    weights : (slopes, terms) array
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


def _lags(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the layer and the term of each lag and lead in the columns of a design."""
    columns = (name.partition(".") for name in names if name.startswith("layer_"))
    return [(layer, term) for layer, _, term in columns if is_lag(term)]
