"""Findings on what adjustments are written by and what they say, in words."""

from typing import Any

import pandas as pd

from attnlag import wording
from attnlag.claims import sources as claims
from attnlag.claims.numbers import number, percent
from attnlag.errors import listed
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.head_shares import WHOLE
from attnlag.regression.labels import correction
from attnlag.regression.terms import named, nearest_lag


def sources_findings(shares: pd.DataFrame, lags: pd.DataFrame, check: str) -> list[str]:
    """Return which tokens write adjustments, and whose part of them lags.

    ``check`` is the error of the check in words, or why there are no sources.
    """
    if shares.empty:
        return [check]
    medians = shares.pivot(index="layer", columns="source", values="median")
    itself = medians["self"]
    effective = medians["effective"]
    of_previous = wording.median_and_most(*claims.previous_token(shares, "median"))
    first = shares[shares["source"] == "first"].set_index("layer")
    most: Any = (first["attention"] - first["mean"]).idxmax()
    lines = [
        f"{wording.clause(wording.written_by_previous(*claims.previous_token(shares)))}; the "
        "first token has "
        f"{percent(first['attention'][most])} of the attention and writes "
        f"{percent(first['mean'][most])} in layer {most}, where these differ most (means over "
        "tokens)",
        f"in medians over tokens, the token before writes {of_previous}, the token "
        f"itself {percent(itself.median())} (at most {percent(itself.max())}, in layer "
        f"{itself.idxmax()}); an adjustment is written by {effective.median():.0f} tokens in the "
        "median layer",
    ]
    term = nearest_lag(lags["term"])
    of_term = lags[lags["term"] == term].dropna(subset="estimate")
    if len(of_term):
        by_part = of_term.groupby("part")["estimate"].median()
        lines.append(
            f"{named(term)} of what a token writes to itself is {number(by_part['from_itself'])} "
            f"in the median layer, of what earlier tokens write {number(by_part['from_earlier'])}, "
            f"of both together {number(by_part[WHOLE])}"
        )
    return lines


def readout_findings(table: pd.DataFrame, check: str, alpha: float, adjust: str) -> list[str]:
    """Return whether adjustments raise the next token more than their own, and how far."""
    if table.empty or table["difference"].isna().all():
        return [check]
    by_target = table.pivot(index="layer", columns="target", values="difference")
    peaks = listed(
        [
            f"{words} by {number(by_target[target].max())} SD in layer {by_target[target].idxmax()}"
            for target, words in claims.TARGETS.items()
        ]
    )
    site = SITES[table["site"].iloc[0]].label
    next_token = wording.clause(wording.next_token(claims.next_token(table, alpha)))
    return [
        f"{next_token} (p < {alpha:g}, {correction(adjust)})",
        f"at most, the {site} raises {peaks}, beyond the effect on the same token of another place",
    ]
