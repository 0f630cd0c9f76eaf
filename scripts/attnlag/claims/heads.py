"""Claims about single attention heads: lag, share and attention sink."""

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, over_layers
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import nearest_lag

# Layers with most tokens at the floor, whose shares are stated.
MAX_FLOORS = 3


def claims_of_heads(
    parts: pd.DataFrame, coefficients: pd.DataFrame, settings: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield all claims about heads; ``nothing`` if no token has norms of its heads.

    ``settings`` are those of the tables, of `LagsOfPartsSettings`: the regression whose terms the
    regressions of heads have, and the bound of their lags. Nothing without heads.
    """
    if parts.empty:
        return
    largest = share(parts)
    if largest is None:
        yield Row(claim="nothing", subject="heads", table="heads")
        return
    yield largest
    layers = parts[parts["part"] == WHOLE].set_index("layer")
    heads = parts[parts["part"] != WHOLE]
    by_layer = heads.groupby("layer")["share"].max()
    yield over_layers(Row(claim="head_share_of_layer", table="heads"), by_layer)
    yield from coherence(layers["coherence"])
    if len(coefficients):
        for row in (
            lag(coefficients, str(settings["regression"])),
            lag_counted(coefficients, settings["equivalence_bound"]),
            lag_untrained(coefficients),
        ):
            if row is not None:
                yield row
    yield from floors(layers, coefficients)
    yield from sinks(parts)


def coherence(by_layer: pd.Series) -> Iterator[Row]:
    """Yield the coherence of heads: Σ|sum|² / Σ|head|² over tokens, 1 if they are orthogonal."""
    yield over_layers(Row(claim="head_coherence", bound=1.0, table="heads"), by_layer)
    if len(by_layer) > 1:
        extremes = {"lowest": by_layer.nsmallest(1), "highest": by_layer.nlargest(1)}
        for name, extreme in extremes.items():
            yield Row(
                claim="head_coherence_extreme",
                subject=f"layer {extreme.index[0]}, {name}",
                value=float(extreme.iloc[0]),
                table="heads",
            )


def floors(layers: pd.DataFrame, coefficients: pd.DataFrame) -> Iterator[Row]:
    """Yield the share of tokens at the floor, and the lag of the layer without these tokens.

    At the floor heads write the same as at the first token. The baseline of the lag is that of all
    tokens.
    """
    at_floor = layers["at_floor"]
    yield over_layers(Row(claim="head_floor", table="heads"), at_floor)
    rows = _of_nearest_lag(coefficients)
    by_part = rows.pivot(index="layer", columns="part", values="estimate")
    by_part = by_part.reindex(columns=[WHOLE, ABOVE]).dropna()
    for layer, value in at_floor.nlargest(MAX_FLOORS).items():
        yield Row(
            claim="head_floor_of_layer",
            subject=f"layer {layer}",
            value=float(value),
            table="heads",
        )
        estimates = by_part[by_part.index == layer]
        if len(estimates):
            yield Row(
                claim="head_lag_without_floor",
                subject=f"{rows['term'].iloc[0]}, layer {layer}",
                value=float(estimates[ABOVE].iloc[0]),
                baseline="with them",
                baseline_value=float(estimates[WHOLE].iloc[0]),
                table="head_coefficients",
            )


def lag(coefficients: pd.DataFrame, regression: str) -> Row | None:
    """Return the nearest lag of the median head, and of the sum of heads; None if unknown.

    Where the controls are known, both are of the heads that these have. The other terms are those
    of ``regression``.
    """
    rows = _of_nearest_lag(coefficients)
    heads = _single(rows)
    if heads.empty:
        return None
    shared = _with_controls(heads)
    sums = rows[(rows["part"] == WHOLE) & rows["layer"].isin(shared["layer"])]["estimate"]
    return Row(
        claim="head_lag",
        subject=f"{rows['term'].iloc[0]}, {regression}",
        value=float(shared["estimate"].median()),
        baseline="sum of the heads",
        baseline_value=float(sums.median()),
        layers=len(heads),
        table="head_coefficients",
    )


def lag_counted(coefficients: pd.DataFrame, bound: float) -> Row | None:
    """Return in how many heads the nearest lag is shown to be beyond a bound, and within it."""
    rows = _of_nearest_lag(coefficients)
    heads = _single(rows)
    if heads.empty or "equivalence" not in heads:
        return None
    present = heads["equivalence"] == "present"
    return Row(
        claim="head_lag_counted",
        subject=str(rows["term"].iloc[0]),
        bound=bound,
        layers=len(heads),
        above=int((present & (heads["estimate"] > 0)).sum()),
        below=int((present & (heads["estimate"] < 0)).sum()),
        within=int((heads["equivalence"] == "absent").sum()),
        undecided=int((heads["equivalence"] == "undecided").sum()),
        table="head_coefficients",
    )


def lag_untrained(coefficients: pd.DataFrame) -> Row | None:
    """Return the nearest lag of the median head before training, and after it; None if unknown.

    Both are of the same documents, and not corrected for bias.
    """
    rows = _of_nearest_lag(coefficients)
    shared = _with_controls(_single(rows))
    if shared.empty or "untrained" not in shared or shared["untrained"].isna().all():
        return None
    trained = nan
    if "trained" in shared:
        trained = float(shared["trained"].median())
    return Row(
        claim="head_lag_untrained",
        subject=str(rows["term"].iloc[0]),
        value=float(shared["untrained"].median()),
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


def sinks(parts: pd.DataFrame) -> Iterator[Row]:
    """Yield the attention of the median head to the first token, and that of layers.

    ``above`` counts the heads that give it more than half.
    """
    heads = parts[parts["part"] != WHOLE]
    median = float(heads["sink"].median())
    if not np.isfinite(median):
        return
    yield Row(
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
    layers = parts[parts["part"] == WHOLE].set_index("layer")
    if "sink_tokens" not in layers:
        return
    by_layer = layers["sink"].dropna()
    if len(by_layer):
        row = Row(claim="head_sink_of_layers", subject=f"layer {by_layer.idxmax()}", table="heads")
        yield over_layers(row, by_layer)
        yield Row(
            claim="head_sink_tokens",
            value=float(layers["sink_tokens"].iloc[0]),
            unit="tokens",
            table="heads",
        )
    floored = layers.dropna(subset=["sink_at_floor", "sink_above"])
    if len(floored):
        yield Row(
            claim="head_sink_at_floor",
            subject="median layer",
            value=float(floored["sink_at_floor"].median()),
            baseline="above the floor",
            baseline_value=float(floored["sink_above"].median()),
            layers=len(floored),
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
    known = [name for name in ("untrained", "trained") if name in heads]
    known = [name for name in known if heads[name].notna().any()]
    return heads.dropna(subset=known)
