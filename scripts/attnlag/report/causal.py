"""Findings of interventions in words."""

from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.verdicts import ALONE, SAME
from attnlag.regression.labels import with_minus_signs

# With more target layers, only the smallest and the largest effect are stated.
MOST_LAYERS = 6


def causal_findings(
    effects: pd.DataFrame, verdicts: pd.DataFrame, *, name: str, alpha: float, negligible: float
) -> str:
    """Return the effects on the next token, layer by layer, beside what is predicted, in words.

    ``effects`` is from `elasticities.transmitted`; intervals cover 1 - ``alpha``, and effects up to
    ``negligible`` are of no interest.
    """
    level = f"{100 * (1 - alpha):g}% intervals"
    lines = [f"{name}, interventions:"]
    nearest = effects[effects["lag"] == 1]
    for (source, target), rows in nearest.groupby(["source_site", "target_site"], sort=False):
        sites = target if source == target else f"{source} to {target}"
        documents = counted(int(rows["documents"].max()), "document")
        if len(rows) > MOST_LAYERS:
            rows = rows.loc[[rows["estimate"].idxmin(), rows["estimate"].idxmax()]]
        lines.append(
            f"{sites}: if a token's adjustments grow by 1% in all preceding layers, the next "
            f"token's change by {by_layer(rows, 'estimate', 3)} ({level}, {documents})"
        )
        known = rows[rows["predicted_conf_low"].notna()]
        if len(known):
            lines.append(
                f"{sites}: a regression on all preceding layers together, in the same tokens, "
                f"predicts {by_layer(known, 'predicted', 2)}"
            )
        known = rows[rows["coefficient"].notna()]
        if len(known):
            regression = known["regression"].iloc[0]
            slopes = ", ".join(f"{row.coefficient:.2f}" for row in known.itertuples())
            lines.append(f"{sites}: lag 1 of these layers themselves is {slopes} in {regression}")
        known = rows[rows["share_low"].notna()]
        if len(known):
            per_cent = known.assign(**100 * known[["share", "share_low", "share_high"]])
            lines.append(f"{sites}: the effects are {by_layer(per_cent, 'share', 0)} of these lags")
    lines += map(_trial, verdicts.query("lag == 1").itertuples(), repeat(negligible))
    if nearest.empty:
        lines.append("no document has a token with a previous one")
    return with_minus_signs("\n  ".join(lines)) + "\n"


def _trial(row: Any, negligible: float) -> str:
    """Return what the predictions of one kind say of the effects, in words."""
    source, target = row.source_site, row.target_site
    sites = target if source == target else f"{source} to {target}"
    if row.prediction == SAME:
        return (
            f"{sites}: lag 1 of a layer on itself is significant in {row.significant} of "
            f"{counted(row.pairs, 'layer')}, where the effect is exactly zero"
        )
    held = "" if row.prediction == ALONE else ", the source layer at that token held fixed,"
    text = (
        f"{sites}: prediction from one layer{held} is right about the sign in "
        f"{int(row.same_sign)} of {counted(row.clear, 'clear effect')}"
    )
    if row.clear:
        ends = (percent(100 * share, 0) for share in (row.agreement_low, row.agreement_high))
        share = percent(100 * row.same_sign / row.clear, 0)
        text += f" ({share}, {' to '.join(ends)}; at random 50%)"
    if np.isfinite(row.rank_correlation_low):
        text += (
            f"; rank correlation of sizes {row.rank_correlation:.2f} "
            f"({row.rank_correlation_low:.2f} to {row.rank_correlation_high:.2f})"
        )
    return text + (
        f"; {row.without_effect} of {counted(row.significant, 'significant coefficient')} have an "
        f"effect below {negligible:g}"
    )


def by_layer(rows: pd.DataFrame, name: str, digits: int) -> str:
    """Return percentages with their intervals, if there are any, layer by layer."""
    low, high = (
        (f"{name}_{end}" if name == "share" else f"{name}_conf_{end}".removeprefix("estimate_"))
        for end in ("low", "high")
    )
    parts = []
    for row in rows.to_dict("records"):
        text = percent(row[name], digits)
        if np.isfinite(row[low]):
            text += f" ({percent(row[low], digits)} to {percent(row[high], digits)})"
        parts.append(f"{text} in layer {row['target_layer']}")
    return ", ".join(parts)


def percent(value: float, digits: int) -> str:
    """Return a number with the given decimals; a number that rounds to zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}%"
