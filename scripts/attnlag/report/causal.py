"""Findings of interventions in words."""

from typing import Any

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims.causes import (
    DOING,
    by_layer,
    extremes,
    of_proportion,
    of_removal,
    on_a_later_token,
)
from attnlag.claims.numbers import number
from attnlag.errors import counted
from attnlag.interventions.prediction_vs_effect import ALONE, SAME

# With more target layers, only the smallest and the largest effect are stated.
MOST_LAYERS = 6

SOURCES_AND_TARGETS = ["source_site", "target_site", "source_layer"]


def causal_findings(
    effects: pd.DataFrame, trials: pd.DataFrame, changes: pd.DataFrame, alpha: float
) -> list[str]:
    """Return the effects on the next token, layer by layer, beside what is predicted.

    They are those of the tables ``total_effects``, ``prediction_vs_effect`` and, as ``changes``,
    ``finite_effects``.
    """
    lines = []
    effects = effects[effects["lag"] == 1]
    for (source, target), rows in effects.groupby(["source_site", "target_site"], sort=False):
        claim = on_a_later_token(rows, MOST_LAYERS)
        rows = extremes(rows[rows["target_layer"] > 0], MOST_LAYERS)
        level = f" ({100 * (1 - alpha):g}% intervals)" * bool(rows["conf_low"].notna().any())
        told = [f"{claim.clause}{level}"]
        if len(predicted := rows.dropna(subset="predicted_conf_low")):
            told.append(
                "a regression on all earlier layers together, over all documents, predicts "
                f"{by_layer(predicted, 'predicted', 'predicted_conf')}"
            )
        if len(regressed := rows.dropna(subset="coefficient")):
            slopes, regression = regressed["coefficient"], regressed["regression"].iloc[0]
            told.append(
                f"lag 1 of these layers themselves is {', '.join(map(number, slopes))} in "
                f"{regression}"
            )
        shared = rows.dropna(subset="share_low")
        if len(shared):
            told.append(
                "divided by what all earlier layers predict, their effects are "
                f"{by_layer(shared, 'share', 'share', unit='')}"
            )
        lines += [f"{_sites(source, target)}: {text}" for text in told]
    for row in trials.query("lag == 1").itertuples():
        lines.append(f"{_sites(row.source_site, row.target_site)}: {_trial(row)}")
    near = changes[changes["lag"] == 1]
    for (source, target, _), rows in near.groupby(SOURCES_AND_TARGETS, sort=False, observed=True):
        claims = []
        names = set(rows["intervention"])
        if "zero" in names:
            claims.append(of_removal(rows))
        claims += [of_proportion(rows, name) for name in DOING if name in names]
        lines += [f"{_sites(source, target)}: {claim.clause}" for claim in claims]
    if effects.empty:
        lines.append("no document has a token with a previous one")
    return lines


def _sites(source: Any, target: Any) -> str:
    return target if source == target else f"{source} to {target}"


def _trial(row: Any) -> str:
    """Return what the predictions of one kind say of the effects, in words."""
    if row.prediction == SAME:
        return (
            f"lag 1 of a layer on itself is significant in {row.significant} of "
            f"{counted(row.pairs, 'layer')}, where the effect is exactly zero"
        )
    predictor = "one layer"
    if row.prediction != ALONE:
        predictor += ", the source layer at that token held fixed,"
    text = wording.signs(predictor, int(row.same_sign), int(row.clear), row.by_chance)
    if np.isfinite(row.rank_correlation):
        text += f"; rank correlation of sizes {number(row.rank_correlation)}"
    return text
