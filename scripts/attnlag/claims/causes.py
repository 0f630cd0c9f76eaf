"""Claims about effects of adjustments on later ones."""

from collections.abc import Hashable, Iterator, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, Verdict, verdict_of
from attnlag.interventions.prediction_vs_effect import SAME
from attnlag.regression.limits import MIN_DOCUMENTS

# An effect below this share of what is predicted hardly makes it, and a change whose effect is
# within this of a ratio of 1 agrees with a small one.
HARDLY = 0.25

# Interventions whose effects are compared with those of a small change.
PROPORTIONAL = ("halve", "double")

PREDICTED = "predicted from all earlier layers"


def effects(table: pd.DataFrame, alpha: float) -> list[Row]:
    """Return the effect of all earlier layers on a later token, by target layer.

    ``table`` has the rows of ``total_effects`` of one pair of sites and one lag. Values are in % of
    the later adjustment per 1% in all earlier layers; the first layer has none before it.
    """
    found = []
    for row in _with_earlier_layers(table):
        low = float(row["conf_low"])
        high = float(row["conf_high"])
        claim = Row(
            claim="effect",
            subject=_layer(row),
            value=float(row["estimate"]),
            low=low,
            high=high,
            level=1 - alpha,
            unit="%",
            bound=0.0,
            baseline=PREDICTED,
            baseline_value=float(row.get("predicted", nan)),
            baseline_low=float(row["predicted_conf_low"]),
            baseline_high=float(row.get("predicted_conf_high", nan)),
            texts=int(row["documents"]),
            verdict=verdict_of(low, high, 0.0),
            table="total_effects",
        )
        found.append(claim)
    return found


def shares(table: pd.DataFrame, alpha: float) -> list[Row]:
    """Return the effects of `effects` as shares of what all earlier layers predict.

    The verdict is ``within`` where the share lies within ±25%, and ``undecided`` also where it is
    unknown because the prediction may be zero. Without any prediction there is no verdict.
    """
    is_predicted = table["predicted_conf_low"].notna().any()
    found = []
    for row in _with_earlier_layers(table):
        low = float(row["share_low"])
        high = float(row["share_high"])
        verdict = verdict_of(low, high, HARDLY)
        if verdict is Verdict.NONE and is_predicted:
            verdict = Verdict.UNDECIDED
        if row["documents"] < MIN_DOCUMENTS:
            verdict = Verdict.TOO_FEW_TEXTS
        claim = Row(
            claim="effect_share",
            subject=_layer(row),
            value=float(row.get("share", nan)),
            low=low,
            high=high,
            level=1 - alpha,
            bound=HARDLY,
            texts=int(row["documents"]),
            verdict=verdict,
            table="total_effects",
        )
        found.append(claim)
    return found


def documents_to_decide(table: pd.DataFrame) -> float:
    """Return the number of documents that would decide all shares; NaN if unknown."""
    return float(table.loc[table["target_layer"] > 0, "documents_to_decide"].max())


def own_lags(table: pd.DataFrame) -> list[Row]:
    """Return the lags of the target layers on themselves, in the regression beside the effects."""
    found = []
    for row in _with_earlier_layers(table):
        if isfinite(row["coefficient"]):
            claim = Row(
                claim="own_lag",
                subject=_layer(row),
                value=float(row["coefficient"]),
                table="total_effects",
            )
            found.append(claim)
    return found


def extremes(rows: Sequence[Row], most: int) -> list[Row]:
    """Return claims by layer, or the smallest and the largest of more than ``most``."""
    if len(rows) <= most:
        return list(rows)
    by_value = sorted(rows, key=lambda row: row.value)
    return [by_value[0], by_value[-1]]


