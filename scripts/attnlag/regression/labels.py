"""The words of figures and summaries for the settings of an inference."""

from collections.abc import Mapping, Sequence

from attnlag.adjustments import outcomes

COVARIANCE = {
    "cluster": "clustered by document (CRV1)",
    "cluster-jackknife": "clustered by document, jackknife (CRV3)",
    "cluster-group": "clustered by group of documents (CRV1)",
    "cluster-jackknife-group": "clustered by group of documents, jackknife (CRV3)",
    "nonrobust": "nonrobust",
    "hc1": "HC1",
    "hc3": "HC3",
    "hac": "HAC within sequences (Newey-West)",
}
ADJUSTMENTS = {
    "holm": "Holm",
    "benjamini-hochberg": "Benjamini-Hochberg",
    "max-t": "Romano-Wolf, max-t",
}

# What is regressed on itself at other tokens, and the unit of the coefficients.
OUTCOMES = {name: outcome.label for name, outcome in outcomes.OUTCOMES.items()}
UNITS = {name: outcome.unit for name, outcome in outcomes.OUTCOMES.items()}


def plural(outcome: str) -> str:
    """Return what is regressed, of many tokens and without the logarithm: ``relative norms``."""
    return (
        UNITS[outcome].rpartition("of ")[2].removeprefix("log ") if outcome != "norm" else "norms"
    )


# What the classes of tokens are that slopes differ between.
CLASSES = {
    "upos": "part of speech",
    "word_initial": "whether a token begins a word",
    "word_final": "whether a token ends a word",
    "surprisal": "surprisal",
    "entropy_before": "entropy of the prediction",
    "zipf": "frequency of the word",
    "token_characters": "characters of the token",
}

# Document effects leave the variance within documents to be explained.
R_SQUARED = {"none": "R²", "document": "R² within documents"}

# Any two points correlate perfectly.
FEWEST_POINTS = 3


def correction(adjust: str, over: str = "the layers") -> str:
    """Return the correction of p-values in a few words."""
    return "uncorrected" if adjust == "none" else f"{ADJUSTMENTS[adjust]} over {over}"


def correction_text(adjust: str, over: str = "the layers") -> str:
    """Return the correction of p-values as the part of a sentence."""
    if adjust == "none":
        return "p-values not corrected for the number of layers"
    return f"p-values corrected over {over}, per term ({ADJUSTMENTS[adjust]})"


def others_in_words(mixers: Mapping[str, str]) -> str:
    """Return which layers have what in place of attention: ``JambaMambaMixer in layers 0 to 3``.

    Parameters
    ----------
    mixers : mapping of layer to class
        Without the layers that have attention.
    """
    return ", ".join(
        f"{kind} in {spans([int(layer) for layer in mixers if mixers[layer] == kind], 'layer')}"
        for kind in dict.fromkeys(mixers.values())
    )


def spans(numbers: Sequence[int], noun: str = "lag") -> str:
    """Return lags, or layers, as a reader says them: ``lags 3, 4 and 6 to 10``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run)
    if len(numbers) == 1:
        return f"{noun} {parts[0]}"
    return (
        f"{noun}s {' and '.join([', '.join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)}"
    )
