"""Claims about directions of adjustments."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, over_layers
from attnlag.quantities.catalogue import STREAM_GROWTH

PLAIN, CENTRED = "cosine_previous", "cosine_previous_centred"

ALONG, ACROSS, ANGLE = "parallel_relative", "orthogonal_relative", "angle"


def claims_of_directions(means: pd.DataFrame) -> Iterator[Row]:
    """Yield all claims about directions; ``nothing`` if no token remains."""
    if means.empty:
        return
    if means["mean"].isna().all():
        yield Row(claim="nothing", subject="directions", table="directions")
        return
    yield from stream(means)
    yield from neighbours(means)
    yield from cosines(means)


def rows_of_quantity(
    means: pd.DataFrame, quantity: str, distance: int | None = None
) -> pd.DataFrame:
    """Return the rows of a quantity, by layer."""
    rows = means[means["quantity"] == quantity]
    if distance is not None:
        rows = rows[rows["distance"] == distance]
    return rows.set_index("layer").sort_index()


def stream(means: pd.DataFrame) -> Iterator[Row]:
    """Yield the growth of the stream by layer, and how adjustments grow and turn it.

    Baselines of the latter are the adjustments of tokens of other documents, in the same layers; a
    single document has none.
    """
    steps = rows_of_quantity(means, STREAM_GROWTH)["mean"].dropna()
    if len(steps):
        factors = np.exp(steps)
        growth = Row(claim="stream_growth", unit="factor per layer", table="directions")
        yield over_layers(growth, factors)
        yield Row(
            claim="stream_growth_mean",
            value=float(np.exp(steps.mean())),
            unit="factor per layer",
            layers=len(steps),
            table="directions",
        )
        for name, layer in (("smallest", factors.idxmin()), ("largest", factors.idxmax())):
            yield Row(
                claim="stream_growth_extreme",
                subject=f"layer {layer}, {name}",
                value=float(factors[layer]),
                unit="factor per layer",
                table="directions",
            )
    for claim, quantity, factor, unit in (
        ("stream_along", ALONG, 1.0, "share of the stream"),
        ("stream_across", ACROSS, 1.0, "share of the stream"),
        ("stream_angle", ANGLE, 180 / np.pi, "degrees"),
    ):
        yield beside_random_pairs(rows_of_quantity(means, quantity), claim, factor, unit)


def beside_random_pairs(rows: pd.DataFrame, claim: str, factor: float, unit: str) -> Row:
    """Return the median of a mean over the layers, beside that of random pairs.

    Both are of the same layers; ``above`` and ``below`` count the layers by sign.
    """
    known = factor * rows[["mean", "random_pairs"]]
    if known["random_pairs"].notna().any():
        known = known.dropna()
    return Row(
        claim=claim,
        value=float(known["mean"].median()),
        unit=unit,
        bound=0.0,
        baseline="random pairs",
        baseline_value=float(known["random_pairs"].median()),
        layers=len(rows),
        above=int((rows["mean"] > 0).sum()),
        below=int((rows["mean"] < 0).sum()),
        table="directions",
    )


def cosines(means: pd.DataFrame) -> Iterator[Row]:
    """Yield the cosine of neighbours over the layers, and what stands beside it.

    These are the means of random pairs, and those before and after training on the same texts, in
    the layers that have all of them.
    """
    for quantity in (PLAIN, CENTRED):
        rows = rows_of_quantity(means, quantity, distance=1)
        if rows["mean"].isna().all():
            continue
        yield over_layers(
            Row(claim="cosine_range", subject=quantity, table="directions"), rows["mean"]
        )
        columns = ["random_pairs", "untrained", "trained"]
        filled = [name for name in columns if name in rows and rows[name].notna().any()]
        medians = rows[["mean", *filled]].dropna().median()
        for name in filled:
            yield Row(
                claim="cosine_beside",
                subject=f"{quantity}, {name}",
                value=float(medians[name]),
                baseline="all texts",
                baseline_value=float(medians["mean"]),
                table="directions",
            )


def neighbours(means: pd.DataFrame) -> list[Row]:
    """Return the cosine of adjustments (median layer) of neighbours and of the farthest pairs.

    It is the centred one if it is known. The subject is a quantity and a distance in tokens.
    """
    rows = means[means["quantity"].isin([PLAIN, CENTRED])].astype({"distance": int})
    medians = rows.groupby(["quantity", "distance"])["mean"].median().dropna()
    known = medians.index.get_level_values("quantity")
    quantity = CENTRED if CENTRED in known else PLAIN
    if quantity not in known:
        return []
    by_distance = medians[quantity]
    distances = dict.fromkeys((int(by_distance.index.min()), int(by_distance.index.max())))
    found = []
    for distance in distances:
        pairs = np.nan
        if "random_pairs" in rows:
            here = (rows["quantity"] == quantity) & (rows["distance"] == distance)
            pairs = float(rows.loc[here, "random_pairs"].median())
        claim = Row(
            claim="cosine" if distance == min(distances) else "cosine_far",
            subject=f"{quantity}, {distance}",
            value=float(by_distance[distance]),
            baseline="random pairs",
            baseline_value=pairs,
            table="directions",
        )
        found.append(claim)
    return found
