"""Claims about single attention heads: lag, share and attention sink."""

import numpy as np
import pandas as pd

from attnlag.claims.claim import Claim
from attnlag.claims.numbers import number, percent
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import named, nearest_lag

# Columns of the controls of a coefficient, with the names of baselines.
CONTROLS = {"random_weights": "before training", "trained": "after it"}


def lag(coefficients: pd.DataFrame) -> Claim | None:
    """Return the nearest lag of heads, of their sum and before training, if known."""
    term = nearest_lag(coefficients["term"])
    rows = coefficients[coefficients["term"] == term].dropna(subset="estimate")
    heads = rows[~rows["part"].isin([WHOLE, ABOVE])]
    if heads.empty:
        return None
    columns = heads.columns[heads.notna().any()]
    known = [name for name in ("estimate", *CONTROLS) if name in columns]
    # Medians beside each other are of the same heads.
    shared = heads.dropna(subset=known)
    of_sum = rows[(rows["part"] == WHOLE) & rows["layer"].isin(shared["layer"])]["estimate"]
    medians = shared[known].median()
    sentence = f"{named(term).capitalize()} of single heads is {number(medians['estimate'])}"
    if len(of_sum):
        sentence += f", that of their sum {number(of_sum.median())}"
    return Claim(
        f"{sentence} (medians)",
        low=float(heads["estimate"].min()),
        high=float(heads["estimate"].max()),
        baseline={name: number(medians[c]) for c, name in CONTROLS.items() if c in medians},
    )


def of_controls(claim: Claim) -> str:
    """Return the controls of the lag of heads in words, "" without them."""
    sizes = ", ".join(map(" ".join, claim.baseline.items()))
    about = "(first scale of the weights; same documents, not corrected for bias)"
    return f"{sizes} {about}" if sizes else ""


def share(parts: pd.DataFrame) -> Claim | None:
    """Return the largest share of a head in its layer's squared norms, if known."""
    heads = parts[parts["part"] != WHOLE]
    if heads["share"].isna().all():
        return None
    largest, equal = float(heads["share"].max()), 1 / heads["part"].nunique()
    return Claim(
        f"One head has up to {percent(largest)} of its layer's squared norms ({percent(equal)} if "
        "equal)",
    )


def sink(parts: pd.DataFrame) -> Claim | None:
    """Return the attention of the median head to the first token, if known."""
    heads = parts[parts["part"] != WHOLE]
    median, equal = heads["sink"].median(), parts["sink_uniform"].iloc[0]
    if not np.isfinite(median):
        return None
    return Claim(
        f"The median head gives {percent(median)} of its attention to the first token "
        f"({percent(equal)} if equal)",
    )
