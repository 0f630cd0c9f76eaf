"""Findings beside regressions, of models of one layer and of few texts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attnlag.quantities.catalogue import STREAM_GROWTH
from attnlag.report import analyses, heads
from attnlag.storage import tables
from attnlag.storage.declared import Declared

WHERE = {"layer": 0, "site": "attention", "documents": 9, "conf_low": 0.1, "conf_high": 0.3}
EFFECTS = ["own", "next", "top1", "next_less_own"]
SOURCES = ["previous_1", "self", "first", "effective"]
KINDS = ["parallel_relative", "orthogonal_relative", "angle", "cosine_previous", STREAM_GROWTH]

# The tables of each analysis of a model of one layer.
TABLES = {
    "readout": {
        "readout": {"target": EFFECTS, "difference": [-0.2, 0.4, 0.3, 0.6]} | {"p_adjusted": 0.01}
    },
    "sources": {
        "shares": {"source": SOURCES, "mean": 0.2, "median": 0.1, "attention": 0.4},
        "lags": {"term": ["lag_1"], "part": "all", "estimate": np.nan},
    },
    "heads": {
        "heads": {"part": ["0", "1", "all"], "share": 0.5, "sink": np.nan, "sink_uniform": 0.1}
        | {"coherence": 0.9, "at_floor": 0.0},
        "head_coefficients": {"term": ["lag_1"], "part": "0", "estimate": np.nan},
    },
    "directions": {
        "directions": {"quantity": KINDS, "distance": 1, "mean": [-0.1, 0.2, 0.3, 0.4, 0.0]}
        | {"random_pairs": np.nan, "random_weights": 0.5, "trained": 0.4},
    },
    # No layer is earlier than the first.
    "causal": {
        "total_effects": {"lag": [1], "target_layer": 0, "estimate": 0.0, "share_low": 0.0}
        | {
            "share_high": 0.0,
            "predicted_conf_low": np.nan,
            "coefficient": 0.6,
            "documents_to_decide": 9,
        }
        | {"source_site": "attention", "target_site": "attention", "regression": "within"},
        "prediction_vs_effect": {"lag": [1, 1], "prediction": ["same layer", "alone"]}
        | {"source_site": "attention", "target_site": "attention", "pairs": 1}
        | {"clear": [0, 1], "same_sign": 1, "by_chance": 1.0}
        | {"significant": 1, "rank_correlation": np.nan},
        "finite_effects": {"intervention": ["zero", "halve", "small"], "lag": 1, "layers": 2}
        | {"source_site": "attention", "target_site": "attention", "source_layer": 4, "clear": 1}
        | {"estimate": 0.2}
        | {"ratio": [np.nan, 0.7, np.nan], "ratio_low": np.nan, "ratio_high": np.nan},
    },
}
# What is said of them.
STORED = Path(__file__).with_name("analyses.txt").read_text(encoding="utf-8").rstrip()
STATED = [block.split("\n") for block in STORED.split("\n\n")]


def findings(analysis, folder, texts):
    """Return the lines that are found in an analysis of a model of one layer."""
    record = {"model": {"name": "m"}, "corpus": {"name": "c", "texts": texts}, "check": "sums"}
    settings = {"elasticities": {"alpha": 0.05}, "heads_table": {"regression": "within"}}
    settings["traced_table"] = {"alpha": 0.05, "adjust": "holm"}
    record |= {"stages": settings, "sampled": 0, "traced": None}
    files = {name: folder / f"{name}.parquet" for name in TABLES[analysis]}
    for name, columns in TABLES[analysis].items():
        tables.write_frame(pd.DataFrame(columns).assign(**WHERE), files[name], record)
    text = analyses.findings_of(analysis, Declared(**files), folder)
    return [line.strip() for line in text.splitlines()[1:]]


@pytest.mark.parametrize(("analysis", "stated"), [(name, lines) for name, *lines in STATED])
def test_what_is_found_in_one_layer_and_in_few_texts_is_said_as_such(analysis, stated, tmp_path):
    assert findings(analysis, tmp_path, texts=9) == stated
    *same, last = findings(analysis, tmp_path, texts=1)
    assert same == stated
    assert last.startswith("this is said of 1 text alone: with fewer than 6 documents, intervals ")
    assert ("no lag of" in last) == (analysis in ("heads", "sources"))


def test_copies_of_one_text_have_lags(monkeypatch, tmp_path):
    parts = {"term": "lag_1", "part": ["all", "from_itself", "from_earlier"], "estimate": 0.3}
    monkeypatch.setitem(TABLES["sources"], "lags", parts)
    *_, lag, last = findings("sources", tmp_path, texts=1)
    assert lag.startswith("lag 1 of what a token writes to itself is 0.30 in the median layer")
    assert last.startswith("this is said of 1 text alone")
    assert "no lag of" not in last


def test_the_largest_head_of_all_and_that_of_the_median_layer_are_told_apart():
    first = pd.DataFrame({"layer": range(3), "part": "0", "share": [0.55, 0.9, 0.6]})
    parts = pd.concat(
        [
            first,
            first.assign(part="1", share=1 - first["share"]),
            first.assign(part="all", share=1.0),
        ]
    )
    parts = parts.assign(sink=np.nan, sink_uniform=0.1, coherence=0.9, at_floor=0.0)
    lags = pd.DataFrame({"layer": [0], "term": "lag_1", "part": "0", "estimate": np.nan})
    share, *_ = heads.heads_findings(parts, lags, "within", "", "")
    assert "up to 90% of its layer's squared norms" in share
    assert share.endswith("in layer 1; the largest head of the median layer has 60%")
