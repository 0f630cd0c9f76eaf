"""Findings on directions of adjustments in words."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims.directions import CENTRED, PLAIN, neighbours
from attnlag.claims.numbers import number
from attnlag.errors import counted
from attnlag.quantities.catalogue import STREAM_GROWTH
from attnlag.report.wording import extent, in_common

# What stands beside a mean cosine, by its column.
BESIDE = {
    "random_pairs": "; random pairs {}",
    "random_weights": "; before training (first scale) {}",
    "trained": ", after it, on the same texts, {}",
}


def geometry_findings(table: pd.DataFrame) -> list[str]:
    """Return how the stream grows and turns, and whether neighbours are alike."""
    if table["mean"].isna().all():
        return ["no tokens remain: all are first tokens or have no norms"]
    return [*_of_the_stream(table), *_cosines(table)]


def of_quantity(table: pd.DataFrame, quantity: str, distance: int | None = None) -> pd.DataFrame:
    """Return the rows of a quantity, by layer."""
    rows = table[table["quantity"] == quantity]
    if distance is not None:
        rows = rows[rows["distance"] == distance]
    return rows.set_index("layer").sort_index()


def _of_the_stream(table: pd.DataFrame) -> Iterator[str]:
    """Yield the growth of the stream, and whether adjustments grow it or turn it."""
    steps = of_quantity(table, STREAM_GROWTH)["mean"].dropna()
    if len(steps):
        factors = np.exp(steps)
        yield (
            f"the stream grows by a factor of {number(factors.median())} per layer (median; "
            f"geometric mean {number(np.exp(steps.mean()))}), {extent(factors)}"
        )
    along, across = (of_quantity(table, f"{way}_relative") for way in ("parallel", "orthogonal"))
    angle = of_quantity(table, "angle")[["mean", "random_pairs"]] * (180 / np.pi)
    growth, turns = (in_common(rows, ["mean", "random_pairs"]).median() for rows in (along, angle))
    text = (
        f"in the median layer an adjustment adds {growth['mean']:+.1%} of the stream along it and "
        f"{across['mean'].median():.1%} at right angles, and turns it by {turns['mean']:.1f}°"
    )
    # A single document has no tokens of other documents to compare with.
    if "random_pairs" in growth:
        text += (
            f" (that of a token of another document {growth['random_pairs']:+.1%} along it, "
            f"{turns['random_pairs']:.1f}°)"
        )
    against = int((along["mean"] < 0).sum())
    layers = counted(len(along), "layer")
    yield f"{text}; it points against the stream in {against} of {layers}"


def _cosines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the cosine of adjustments of neighbours, and of random pairs."""
    yield wording.clause(wording.neighbours(neighbours(table)))
    for quantity, scope in ((PLAIN, "not centred"), (CENTRED, "minus the layer's mean")):
        rows = of_quantity(table, quantity, distance=1)
        if rows["mean"].notna().any():
            medians = in_common(rows, ["mean", *BESIDE]).median()
            beside = [
                words.format(number(medians[name]))
                for name, words in BESIDE.items()
                if name in medians
            ]
            size = number(medians["mean"])
            several = f"median {size} over the layers, {extent(rows['mean'])}"
            yield (
                f"cosine with the adjustment of the previous token, {scope}: "
                f"{several if len(rows) > 1 else f'{size} in the one layer'}{''.join(beside)}"
            )
