"""Claims about what training changed, by the scale of the initial weights."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from attnlag.claims.row import Row, over_layers, with_interval

# R² from which the tokens before are said to nearly determine a norm.
DETERMINED = 0.9

R_SQUARED = "r_squared"


def by_scale(before: pd.DataFrame | None, *, bound: float, nearest: str) -> Iterator[Row]:
    """Yield lags and R² of the untrained model by scale, and what training changed.

    Values are of the median layer, and have no interval. Means over the layers have one: that of
    the untrained model, which is ``within`` the bound where no lag is left, and that of the
    difference.

    Parameters
    ----------
    before : DataFrame, optional
        The table ``untrained_scales``; scales that were left out have no value. None if nothing was
        drawn.
    bound : float
        The size up to which a coefficient is negligible.
    nearest : str
        The lag or lead by which it is judged whether anything is known.
    """
    known = pd.DataFrame() if before is None else before.dropna(subset="before")
    if before is not None:
        yield from scales(before)
    if known.empty or nearest not in set(known["quantity"]):
        # Without a control, or where norms of the untrained model are constant.
        claim = "untrained_not_drawn" if before is None else "untrained_constant"
        yield Row(claim=claim, subject=nearest, table="untrained_scales")
        return
    for quantity, rows in known.groupby("quantity", sort=False):
        for row in rows.to_dict("records"):
            yield from _at_scale(str(quantity), row, bound)
        trained = Row(claim="trained", subject=str(quantity), table="untrained_scales")
        texts = int(rows["documents"].max())
        yield over_layers_of_scales(trained, rows["trained"], texts)
        extremes = Row(claim="untrained_extremes", subject=str(quantity), table="untrained_scales")
        yield over_layers_of_scales(extremes, rows["before"], texts)
    yield from determined(known)


def over_layers_of_scales(row: Row, values: pd.Series, texts: int) -> Row:
    """Return a claim with the median and the extremes of numbers by scale."""
    found = over_layers(row, values)
    return Row(
        claim=row.claim,
        subject=row.subject,
        value=found.value,
        baseline=found.baseline,
        baseline_low=found.baseline_low,
        baseline_high=found.baseline_high,
        texts=texts,
        table=row.table,
    )


def _at_scale(quantity: str, row: dict[Any, Any], bound: float) -> Iterator[Row]:
    """Yield a quantity before training at one scale, its mean, and the change by training."""
    subject = f"{quantity}, {row['scale']}"
    texts = int(row["documents"])
    yield Row(
        claim="untrained",
        subject=subject,
        value=float(row["before"]),
        baseline="after training",
        baseline_value=float(row["trained"]),
        texts=texts,
        table="untrained_scales",
    )
    if quantity == R_SQUARED:
        return
    if pd.notna(row["before_low"]):
        mean = {**row, "mean": (row["before_low"] + row["before_high"]) / 2}
        columns = ("mean", "before_low", "before_high")
        claim = Row(claim="untrained_mean", subject=subject, table="untrained_scales")
        yield with_interval(claim, mean, columns, bound=bound, texts=texts)
    claim = Row(claim="change_by_training", subject=subject, table="untrained_scales")
    columns = ("difference", "conf_low", "conf_high")
    yield with_interval(claim, row, columns, bound=0.0, texts=texts)


def determined(known: pd.DataFrame) -> Iterator[Row]:
    """Yield the smallest R² before training up to the model's own scale, if it is high.

    The tokens before then nearly determine the norm of a token's adjustment.
    """
    usual = known[(known["quantity"] == R_SQUARED) & ~known["above_own"].astype(bool)]
    smallest = usual["before"].min()
    if smallest >= DETERMINED:
        yield Row(
            claim="untrained_determined",
            value=float(smallest),
            bound=DETERMINED,
            table="untrained_scales",
        )


def scales(before: pd.DataFrame) -> Iterator[Row]:
    """Yield the scales of the initial weights, their origins, or why they were left out."""
    for row in before.drop_duplicates("scale").to_dict("records"):
        left_out = str(row["left_out"])
        claim = "scale"
        if left_out:
            claim = "scale_left_out"
        elif row["origin"] == "assumed":
            claim = "scale_assumed"
        yield Row(
            claim=claim,
            subject=str(row["scale"]),
            value=float(row["initializer_range"]),
            baseline=left_out or str(row["origin"]),
            table="untrained_scales",
        )
