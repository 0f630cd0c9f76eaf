"""Findings beside regressions, of models of one layer and of few texts."""

import numpy as np
import pandas as pd
import pytest

from attnlag.report import analyses
from attnlag.storage import tables
from attnlag.storage.declared import Declared

WHERE = {"layer": 0, "site": "attention", "documents": 9, "conf_low": 0.1, "conf_high": 0.3}
EFFECTS = ["own", "next", "top1", "next_less_own"]
SOURCES = ["previous_1", "self", "first", "effective"]
KINDS = ["parallel_relative", "orthogonal_relative", "angle", "cosine_previous"]

# The tables of each analysis, and what is said of the one layer.
TABLES = {
    "readout": (
        {"readout": {"target": EFFECTS, "difference": [-0.2, 0.4, 0.3, 0.6]}},
        "the attention adjustment raises the next token more than the token itself in 1 of 1 "
        "layer, less in 0 (intervals of the difference)\n"
        "at most, the attention adjustment raises the token itself by −0.20 SD in layer 0, the "
        "next token by 0.40 SD in layer 0 and the model's first choice by 0.30 SD in layer 0, "
        "beyond the effect on the same token of another place",
    ),
    "sources": (
        {
            "shares": {"source": SOURCES, "mean": 0.2, "median": 0.1, "attention": 0.4},
            "lags": {"term": ["lag_1"], "part": "all", "estimate": np.nan},
        },
        "the token before writes on average 20% of the adjustment in layer 0; the first token has "
        "40% of the attention and writes 20% in layer 0, where these differ most (means over "
        "tokens)\n"
        "in medians over tokens, the token before writes 10% in layer 0, the token itself 10% (at "
        "most 10%, in layer 0); an adjustment is written by 0 tokens in the median layer",
    ),
    "heads": (
        {
            "heads": {"part": ["0", "1", "all"], "share": 0.5, "sink": np.nan, "sink_uniform": 0.1}
            | {"coherence": 0.9, "at_floor": 0.0},
            "head_coefficients": {"term": ["lag_1"], "part": "0", "estimate": np.nan},
        },
        "one head has up to 50% of its layer's squared norms (50% if equal), in layer 0\n"
        "coherence, |sum|² / sum of |head|², is 0.90 in the one layer; orthogonal heads have 1\n"
        "tokens at the floor, where heads write the same as at the first token: 0% in layer 0, "
        "0.0% in the median layer\n"
        "attention to first tokens is measured with `sources` alone\n"
        "sums",
    ),
    "directions": (
        {
            "directions": {"quantity": KINDS, "distance": 1, "mean": [-0.1, 0.2, 0.3, 0.4]}
            | {"random_pairs": np.nan, "random_weights": 0.5, "trained": 0.4},
        },
        "in the median layer an adjustment adds −10.0% of the stream along it and 20.0% at right "
        "angles, and turns it by 17.2°; it points against the stream in 1 of 1 layer\n"
        "neighbours are pushed the same way (cosine 0.40, median layer)\n"
        "cosine with the adjustment of the previous token, not centred: 0.40 in the one layer; "
        "before training (first scale) 0.50, after it, on the same texts, 0.40",
    ),
    # No layer is earlier than the first.
    "causal": (
        {
            "total_effects": {"lag": [1], "target_layer": 0, "estimate": 0.0, "share_low": 0.0}
            | {"share_high": 0.0, "predicted_conf_low": np.nan, "coefficient": 0.6}
            | {"source_site": "attention", "target_site": "attention", "regression": "within"},
            "prediction_vs_effect": {"lag": [1, 1], "prediction": ["same layer", "alone"]}
            | {"source_site": "attention", "target_site": "attention", "pairs": 1}
            | {"clear": [0, 1], "significant": 1, "rank_correlation": np.nan},
        },
        "attention: no observed layer has an earlier one\n"
        "attention: lag 1 of a layer on itself is significant in 1 of 1 layer, where the effect is "
        "exactly zero\n"
        "attention: only one effect is clear of zero, so that the sign predicted from one layer is "
        "not checked",
    ),
}


def findings(analysis, folder, texts):
    """Return the lines that are found in an analysis of a model of one layer."""
    record = {"model": {"name": "m"}, "corpus": {"name": "c", "texts": texts}, "proof": "sums"}
    settings = {"elasticities": {"alpha": 0.05}, "heads_table": {"regression": "within"}}
    record |= {"stages": settings, "sampled": 0, "traced": None}
    files = {name: folder / f"{name}.parquet" for name in TABLES[analysis][0]}
    for name, columns in TABLES[analysis][0].items():
        tables.write_frame(pd.DataFrame(columns).assign(**WHERE), files[name], record)
    text = analyses.findings_of(analysis, Declared(**files), folder)
    return [line.strip() for line in text.splitlines()[1:]]


@pytest.mark.parametrize("analysis", TABLES)
def test_what_is_found_in_one_layer_and_in_few_texts_is_said_as_such(analysis, tmp_path):
    lines = TABLES[analysis][1].splitlines()
    assert findings(analysis, tmp_path, texts=9) == lines
    *same, last = findings(analysis, tmp_path, texts=1)
    assert same == lines
    assert last.startswith("this is said of 1 text alone: with fewer than 6 documents, intervals ")
    assert ("no lag of" in last) == (analysis in ("heads", "sources"))
