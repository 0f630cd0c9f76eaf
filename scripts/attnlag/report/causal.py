"""Findings of interventions in words."""

from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.causes import extremes
from attnlag.errors import counted
from attnlag.interventions.prediction_vs_effect import ALONE, SAME
from attnlag.report.wording import titled

# With more target layers, only the smallest and the largest effect are stated.
MOST_LAYERS = 6


def causal_findings(effects: pd.DataFrame, trials: pd.DataFrame, *, name: str, alpha: float) -> str:
    """Return the effects on the next token, layer by layer, beside what is predicted, as text.

    ``effects`` and ``trials`` are the tables ``total_effects`` and ``prediction_vs_effect``;
    intervals cover 1 - ``alpha``.
    """
    level = f"{100 * (1 - alpha):g}% intervals"
    lines = []
    effects = effects[effects["lag"] == 1]
    for (source, target), rows in effects.groupby(["source_site", "target_site"], sort=False):
        sites = _sites(source, target)
        documents = counted(int(rows["documents"].max()), "document")
        rows = extremes(rows, MOST_LAYERS)
        lines.append(
            f"{sites}: if a token's adjustments grow by 1% in all preceding layers, the next "
            f"token's change by {by_layer(rows, 'estimate', 'conf', 3)} ({level}, {documents})"
        )
        predicted = rows.dropna(subset="predicted_conf_low")
        if len(predicted):
            lines.append(
                f"{sites}: a regression on all preceding layers together, in the same tokens, "
                f"predicts {by_layer(predicted, 'predicted', 'predicted_conf', 2)}"
            )
        regressed = rows.dropna(subset="coefficient")
        if len(regressed):
            slopes = ", ".join(f"{slope:.2f}" for slope in regressed["coefficient"])
            regression = regressed["regression"].iloc[0]
            lines.append(f"{sites}: lag 1 of these layers themselves is {slopes} in {regression}")
        shared = rows.dropna(subset="share_low")
        if len(shared):
            per_cent = shared.assign(**100 * shared[["share", "share_low", "share_high"]])
            shares = by_layer(per_cent, "share", "share", 0)
            lines.append(
                f"{sites}: divided by these lags, the effects of all preceding layers together "
                f"are {shares}"
            )
    lines += [_trial(row) for row in trials.query("lag == 1").itertuples()]
    if effects.empty:
        lines.append("no document has a token with a previous one")
    return titled(f"{name}, interventions:", lines)


def _sites(source: Any, target: Any) -> str:
    return target if source == target else f"{source} to {target}"


def _trial(row: Any) -> str:
    """Return what the predictions of one kind say of the effects, in words."""
    sites = _sites(row.source_site, row.target_site)
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
        text += f" (by chance {row.by_chance:.1f})"
    if np.isfinite(row.rank_correlation):
        text += f"; rank correlation of sizes {row.rank_correlation:.2f}"
    return text


def by_layer(rows: pd.DataFrame, name: str, interval: str, digits: int) -> str:
    """Return percentages with their intervals, if there are any, layer by layer.

    ``name`` is their column; those of the ends are ``interval`` with ``_low`` and ``_high``.
    """
    texts = []
    for row in rows.to_dict("records"):
        text = percent(row[name], digits)
        low, high = row[f"{interval}_low"], row[f"{interval}_high"]
        if np.isfinite(low):
            text += f" ({percent(low, digits)} to {percent(high, digits)})"
        texts.append(f"{text} in layer {row['target_layer']}")
    return ", ".join(texts)


def percent(value: float, digits: int) -> str:
    """Return a number with the given decimals; a number that rounds to zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}%"
