"""Findings on directions of adjustments in words."""

import numpy as np
import pandas as pd

from attnlag.claims.directions import CENTRED, PLAIN, neighbours
from attnlag.claims.numbers import number
from attnlag.quantities.catalogue import STREAM_GROWTH
from attnlag.report.wording import in_common, titled

# What stands beside a mean cosine, by its column.
BESIDE = {
    "random_pairs": "; random pairs {:.2f}",
    "random_weights": "; before training (first scale) {:.2f}",
    "trained": ", after it, on the same texts, {:.2f}",
}


def geometry_findings(table: pd.DataFrame, name: str) -> str:
    """Return the findings on the growth and the turning of the stream, and on directions, as text.

    ``table`` is from `geometry_means.table`.
    """
    lines = ["no tokens remain: all are first tokens or have no norms"]
    if table["mean"].notna().any():
        lines = [*_growth(table), _turn(table), *_cosines(table)]
    return titled(f"{name}, directions:", lines)


def of_quantity(table: pd.DataFrame, quantity: str, distance: int | None = None) -> pd.DataFrame:
    """Return the rows of a quantity, by layer."""
    rows = table[table["quantity"] == quantity]
    if distance is not None:
        rows = rows[rows["distance"] == distance]
    return rows.set_index("layer").sort_index()


def _growth(table: pd.DataFrame) -> list[str]:
    """Return the growth of the stream from layer to layer."""
    steps = of_quantity(table, STREAM_GROWTH)["mean"].dropna()
    if steps.empty:
        return []
    factors = np.exp(steps)
    return [
        f"the stream grows by a factor of {number(factors.median())} per layer (median; geometric "
        f"mean {number(np.exp(steps.mean()))}), {number(factors.min())} in layer "
        f"{factors.idxmin()} to {number(factors.max())} in layer {factors.idxmax()}"
    ]


def _turn(table: pd.DataFrame) -> str:
    """Return whether adjustments grow the stream or turn it, compared with other tokens'."""
    along, across = (of_quantity(table, f"{way}_relative") for way in ("parallel", "orthogonal"))
    angle = of_quantity(table, "angle")[["mean", "random_pairs"]] * (180 / np.pi)
    against = int((along["mean"] < 0).sum())
    growth = in_common(along, ["mean", "random_pairs"]).median()
    turns = in_common(angle, ["mean", "random_pairs"]).median()
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
    return f"{text}; it points against the stream in {against} of {len(along)} layers"


def _cosines(table: pd.DataFrame) -> list[str]:
    """Return the cosine of adjustments of neighbours, and of random pairs."""
    lines = [neighbours(table).clause]
    for quantity, scope in ((PLAIN, "not centred"), (CENTRED, "minus the layer's mean")):
        rows = of_quantity(table, quantity, distance=1)
        if rows["mean"].notna().any():
            names = ["mean", "random_pairs", "random_weights", "trained"]
            medians = in_common(rows, names).median()
            beside = "".join(
                words.format(medians[name]) for name, words in BESIDE.items() if name in medians
            )
            lines.append(
                f"cosine with the adjustment of the previous token, {scope}: median "
                f"{medians['mean']:.2f} over the layers, {rows['mean'].min():.2f} (layer "
                f"{rows['mean'].idxmin()}) to {rows['mean'].max():.2f} (layer "
                f"{rows['mean'].idxmax()}){beside}"
            )
    return lines
