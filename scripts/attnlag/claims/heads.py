"""Claims about single attention heads: lag, share and attention sink."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from attnlag.claims.row import Row
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import nearest_lag


def lag(coefficients: pd.DataFrame) -> Row | None:
    """Return the nearest lag of the median head, and of the sum of heads; None if unknown.

    Where the controls are known, both are of the heads that these have. The counts are of all
    heads.
    """
    rows = _of_nearest_lag(coefficients)
    heads = _single(rows)
    if heads.empty:
        return None
    shared = _with_controls(heads)
    of_sum = rows[(rows["part"] == WHOLE) & rows["layer"].isin(shared["layer"])]["estimate"]
    row = Row(
        claim="head_lag",
        subject=str(rows["term"].iloc[0]),
        value=float(shared["estimate"].median()),
        baseline="sum of the heads",
        baseline_value=float(of_sum.median()),
        layers=len(heads),
        table="head_coefficients",
    )
    if "equivalence" not in heads:
        return row
    present = heads["equivalence"] == "present"
    return replace(
        row,
        above=int((present & (heads["estimate"] > 0)).sum()),
        below=int((present & (heads["estimate"] < 0)).sum()),
        within=int((heads["equivalence"] == "absent").sum()),
        undecided=int((heads["equivalence"] == "undecided").sum()),
    )


def lag_before_training(coefficients: pd.DataFrame) -> Row | None:
    """Return the nearest lag of the median head before training, and after it; None if unknown.

    Both are of the same documents, and not corrected for bias.
    """
    rows = _of_nearest_lag(coefficients)
    shared = _with_controls(_single(rows))
    if shared.empty or "random_weights" not in shared or shared["random_weights"].isna().all():
        return None
    trained = nan
    if "trained" in shared:
        trained = float(shared["trained"].median())
    return Row(
        claim="head_lag_before_training",
        subject=str(rows["term"].iloc[0]),
        value=float(shared["random_weights"].median()),
        baseline="after training",
        baseline_value=trained,
        layers=len(shared),
        table="head_coefficients",
    )


def share(parts: pd.DataFrame) -> Row | None:
    """Return the largest share of a head in its layer's squared norms; None if unknown."""
    heads = parts[parts["part"] != WHOLE]
    if heads["share"].isna().all():
        return None
    largest = heads.iloc[int(heads["share"].argmax())]
    return Row(
        claim="head_share",
        subject=f"layer {largest['layer']}",
        value=float(largest["share"]),
        baseline="equal heads",
        baseline_value=1 / heads["part"].nunique(),
        table="heads",
    )


def sink(parts: pd.DataFrame) -> Row | None:
    """Return the attention of the median head to the first token; None if unknown.

    ``above`` counts the heads that give it more than half.
    """
    heads = parts[parts["part"] != WHOLE]
    median = float(heads["sink"].median())
    if not np.isfinite(median):
        return None
    return Row(
        claim="head_sink",
        subject="median head",
        value=median,
        bound=0.5,
        baseline="equal attention",
        baseline_value=float(parts["sink_uniform"].iloc[0]),
        layers=len(heads),
        above=int((heads["sink"] > 0.5).sum()),
        table="heads",
    )


def _of_nearest_lag(coefficients: pd.DataFrame) -> pd.DataFrame:
    term = nearest_lag(coefficients["term"])
    return coefficients[coefficients["term"] == term].dropna(subset="estimate")


def _single(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of single heads."""
    return rows[~rows["part"].isin([WHOLE, ABOVE])]


def _with_controls(heads: pd.DataFrame) -> pd.DataFrame:
    """Return the heads that have those controls that any head has."""
    known = [name for name in ("random_weights", "trained") if name in heads]
    known = [name for name in known if heads[name].notna().any()]
    return heads.dropna(subset=known)
