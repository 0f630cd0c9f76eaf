"""Claims about the tokens that write adjustments, and about what adjustments say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, Verdict, over_layers
from attnlag.quantities.traced_means import NEXT_LESS_OWN
from attnlag.regression.terms import nearest_lag

# Sources whose shares are shown, or summed, with what they are called.
WRITERS = {
    ("self",): "the token itself",
    ("previous_1",): "the token before",
    ("first",): "the first token",
    ("previous_2", "previous_3", "previous_4"): "2 to 4 tokens before",
    ("rest", "bias"): "all others",
}

# Vocabulary tokens on which effects are measured.
TARGETS = {
    "own": "the token itself",
    "next": "the next token",
    "top1": "the model's first choice",
}


def shares(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return mean shares by writer and layer; only a single source has an interval."""
    by_writer = {}
    for sources, label in WRITERS.items():
        rows = table[table["source"].isin(sources)].groupby("layer")
        by_writer[label] = rows[["mean", "conf_low", "conf_high"]].sum(min_count=1)
        if len(sources) > 1:
            by_writer[label][["conf_low", "conf_high"]] = np.nan
    return by_writer


def claims_of_readout(effects: pd.DataFrame, alpha: float, adjust: str) -> Iterator[Row]:
    """Yield what the adjustments of a site say of tokens; nothing if it is unknown.

    ``effects`` are those of one site.
    """
    if effects.empty or effects["difference"].isna().all():
        return
    yield next_token(effects, alpha, adjust)
    by_target = effects.pivot(index="layer", columns="target", values="difference")
    for target in TARGETS:
        by_layer = by_target[target]
        place = int(by_layer.abs().argmax())
        yield Row(
            claim="readout_peak",
            subject=f"{target}, layer {by_layer.index[place]}",
            value=float(by_layer.iloc[place]),
            unit="SD over the vocabulary",
            layers=int(by_layer.notna().sum()),
            table="readout/means",
        )


def next_token(effects: pd.DataFrame, alpha: float, adjust: str = "") -> Row:
    """Return in how many layers the next token is raised more than the token itself, or less.

    The p-values are corrected over the layers; ``effects`` are those of one site.
    """
    rows = effects[effects["target"] == NEXT_LESS_OWN].dropna(subset="difference")
    differs = rows["p_adjusted"] < alpha
    verdict = Verdict.NONE
    if rows["p_adjusted"].isna().all():
        verdict = Verdict.TOO_FEW_TEXTS
    above = int((differs & (rows["difference"] > 0)).sum())
    below = int((differs & (rows["difference"] < 0)).sum())
    return Row(
        claim="next_token",
        subject=str(effects["site"].iloc[0]),
        value=float(rows["difference"].median()),
        level=1 - alpha,
        unit="SD over the vocabulary",
        bound=0.0,
        layers=len(rows),
        above=above,
        below=below,
        undecided=len(rows) - above - below,
        adjust=adjust,
        verdict=verdict,
        table="readout/means",
    )


def claims_of_sources(shares: pd.DataFrame, lags: pd.DataFrame) -> Iterator[Row]:
    """Yield which tokens write adjustments, and whose part of them lags; nothing if unknown."""
    if shares.empty:
        return
    yield from written_by(shares, "mean", "previous_1")
    yield first_token(shares)
    for source in ("previous_1", "self"):
        yield from written_by(shares, "median", source)
    effective = shares[shares["source"] == "effective"]
    yield over_layers(
        Row(claim="writers", unit="tokens", table="shares"),
        effective.set_index("layer")["median"],
    )
    term = nearest_lag(lags["term"])
    rows = lags[lags["term"] == term].dropna(subset="estimate")
    for part, estimates in rows.groupby("part", sort=False)["estimate"]:
        yield Row(
            claim="lag_of_part",
            subject=f"{term}, {part}",
            value=float(estimates.median()),
            layers=len(estimates),
            table="lags",
        )


def written_by(shares: pd.DataFrame, statistic: str, source: str) -> Iterator[Row]:
    """Yield how much of adjustments a source writes: the median layer, and the largest.

    The shares are means, or medians, over tokens.
    """
    by_layer = shares[shares["source"] == source].set_index("layer")[statistic]
    row = Row(claim="written_by", subject=f"{source}, {statistic}", table="shares")
    yield over_layers(row, by_layer)
    yield Row(
        claim="written_by_highest",
        subject=f"{source}, {statistic}, layer {by_layer.idxmax()}",
        value=float(by_layer.max()),
        table="shares",
    )


def first_token(shares: pd.DataFrame) -> Row:
    """Return what the first token writes where its attention exceeds it most, beside that."""
    first = shares[shares["source"] == "first"].set_index("layer")
    layer: Any = (first["attention"] - first["mean"]).idxmax()
    return Row(
        claim="first_token",
        subject=f"layer {layer}",
        value=float(first["mean"][layer]),
        baseline="attention",
        baseline_value=float(first["attention"][layer]),
        table="shares",
    )
