"""Names of the settings of an inference in figures and summaries, and the status of a layer.

The column ``status`` of a table holds the sentence, not the code of `reasons`: who opens the table
in a spreadsheet reads there which terms, numbers or documents kept a layer from being fitted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from attnlag.errors import counted, listed
from attnlag.quantities import catalogue
from attnlag.regression import reasons
from attnlag.regression.reasons import Reason

ADJUSTMENTS = {
    "holm": "Holm",
    "benjamini-hochberg": "Benjamini-Hochberg",
}

# Name of each outcome, and the unit of its coefficients.
OUTCOMES = {name: outcome.label for name, outcome in catalogue.OUTCOMES.items()}
UNITS = {name: outcome.unit for name, outcome in catalogue.OUTCOMES.items()}


def plural(outcome: str) -> str:
    """Return the plural name of an outcome without the logarithm, such as ``relative norms``."""
    if outcome == "norm":
        return "norms"
    return UNITS[outcome].rpartition("of ")[2].removeprefix("log ")


# Universal parts of speech in words, https://universaldependencies.org/u/pos/
UPOS = {
    "ADJ": "adjective",
    "ADP": "adposition",
    "ADV": "adverb",
    "AUX": "auxiliary",
    "CCONJ": "coordinating conj.",
    "DET": "determiner",
    "INTJ": "interjection",
    "NOUN": "noun",
    "NUM": "numeral",
    "PART": "particle",
    "PRON": "pronoun",
    "PROPN": "proper noun",
    "PUNCT": "punctuation",
    "SCONJ": "subordinating conj.",
    "SYM": "symbol",
    "VERB": "verb",
    "X": "other word",
    "SPACE": "white space",
    "none": "without a tag",
}

# With document effects, R² refers to the variance within documents.
R_SQUARED = {"none": "R²", "document": "R² within documents"}

# A column of coefficients before training in a table of controls, one for each scale of the initial
# weights.
UNTRAINED_COLUMN = re.compile(r"untrained_(own|default|by_depth|own_x\d+(\.\d+)?)")


def untrained_columns(columns: Iterable[Any]) -> list[str]:
    """Return the columns of coefficients before training among those of a table of controls.

    There is one for each scale of the initial weights, in the order in which they were drawn.
    """
    return [str(name) for name in columns if UNTRAINED_COLUMN.fullmatch(str(name))]


def scale_of(column: str) -> str:
    """Return the scale of the initial weights in the name of a column of controls."""
    return column.removeprefix("untrained_").replace("_", "-")


def tested(relation: str, alpha: float, adjust: str) -> str:
    """Return what a mark says of a p-value, as in ``p < 0.05, Holm``."""
    return f"p {relation} {alpha:g}" + ("" if adjust == "none" else f", {ADJUSTMENTS[adjust]}")


def shown_within(bound: float) -> str:
    """Return what a mark says of a coefficient that is shown to be negligible."""
    return f"shown to be within ±{bound:g}"


def correction(adjust: str, over: str = "the layers") -> str:
    """Return a short name of the correction of p-values."""
    return "uncorrected" if adjust == "none" else f"{ADJUSTMENTS[adjust]} over {over}"


def correction_text(adjust: str, over: str = "the layers") -> str:
    """Return the correction of p-values as a clause."""
    if adjust == "none":
        return "p-values not corrected for the number of layers"
    return f"p-values corrected over {over}, per term ({ADJUSTMENTS[adjust]})"


def others_in_words(mixers: Mapping[str, str]) -> str:
    """Return the layers with another mixer than attention: ``JambaMambaMixer in layers 0 to 3``."""
    layers_by_kind: dict[str, list[int]] = {}
    for layer, kind in mixers.items():
        layers_by_kind.setdefault(kind, []).append(int(layer))
    parts = [f"{kind} in {spans(layers, 'layer')}" for kind, layers in layers_by_kind.items()]
    return ", ".join(parts)


def weights_in_words(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the precision of quantised weights, from the records of one or more models."""
    parts = []
    for model in models:
        if "bits" not in model:
            continue
        weights = f"{model['bits']}-bit weights"
        if len(models) > 1:
            weights = f"{model['name']}: {weights}"
        parts.append(weights)
    return ", ".join(parts)


def runs(numbers: Sequence[int]) -> str:
    """Return a list of numbers in which runs are shortened: ``3, 4 and 6 to 10``."""
    parts: list[str] = []
    # Numbers minus their places are equal in a run of consecutive numbers.
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [str(number) for _, number in group]
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else run
    return listed(parts)


def spans(numbers: Sequence[int], noun: str = "lag") -> str:
    """Return a list of lags or layers in words: ``lags 3, 4 and 6 to 10``."""
    if len(numbers) > 1:
        noun += "s"
    return f"{noun} {runs(numbers)}"


# What numbers that are equal but for rounding are rounded by.
ORIGIN_OF_SPREAD = {
    "bfloat16": "the precision of bfloat16",
    "float16": "what the epsilon of a normalisation leaves",
    "float32": "what the epsilon of a normalisation leaves",
}

# The status of a layer that is fitted.
OK = "ok"

# The status of a layer without estimates or errors, by the code of the reason. The fields are the
# facts of `reasons`, as `_facts_in_words` has them.
STATUSES = {
    reasons.NO_LAYER_BEFORE: "there is no layer before it",
    reasons.TOO_FEW_ROWS: "{rows} for {parameters}",
    reasons.CONSTANT_OUTCOME: "the outcome is constant{within}",
    reasons.CONSTANT_TERMS: "{terms} {are} constant{within}",
    reasons.EQUAL_LOGARITHMS: (
        "norms are equal but for rounding: the standard deviation of {term}{within} is below "
        "{bound:.4f}, {precision}"
    ),
    reasons.EQUAL_NUMBERS: (
        "numbers are equal but for rounding: the standard deviation of {term}{within} is below "
        "{bound:.4f} of their size, {precision}"
    ),
    reasons.COLLINEAR: "{terms} are collinear{within}",
    reasons.UNIDENTIFIED_HALF: "a half of the documents alone does not tell {terms}",
    reasons.TOO_FEW_CLUSTERS: "{clusters}: too few to cluster by",
    reasons.COLLINEAR_WITHOUT_CLUSTER: (
        "without {cluster} the regressors are collinear: no jackknife"
    ),
}
NO_LAYER_BEFORE = STATUSES[reasons.NO_LAYER_BEFORE]


def status(reason: Reason | None) -> str:
    """Return the status of a layer in the table of fits: ``ok``, or why it has no estimates."""
    if reason is None:
        return OK
    return STATUSES[reason.code].format(**_facts_in_words(reason.facts))


def _facts_in_words(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a reason as they stand in a sentence."""
    words = dict(facts)
    if "rows" in facts:
        words["rows"] = counted(facts["rows"], "row")
        words["parameters"] = counted(facts["coefficients"], "term")
        if facts["absorbed"]:
            words["parameters"] += f" and {counted(facts['absorbed'], 'effect')}"
    if "terms" in facts:
        words["terms"] = listed(facts["terms"])
        words["are"] = "is" if len(facts["terms"]) == 1 else "are"
    if facts.get("term") == "y":
        words["term"] = "the outcome"
    if "precision" in facts:
        words["precision"] = ORIGIN_OF_SPREAD[facts["precision"]]
    if "clusters" in facts:
        words["clusters"] = counted(facts["clusters"], facts["unit"])
    words["within"] = " within documents" if facts.get("fixed_effects") else ""
    return words
