"""The words of figures and summaries for the settings of an inference."""

COVARIANCE = {
    "cluster": "clustered by document (CRV1)",
    "cluster-jackknife": "clustered by document, jackknife (CRV3)",
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
