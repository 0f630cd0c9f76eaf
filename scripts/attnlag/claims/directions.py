"""Claims about directions of adjustments."""

import numpy as np
import pandas as pd

from attnlag.claims.claim import Claim
from attnlag.claims.numbers import number

PLAIN, CENTRED = "cosine_previous", "cosine_previous_centred"

# A cosine up to this hardly points the same way.
HARDLY = 0.1


def neighbours(means: pd.DataFrame) -> Claim:
    """Return the cosine of neighbours (median layer), and how it falls with distance."""
    medians = means[means["distance"] == 1].groupby("quantity")["mean"].median()
    kind, name = (CENTRED, "centred cosine") if CENTRED in medians else (PLAIN, "cosine")
    size = float(medians.get(kind, np.nan))
    if not np.isfinite(size):
        return Claim("No two neighbours have a cosine")
    hardly = "hardly " * (size <= HARDLY)
    sentence = f"Neighbours are {hardly}pushed the same way ({name} {number(size)}, median layer)"
    rows = means[means["quantity"] == CENTRED]
    fallen = rows.astype({"distance": int}).groupby("distance")["mean"].median()
    if len(fallen) > 1 and not hardly:
        half, last = fallen.index[fallen <= size / 2], fallen.index[-1]
        if len(half):
            sentence += f"; the likeness halves within {half[0]} tokens"
        else:
            sentence += f"; at {last} tokens it is still {number(fallen[last])}"
    return Claim(sentence)
