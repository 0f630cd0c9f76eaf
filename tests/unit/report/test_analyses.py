"""Findings beside regressions, of models of one layer and of few texts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from attnlag import wording
from attnlag.claims import analyses, heads, sources
from attnlag.claims.run import Claims
from attnlag.quantities.catalogue import STREAM_GROWTH
from attnlag.report import findings
from attnlag.storage import tables
from attnlag.storage.results import Declared, Results
from attnlag.storage.tables import Record

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
        | {"random_pairs": np.nan, "untrained": 0.5, "trained": 0.4},
    },
    # No layer is earlier than the first.
    "causal": {
        "total_effects": {
            "lag": [1],
            "target_layer": 0,
            "estimate": 0.0,
            "share_low": 0.0,
            "level": 0.95,
        }
        | {
            "share_low": 0.0,
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
        | {"estimate": 0.2, "level": 0.95}
        | {"ratio": [np.nan, 0.7, np.nan], "ratio_low": np.nan, "ratio_high": np.nan},
        "elasticities": {},
    },
}
# What is said of them.
STORED = Path(__file__).with_name("analyses.txt").read_text(encoding="utf-8").rstrip()
STATED = [block.split("\n") for block in STORED.split("\n\n")]

HEADS_TABLE = {"regression": "within", "equivalence_bound": 0.05}
# The settings of the stages that made them.
STAGES = {
    "heads_table": HEADS_TABLE,
    "traced_table": {"alpha": 0.05, "adjust": "holm"},
    "effects": {"source_sites": ["attention"], "target_sites": ["attention"]},
}


def tables_of(analysis):
    """Return the tables of an analysis of a model of one layer."""
    return {
        name: pd.DataFrame(columns).assign(**WHERE) for name, columns in TABLES[analysis].items()
    }


def stored_claims(analysis, folder, texts):
    """Return the claims of an analysis of a model of one layer, whose tables are stored."""
    site = folder / "attention"
    record = Record(model={"name": "m"}, corpus={"name": "c", "texts": texts}, check="sums")
    record |= {"sampled": 0, "traced": None, "stages": STAGES}
    files = {}
    for name, table in tables_of(analysis).items():
        files[name] = (site if analysis in ("readout", "directions") else folder) / name
        files[name].parent.mkdir(exist_ok=True)
        tables.write_table(pa.Table.from_pandas(table), files[name], record)
    results = Results(folder, Declared(files))
    if analysis in ("heads", "sources"):
        return getattr(analyses, analysis)(results)
    if analysis in ("readout", "directions"):
        return getattr(analyses, analysis)(results, site)
    (found,) = analyses.effects(results)
    return found


def lines_found(analysis, folder, texts):
    """Return the lines that are found in an analysis of a model of one layer."""
    found = stored_claims(analysis, folder, texts)
    assert (found.site, found.analysis) == ("attention", analysis)
    text = findings.findings_of_analysis(
        analysis, [("attention", Claims(tuple(found.rows)), found.record)]
    )
    return [line.strip() for line in text.splitlines()[1:]]


@pytest.mark.parametrize(("analysis", "stated"), [(name, lines) for name, *lines in STATED])
def test_what_is_found_in_one_layer_and_in_few_texts_is_said_as_such(analysis, stated, tmp_path):
    assert lines_found(analysis, tmp_path, texts=9) == stated
    *same, last = lines_found(analysis, tmp_path, texts=1)
    assert same == stated
    assert last.startswith("texts: 1, fewer than 6: intervals say nothing about other texts")
    assert ("no lag of" in last) == (analysis in ("heads", "sources"))


def test_copies_of_one_text_have_lags(monkeypatch, tmp_path):
    parts = {"term": "lag_1", "part": ["all", "from_itself", "from_earlier"], "estimate": 0.3}
    monkeypatch.setitem(TABLES["sources"], "lags", parts)
    *_, lag, last = lines_found("sources", tmp_path, texts=1)
    assert lag.startswith(
        "lag 1 (median layer): of what all tokens write 0.30; of what a token writes to"
    )
    assert last.startswith("texts: 1, fewer")
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
    largest, median, *_ = heads.claims_of_heads(parts, lags, HEADS_TABLE)
    assert wording.text(largest, "finding").endswith("in layer 1")
    assert (largest.value, median.value) == (0.9, 0.6)


@pytest.mark.parametrize(
    ("analysis", "sampled", "about"),
    [
        ("heads", 3, "m, c, attention, a sample of 3 documents, heads:"),
        ("heads", 0, "m, c, attention, heads:"),
        ("readout", 3, "m, c, attention, readout:"),
    ],
)
def test_findings_of_heads_say_of_how_many_documents_they_are(analysis, sampled, about):
    record = Record(model={"name": "m"}, corpus={"name": "c"}, sampled=sampled, check="sums")
    text = findings.findings_of_analysis(analysis, [("attention", Claims(()), record)])
    assert text.splitlines()[0] == about


def test_a_readout_that_is_unknown_has_no_claims():
    table = tables_of("readout")["readout"]
    assert [*sources.claims_of_readout(table.assign(difference=np.nan), 0.05, "holm")] == []
    assert [*sources.claims_of_readout(table.iloc[:0], 0.05, "holm")] == []
