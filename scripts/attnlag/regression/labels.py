"""What the settings of an inference are called in figures and summaries."""

COVARIANCE = {
    "cluster": "clustered by document (CRV1)",
    "cluster-jackknife": "clustered by document, jackknife (CRV3)",
    "nonrobust": "nonrobust",
    "hc1": "HC1",
    "hc3": "HC3",
    "hac": "HAC within sequences (Newey-West)",
    "permutation": "standard deviation over permutations",
}

ADJUSTMENTS = {
    "holm": "Holm",
    "benjamini-hochberg": "Benjamini-Hochberg",
    "max-t": "Romano-Wolf, max-t",
}
