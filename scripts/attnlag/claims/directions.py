"""Claims about directions of adjustments."""

import numpy as np
import pandas as pd

from attnlag.claims.row import Row

PLAIN, CENTRED = "cosine_previous", "cosine_previous_centred"


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
            claim="cosine",
            subject=f"{quantity}, {distance}",
            value=float(by_distance[distance]),
            baseline="random pairs",
            baseline_value=pairs,
            table="directions",
        )
        found.append(claim)
    return found
