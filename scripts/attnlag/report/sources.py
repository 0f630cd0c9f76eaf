"""Findings on what adjustments are written by and what they say, in words."""

from typing import Any

import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.heads import WHOLE
from attnlag.regression.beyond.traced import next_ahead
from attnlag.regression.labels import with_minus_signs
from attnlag.regression.terms import lags_among, named

OF_TARGETS = {"own": "their own token", "next": "the next one", "first_choice": "its first choice"}


def sources_findings(
    shares: pd.DataFrame, neighbours: pd.DataFrame, lags: pd.DataFrame, name: str, proof: str
) -> str:
    """Return who writes adjustments, and whose part of them lags, from the tables of `traced`.

    ``proof`` is the error of the proof in words, or the reason why there are no sources.
    """
    if shares.empty:
        return f"{name}, sources:\n  {proof}\n"
    medians = shares.pivot(index="layer", columns="source", values="median")
    before, own, effective = (medians[name] for name in ("previous_1", "self", "effective"))
    first = shares[shares["source"] == "first"].set_index("layer")
    most: Any = (first["attention"] - first["mean"]).idxmax()
    lines = [
        f"the token before writes {before.max():.0%} of the adjustment in layer {before.idxmax()} "
        f"and {before.median():.0%} in the median layer, the token itself {own.median():.0%} (at "
        f"most {own.max():.0%}, in layer {own.idxmax()}); an adjustment is written by "
        f"{effective.median():.0f} tokens in the median layer (medians over tokens); the first "
        f"token has {first['attention'][most]:.0%} of the attention in layer {most} and writes "
        f"{first['mean'][most]:.0%} (means)",
        *_lag(lags, neighbours),
    ]
    text = "\n".join([f"{name}, sources:", *(f"  {line}" for line in lines)])
    return with_minus_signs(text) + "\n"


def _lag(lags: pd.DataFrame, neighbours: pd.DataFrame) -> list[str]:
    """Return the lags of what tokens write to themselves and of the rest, and why there is one."""
    words = []
    term = (lags_among(list(lags["term"])) or ["lag_1"])[0]
    own = lags[lags["term"] == term].dropna(subset="estimate")
    if len(own):
        by_part = own.groupby("part")["estimate"].median()
        words.append(
            f"{named(term)} of what a token writes to itself is {by_part['self']:.2f} in the "
            f"median layer, of what earlier tokens write {by_part['shared']:.2f}, of both together "
            f"{by_part[WHOLE]:.2f}"
        )
    means = neighbours.pivot(index="layer", columns="part", values="mean").dropna(how="all")
    if len(means):
        middle = means.median()
        words.append(
            f"the cosine of neighbours ({middle['all']:.2f}) comes from the first token "
            f"({middle['first']:.2f}), the token before ({middle['previous']:.2f}), other tokens "
            f"that write to both ({middle['common']:.2f}) and pairs of different tokens "
            f"({middle['other']:.2f})"
        )
    return ["; ".join(words)] if words else []


def readout_findings(table: pd.DataFrame, name: str, proof: str) -> str:
    """Return from which layer on adjustments raise the next token more than their own."""
    if table.empty or table["difference"].isna().all():
        return f"{name}, readout:\n  {proof}\n"
    by_target = table.pivot(index="layer", columns="target", values="difference")
    ahead, first = next_ahead(table)
    start = "adjustments raise the next token more than their own"
    if first is not None:
        start = f"from layer {first} on, {start}"
    peaks = ", ".join(
        f"{words} by {by_target[target].max():.2f} SD in layer {by_target[target].idxmax()}"
        for target, words in OF_TARGETS.items()
    )
    text = (
        f"{name}, readout:\n  {start} (in {ahead.sum()} of {counted(len(ahead), 'layer')} in all)\n"
        f"  at most they raise {peaks}, beyond the effect on the same token of another place\n"
    )
    return with_minus_signs(text)
