"""Names of the settings of an inference in figures and summaries."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from attnlag.errors import listed
from attnlag.quantities import catalogue

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

# A column of coefficients before training in a table of controls: that of the first scale of the
# initial weights has no ending.
BEFORE_TRAINING = re.compile(r"random_weights(_own|_default|_by_depth|_own_x\d+(\.\d+)?)?")


def columns_before_training(columns: Iterable[Any]) -> list[str]:
    """Return the columns of coefficients before training among those of a table of controls.

    There is one for each scale of the initial weights, in the order in which they were drawn.
    """
    return [str(name) for name in columns if BEFORE_TRAINING.fullmatch(str(name))]


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
    return ", ".join(
        f"{kind} in {spans([int(layer) for layer in mixers if mixers[layer] == kind], 'layer')}"
        for kind in dict.fromkeys(mixers.values())
    )


def weights_in_words(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the precision of quantised weights, from the records of one or more models."""
    several = len(models) > 1
    return ", ".join(
        f"{model['name']}: " * several + f"{model['bits']}-bit weights"
        for model in models
        if "bits" in model
    )


def spans(numbers: Sequence[int], noun: str = "lag") -> str:
    """Return a list of lags or layers in words: ``lags 3, 4 and 6 to 10``."""
    parts: list[str] = []
    # Numbers minus their places are equal in a run of consecutive numbers.
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [str(number) for _, number in group]
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else run
    return f"{noun}{'s' * (len(numbers) > 1)} {listed(parts)}"