def single_layers(pairs: pd.DataFrame) -> Row:
    """Return how far single layers change the next token's adjustment in others, and predict it.

    Both are what intervals show: the value is the end farthest from zero of all effects, and the
    baseline that end nearest to zero of predictions which is largest in size; up to zero, none is
    shown. The verdict is ``within`` if the value is below a quarter of the baseline, else
    ``above``; there is none without a prediction.
    """
    nearest = np.maximum(pairs["predictive_conf_low"], -pairs["predictive_conf_high"])
    farthest = np.maximum(pairs["conf_high"], -pairs["conf_low"])
    predicted = float(nearest.max())
    caused = float(farthest.max())
    verdict = Verdict.NONE
    if not isfinite(caused):
        verdict = Verdict.TOO_FEW_TEXTS
    elif predicted > 0:
        verdict = Verdict.ABOVE
        if caused < HARDLY * predicted:
            verdict = Verdict.WITHIN
    return Row(
        claim="single_layers",
        subject="any layer",
        value=caused,
        unit="%",
        baseline="predicted from the layer alone",
        baseline_value=predicted,
        verdict=verdict,
        table="elasticities",
    )


def removal(changes: pd.DataFrame, alpha: float) -> Row:
    """Return what removing an adjustment does to the size of the next token's in later layers.

    ``changes`` are the rows of ``finite_effects`` of one pair of sites, source layer and distance.
    The value is the mean change of the log norm over the later layers.
    """
    row = changes[changes["intervention"] == "zero"].iloc[0]
    low = float(row["conf_low"])
    high = float(row["conf_high"])
    return Row(
        claim="removal",
        subject=f"layer {row['source_layer']}",
        value=float(row["estimate"]),
        low=low,
        high=high,
        level=1 - alpha,
        bound=0.0,
        layers=int(row["layers"]),
        undecided=int(row["layers"] - row["clear"]),
        texts=int(row["documents"]),
        verdict=verdict_of(low, high, 0.0),
        table="finite_effects",
    )


def proportion(changes: pd.DataFrame, intervention: str, alpha: float) -> Row:
    """Return how far the derivative foretells the effect of halving or doubling an adjustment.

    The value is the ratio of the change to that by the derivative, less 1: they agree if its
    interval lies within ±25%. ``changes`` are as for `removal`.
    """
    row = changes[changes["intervention"] == intervention].iloc[0]
    low = float(row["ratio_low"]) - 1
    high = float(row["ratio_high"]) - 1
    return Row(
        claim="proportion",
        subject=f"layer {row['source_layer']}, {intervention}",
        value=float(row["ratio"]) - 1,
        low=low,
        high=high,
        level=1 - alpha,
        bound=HARDLY,
        texts=int(row["documents"]),
        verdict=verdict_of(low, high, HARDLY),
        table="finite_effects",
    )


def finite(changes: pd.DataFrame, alpha: float) -> Iterator[Row]:
    """Yield what removing, halving and doubling the adjustments of a layer do, if it was done."""
    names = set(changes["intervention"])
    if "zero" in names:
        yield removal(changes, alpha)
    for name in PROPORTIONAL:
        if name in names:
            yield proportion(changes, name, alpha)


def trial(row: Any) -> Row:
    """Return how often what a layer predicts has the sign of its effect, or is one where none is.

    ``row`` is one of ``prediction_vs_effect``. The subject is the kind of prediction; ``layers``
    counts the effects that are clear, and ``above`` those of them with the sign of the prediction.
    The value is the rank correlation of sizes. Of a layer and itself, where the effect is zero,
    ``above`` counts the significant predictions.
    """
    if row.prediction == SAME:
        return Row(
            claim="same_layer",
            subject=SAME,
            layers=int(row.pairs),
            above=int(row.significant),
            table="prediction_vs_effect",
        )
    return Row(
        claim="signs",
        subject=str(row.prediction),
        value=float(row.rank_correlation),
        baseline="equal signs by chance",
        baseline_value=float(row.by_chance),
        layers=int(row.clear),
        above=int(row.same_sign),
        table="prediction_vs_effect",
    )


def _with_earlier_layers(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the rows of the layers that have earlier ones."""
    return table[table["target_layer"] > 0].to_dict("records")


def _layer(row: dict[Hashable, Any]) -> str:
    return f"layer {row['target_layer']}"
