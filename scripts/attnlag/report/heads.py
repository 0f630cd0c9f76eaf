"""Findings on attention heads in words."""

import pandas as pd

from attnlag import wording
from attnlag.claims import heads as claims
from attnlag.claims.numbers import number, percent
from attnlag.errors import counted
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import named, nearest_lag
from attnlag.report.wording import extent, over_layers


def heads_findings(
    parts: pd.DataFrame, coefficients: pd.DataFrame, regression: str, check: str, sinks: str
) -> list[str]:
    """Return the findings on shares, coherence, lags, floor and attention sinks of heads.

    ``check`` is the error of the sum of heads, or why some layers or all have none; ``sinks`` is
    why attention to first tokens is unknown.
    """
    if parts.empty:
        return [check]
    by_head = parts[parts["part"] != WHOLE]
    share = claims.share(parts)
    if share is None:
        return ["no tokens remain: all are first tokens or have no norms"]
    layers = parts[parts["part"] == WHOLE].set_index("layer")
    largest = by_head.groupby("layer")["share"].max()
    coherence = layers["coherence"]
    lags = coefficients[coefficients["term"] == nearest_lag(coefficients["term"])]
    lags = lags.dropna(subset="estimate")
    return [
        f"{wording.clause(wording.of_heads(share))}, in {share.subject}; the largest head of the "
        f"median layer has {percent(largest.median())}",
        f"coherence, Σ|sum|² / Σ|head|² over tokens, is {over_layers(coherence, extent)}; "
        "orthogonal heads have 1",
        *_lags(lags, regression),
        _floor(layers, lags),
        *_sinks(by_head, layers, sinks),
        check,
    ]


def _lags(lags: pd.DataFrame, regression: str) -> list[str]:
    """Return the lag of single heads, of their sum and of the controls."""
    claim = claims.lag(lags)
    if claim is None:
        return []
    lines = wording.head_findings(claim, regression)
    before = claims.lag_before_training(lags)
    if before:
        lines.append(wording.head_before_training(before))
    return lines


def _floor(layers: pd.DataFrame, lags: pd.DataFrame) -> str:
    """Return the layers with tokens at the floor, and their lag without these tokens."""
    at_floor = layers["at_floor"]
    most = at_floor.nlargest(3)
    shares = ", ".join(f"{share:.0%} in layer {layer}" for layer, share in most.items())
    text = (
        f"tokens at the floor, where heads write the same as at the first token: {shares}, "
        f"{percent(at_floor.median(), 1)} in the median layer"
    )
    by_part = lags.pivot(index="layer", columns="part", values="estimate")
    by_part = by_part.reindex(index=most.index, columns=[WHOLE, ABOVE]).dropna()
    if by_part.empty:
        return text
    estimates = ", ".join(
        f"{number(above)} ({number(whole)} with them)"
        for whole, above in by_part.itertuples(index=False)
    )
    return f"{text}; without these tokens {named(lags['term'].iloc[0])} there is {estimates}"


def _sinks(by_head: pd.DataFrame, layers: pd.DataFrame, reason: str) -> list[str]:
    """Return the attention of heads to the first token, also for tokens at the floor."""
    claim = claims.sink(by_head)
    if claim is None:
        return [reason]
    sink = layers["sink"]
    lines = [
        f"{wording.clause(wording.of_heads(claim))}; heads give {percent(sink.median())} in the "
        f"median layer, {percent(sink.max())} in layer {sink.idxmax()}, and more than half in "
        f"{claim.above} of {claim.layers} heads (mean over "
        f"{int(layers['sink_tokens'].iloc[0]):,} tokens at the beginnings of sequences)"
    ]
    floored = layers.dropna(subset=["sink_at_floor", "sink_above"])
    if len(floored):
        row = floored.iloc[int(floored["at_floor"].argmax())]
        at_floor, above = floored["sink_at_floor"].median(), floored["sink_above"].median()
        lines.append(
            f"tokens at the floor give {at_floor:.0%} of their attention to the first token, those "
            f"above it {above:.0%} (medians over the {counted(len(floored), 'layer')} with any); "
            f"in layer {row.name}, with {row['at_floor']:.0%} of its tokens at the floor, "
            f"{row['sink_at_floor']:.0%} and {row['sink_above']:.0%}"
        )
    return lines
