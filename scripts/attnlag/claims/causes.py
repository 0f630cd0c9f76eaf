"""Claims about effects of adjustments on later ones."""

import numpy as np
import pandas as pd

from attnlag.claims.claim import Claim
from attnlag.claims.numbers import interval, number, percent, span
from attnlag.errors import counted
from attnlag.regression.limits import FEWEST_DOCUMENTS

# An effect below this share of what is predicted hardly makes it, and a change whose effect is
# within this of a ratio of 1 agrees with a small one.
HARDLY = 0.25

# Verdicts.
HARDLY_ANY, IN_PART, OTHER_WAY, UNDECIDED = "hardly", "in part", "the other way", "undecided"
VERDICTS = [HARDLY_ANY, IN_PART, OTHER_WAY, UNDECIDED]
LONGER, SHORTER = "longer", "shorter"
AGREES, DIFFERS = "agrees", "differs"

# What interventions do, as the subject of a sentence.
DOING = {"halve": "Halving", "double": "Doubling"}

# More documents than this are not counted.
MOST_DOCUMENTS = 10_000

# Target layers whose effects are named one by one.
MOST_LAYERS = 4


def extremes(effects: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the effects by layer, or the two extremes of more than ``most``."""
    if len(effects) <= most:
        return effects
    return effects.loc[[effects["estimate"].idxmin(), effects["estimate"].idxmax()]]


def on_a_later_token(table: pd.DataFrame, most: int = MOST_LAYERS) -> Claim:
    """Return the effects of all earlier layers on a later token, beside what these layers predict.

    ``table`` has the rows of ``total_effects`` of one pair of sites and one lag. If these are of
    more target layers than ``most``, the smallest and the largest effect are named.
    """
    table = table[table["target_layer"] > 0]
    if table.empty:
        return Claim("No observed layer has an earlier one")
    documents = int(table["documents"].max())
    verdict = "" if documents >= FEWEST_DOCUMENTS else "Too few documents to tell"
    if not verdict and table["predicted_conf_low"].notna().any():
        verdict = _verdict(table)
    effects = by_layer(extremes(table, most), "estimate", "conf")
    distance = int(table["lag"].iloc[0])
    later = "the next" if distance == 1 else f"that {distance} tokens later"
    sentence = f"1% longer in all earlier layers changes {later} by {effects}"
    layers = f"{counted(len(table), 'layer')}, " * (len(table) > most)
    sentence += f"; {layers}{counted(documents, 'document')}"
    needed = table["documents_to_decide"].dropna()
    if len(needed) and UNDECIDED in verdict.lower():
        sentence += f" (to decide all: {_documents_needed(needed.max())})"
    return Claim(sentence, verdict=verdict, baseline=_associations(table, most, verdict))


def of_single_layers(pairs: pd.DataFrame) -> Claim:
    """Return how far layers predict the next token's adjustment in others, and change it.

    Both are what intervals show: the largest prediction is at least as large as the end nearest to
    zero of any interval, and no effect is larger than the end farthest from zero of all.
    """
    if pairs["conf_low"].isna().all():
        return Claim("Too few documents to tell how far layers change the next token's adjustment")
    nearest = np.maximum(pairs["predictive_conf_low"], -pairs["predictive_conf_high"])
    farthest = np.maximum(pairs["conf_high"], -pairs["conf_low"])
    predicted = float(nearest.max())
    caused = float(farthest.max())
    if not predicted > 0:
        return Claim(
            "No earlier layer is shown to predict the next token's adjustment; each changes it by "
            f"at most {number(caused)}% per 1%"
        )
    changing = "and change it"
    if caused < HARDLY * predicted:
        changing = "but hardly change it"
    return Claim(
        f"Earlier layers predict the next token's adjustment (one by at least {number(predicted)}% "
        f"per 1%) {changing} (each by at most {number(caused)}%)"
    )


def of_removal(effects: pd.DataFrame) -> Claim:
    """Return what removing an adjustment does to the size of the next token's in later layers.

    ``effects`` are the rows of ``finite_effects`` of one pair of sites, source layer and distance.
    The value is the mean change of the log norm over these layers. The verdict is ``longer``,
    ``shorter`` or ``undecided``; there is none without an interval.
    """
    row = effects[effects["intervention"] == "zero"].iloc[0]
    value, low, high = (float(row[name]) for name in ("estimate", "conf_low", "conf_high"))
    verdict = ""
    if low > 0:
        verdict = LONGER
    elif high < 0:
        verdict = SHORTER
    elif low <= 0 <= high:
        verdict = UNDECIDED
    within = ""
    if verdict:
        within = f" ({percent(low, 1)} to {percent(high, 1)})"
    later = counted(int(row["layers"]), "later layer")
    sentence = (
        f"Removing an adjustment of layer {row['source_layer']} changes the next token's by "
        f"{percent(value, 1)}{within} on average over {later}, and clearly in {row['clear']:.0f}; "
        f"{counted(int(row['documents']), 'document')}"
    )
    return Claim(sentence, value, low, high, verdict=verdict)


def of_proportion(effects: pd.DataFrame, intervention: str) -> Claim:
    """Return how far the derivative foretells the effect of halving or doubling an adjustment.

    The value is the ratio of the change to that by the derivative, 1 if they agree; ``effects`` are
    as for `of_removal`. The verdict is ``agrees`` if the interval lies within 25% of 1, ``differs``
    if it lies outside, and else ``undecided``; there is none without an interval.
    """
    row = effects[effects["intervention"] == intervention].iloc[0]
    value, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    verdict, within = "", ""
    if low <= high:
        verdict = UNDECIDED
        within = f" ({interval(low, high)})"
        if abs(low - 1) < HARDLY and abs(high - 1) < HARDLY:
            verdict = AGREES
        elif low > 1 + HARDLY or high < 1 - HARDLY:
            verdict = DIFFERS
    doing = DOING[intervention]
    sentence = (
        f"{doing} an adjustment of layer {row['source_layer']} has {number(value)} times{within} "
        "the effect on the next token's that a small change foretells"
    )
    return Claim(sentence, value, low, high, verdict=verdict)


def _associations(table: pd.DataFrame, most: int, verdict: str) -> dict[str, str]:
    """Return what effects of a verdict are compared with, by what it is."""
    beside = {}
    predicted = extremes(table.dropna(subset=["predicted_conf_low", "predicted_conf_high"]), most)
    if len(predicted):
        predictions = by_layer(predicted, "predicted", "predicted_conf", place="")
        if HARDLY_ANY in verdict.lower():
            predictions += (
                f" (hardly: the interval of effect / this lies within ±{percent(HARDLY)})"
            )
        beside["predicted from all earlier layers"] = predictions
    lags = table["coefficient"].dropna()
    if len(lags):
        beside["a layer's lag on itself"] = span(lags)
    return beside


def _documents_needed(documents: float) -> str:
    """Return a number of documents with two digits, in words."""
    if documents > MOST_DOCUMENTS:
        return f"more than {MOST_DOCUMENTS:,} documents"
    rounded = float(f"{documents:.2g}")
    return f"about {counted(int(rounded), 'document')}"


def by_layer(
    table: pd.DataFrame, name: str, ends: str, unit: str = "%", place: str = " in layer {}"
) -> str:
    """Return the numbers of a column by layer, with their intervals if known."""
    texts = []
    for row in table.to_dict("records"):
        low, high = row[f"{ends}_low"], row[f"{ends}_high"]
        within = "" if pd.isna(low) else f" ({interval(low, high)})"
        texts.append(f"{number(row[name])}{unit}{within}{place.format(row['target_layer'])}")
    return ", ".join(texts)


def verdict_of(low: float, high: float) -> str:
    """Return what the interval of the share of an effect in its prediction says.

    The effect is ``hardly`` a part of it within ±25%, a part (``in part``) above, and ``the other
    way`` below; it is ``undecided`` where the interval includes an end of that, or is unknown
    because the prediction may be zero.
    """
    if low > -HARDLY and high < HARDLY:
        return HARDLY_ANY
    if low > HARDLY:
        return IN_PART
    if high < -HARDLY:
        return OTHER_WAY
    return UNDECIDED


def _verdict(shares: pd.DataFrame) -> str:
    """Return the verdicts of some layers in words, with counts unless all agree."""
    verdicts = []
    for low, high in zip(shares["share_low"], shares["share_high"], strict=True):
        verdicts.append(verdict_of(low, high))
    if len(set(verdicts)) == 1:
        return verdicts[0].capitalize()
    texts = []
    for verdict in VERDICTS:
        if verdict in verdicts:
            texts.append(f"{verdict} in {verdicts.count(verdict)}")
    return f"{', '.join(texts)} of {counted(len(verdicts), 'layer')}".capitalize()
