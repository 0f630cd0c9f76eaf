"""Claims about effects of adjustments on later ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isclose, isfinite
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.row import ESTIMATE, Row, Verdict, with_interval
from attnlag.interventions.prediction_vs_effect import SAME

# An effect below this share of what is predicted hardly makes it, and a change whose effect is
# within this of a ratio of 1 agrees with a small one.
HARDLY = 0.25

# Interventions whose effects are compared with those of a small change.
PROPORTIONAL = ("halve", "double")

PREDICTED = "predicted from all earlier layers"

# Columns of ``total_effects`` with a number, and the ends of its interval.
PREDICTION = ("predicted", "predicted_conf_low", "predicted_conf_high")
SHARE = ("share", "share_low", "share_high")
OWN_LAG = ("coefficient", "coefficient_conf_low", "coefficient_conf_high")


def on_the_next_token(
    total: pd.DataFrame,
    pairs: pd.DataFrame,
    trials: pd.DataFrame,
    changes: pd.DataFrame,
    *,
    source: str,
    target: str,
    texts: int,
) -> Iterator[Row]:
    """Yield all claims about effects of a site's adjustments on the next token's at another.

    Parameters
    ----------
    total, pairs, trials, changes : DataFrame
        The tables ``total_effects``, ``elasticities``, ``prediction_vs_effect`` and
        ``finite_effects``.
    source, target : str
        The site that was changed, and the one that was observed.
    texts : int
        Number of different texts in the corpus.
    """
    near = _of_pair(total, source, target)
    if near.empty:
        yield Row(claim="nothing", subject="causal", table="total_effects")
        return
    # A copy of a document tells nothing more.
    yield from effects_by_layer(near.assign(documents=near["documents"].clip(upper=texts)))
    yield from of_single_layers(pairs, source, target)
    for trial_row in _of_pair(trials, source, target).itertuples():
        yield trial(trial_row)
    finite_changes = _of_pair(changes, source, target)
    if len(finite_changes):
        for _, rows in finite_changes.groupby("source_layer", observed=True):
            yield from finite(rows)


def _of_pair(table: pd.DataFrame, source: str, target: str) -> pd.DataFrame:
    """Return the rows about the next token of one pair of sites."""
    if table.empty:
        return table
    return table[
        (table["source_site"] == source) & (table["target_site"] == target) & (table["lag"] == 1)
    ]


def of_single_layers(pairs: pd.DataFrame, source: str, target: str) -> Iterator[Row]:
    """Yield what single layers do to later ones, if any was changed before an observed one."""
    rows = _of_pair(pairs, source, target)
    if len(rows):
        rows = rows[rows["intervention"] == "derivative"]
        rows = rows[rows["source_layer"] < rows["target_layer"]]
    if len(rows):
        yield single_layers(rows)


def effects_by_layer(table: pd.DataFrame) -> Iterator[Row]:
    """Yield effects, shares and own lags of layers, and how many of the shares are decided."""
    is_predicted = bool(table["predicted_conf_low"].notna().any())
    found = shares(table)
    yield from effects(table)
    yield from predictions(table)
    yield from found
    yield from own_lags(table)
    yield decided(found, is_predicted)
    needed = documents_to_decide(table)
    if needed == needed:
        yield Row(claim="documents_to_decide", value=needed, table="total_effects")


def by_layer(
    table: pd.DataFrame,
    claim: str,
    columns: tuple[str, str, str],
    *,
    unit: str = "",
    bound: float = 0.0,
    documents: str = "documents",
) -> list[Row]:
    """Return a number with its interval for each target layer that has earlier ones.

    Parameters
    ----------
    table : DataFrame
        The rows of ``total_effects`` of one pair of sites and one lag.
    claim : str
        The name of the claims.
    columns : tuple of str
        The columns of the number, and of the ends of its interval.
    unit : str
        The unit of the number.
    bound : float
        The size beyond which a number counts.
    documents : str
        The column with the number of documents behind the interval; "" where few suffice.
    """
    found = []
    for row in table[table["target_layer"] > 0].to_dict("records"):
        layer = Row(
            claim=claim,
            subject=f"layer {row['target_layer']}",
            unit=unit,
            table="total_effects",
        )
        texts = int(row[documents]) if documents else None
        found.append(with_interval(layer, row, columns, bound=bound, texts=texts))
    return found


def effects(table: pd.DataFrame) -> list[Row]:
    """Return the effect of all earlier layers on a later token, by target layer.

    Values are in % of the later adjustment per 1% in all earlier layers. The baseline is what a
    regression on these layers predicts. ``table`` is as for `by_layer`.
    """
    found = []
    caused = by_layer(table, "effect", ESTIMATE, unit="%")
    predicted = by_layer(table, "effect_predicted", PREDICTION, documents="")
    for effect, prediction in zip(caused, predicted, strict=True):
        beside = replace(
            effect,
            baseline=PREDICTED,
            baseline_value=prediction.value,
            baseline_low=prediction.low,
            baseline_high=prediction.high,
        )
        found.append(beside)
    return found


def predictions(table: pd.DataFrame) -> list[Row]:
    """Return what a regression on all earlier layers predicts of the effects, where it does."""
    found = by_layer(table, "effect_predicted", PREDICTION, unit="%", documents="")
    return [row for row in found if isfinite(row.low)]


def shares(table: pd.DataFrame) -> list[Row]:
    """Return the effects of `effects` as shares of what all earlier layers predict.

    The verdict is ``within`` where the share lies within ±25%. Where the prediction may be zero, a
    share has no interval, and no verdict.
    """
    return by_layer(table, "effect_share", SHARE, bound=HARDLY)


def decided(found: Sequence[Row], is_predicted: bool) -> Row:
    """Return how many shares are within a quarter, above it, the other way, and undecided.

    A share without an interval is undecided, too. The verdict is that of all if nothing is
    predicted, or if texts are too few.
    """
    verdicts = [share.verdict for share in found]
    above = verdicts.count(Verdict.ABOVE)
    below = verdicts.count(Verdict.BELOW)
    within = verdicts.count(Verdict.WITHIN)
    verdict = Verdict.UNDECIDED
    undecided = len(verdicts) - above - below - within
    if Verdict.TOO_FEW_TEXTS in verdicts:
        verdict = Verdict.TOO_FEW_TEXTS
    elif not verdicts or not is_predicted:
        verdict = Verdict.NONE
    if verdict is not Verdict.UNDECIDED:
        undecided = 0
    return Row(
        claim="effects_decided",
        bound=HARDLY,
        layers=len(verdicts),
        above=above,
        below=below,
        within=within,
        undecided=undecided,
        texts=max((share.texts for share in found), default=-1),
        verdict=verdict,
        table="total_effects",
    )


def documents_to_decide(table: pd.DataFrame) -> float:
    """Return the number of documents that would decide all shares; NaN if unknown."""
    return float(table.loc[table["target_layer"] > 0, "documents_to_decide"].max())


def own_lags(table: pd.DataFrame) -> list[Row]:
    """Return the lags of the target layers on themselves, in the regression beside the effects."""
    found = by_layer(table, "own_lag", OWN_LAG, documents="")
    return [row for row in found if isfinite(row.value)]


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


def removal(changes: pd.DataFrame) -> Row:
    """Return what removing an adjustment does to the size of the next token's in later layers.

    ``changes`` are the rows of ``finite_effects`` of one pair of sites, source layer and distance.
    The value is the mean change of the log norm over the later layers.
    """
    row = changes[changes["intervention"] == "zero"].iloc[0].to_dict()
    claim = Row(
        claim="removal",
        subject=f"layer {row['source_layer']}",
        unit="log norm",
        layers=int(row["layers"]),
        above=int(row["clear"]),
        undecided=int(row["layers"] - row["clear"]),
        table="finite_effects",
    )
    return with_interval(claim, row, bound=0.0, texts=int(row["documents"]))


def proportion(changes: pd.DataFrame, intervention: str) -> Row:
    """Return how far the derivative foretells the effect of halving or doubling an adjustment.

    The value is the ratio of the change to that by the derivative, less 1: they agree if its
    interval lies within ±25%. ``changes`` are as for `removal`.
    """
    row = changes[changes["intervention"] == intervention].iloc[0]
    less_one = {name: row[name] - 1 for name in ("ratio", "ratio_low", "ratio_high")}
    less_one["level"] = row["level"]
    claim = Row(
        claim="proportion",
        subject=f"layer {row['source_layer']}, {intervention}",
        table="finite_effects",
    )
    columns = ("ratio", "ratio_low", "ratio_high")
    texts = int(row["documents"])
    return with_interval(claim, less_one, columns, bound=HARDLY, texts=texts)


def finite(changes: pd.DataFrame) -> Iterator[Row]:
    """Yield what removing, halving and doubling the adjustments of a layer do, if it was done."""
    names = set(changes["intervention"])
    if "zero" in names:
        yield removal(changes)
    for name in PROPORTIONAL:
        if name in names:
            yield proportion(changes, name)


def trial(row: Any) -> Row:
    """Return how often what a layer predicts has the sign of its effect, or is one where none is.

    ``row`` is one of ``prediction_vs_effect``. The subject is the kind of prediction; ``layers``
    counts the effects that are clear, and ``above`` those of them with the sign of the prediction.
    The value is the rank correlation of sizes. Where all effects, or all predictions, have one
    sign, they agree as often as by chance. Of a layer and itself, where the effect is zero,
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
    alike = isclose(row.same_sign, row.by_chance)
    return Row(
        claim="signs_alike" if alike else "signs",
        subject=str(row.prediction),
        value=float(row.rank_correlation),
        baseline="equal signs by chance",
        baseline_value=float(row.by_chance),
        layers=int(row.clear),
        above=int(row.same_sign),
        table="prediction_vs_effect",
    )
