"""The explorer: how numbers are packed, which documents are shown and what the page holds."""

import base64
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from attnlag.corpus.documents import Document as Row
from attnlag.corpus.documents import corpus_table, first_of_groups
from attnlag.quantities import traced_tables
from attnlag.quantities.head_shares import WHOLE
from attnlag.report.explorer import beyond, contents, documents, packing, page
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables
from attnlag.storage.declared import Declared
from attnlag.storage.sequences import TokenSequence, keys_of


def unpacked(packed, row, count):
    content, scale = packed
    codes = np.frombuffer(content, np.uint8 if scale["bits"] < 16 else np.uint16)
    codes = codes[row * count : (row + 1) * count].astype(float)
    none = codes == 2 ** scale["bits"] - 1
    return np.where(none, np.nan, scale["low"][row] + scale["step"][row] * codes)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_packed_number_is_within_half_a_step_of_its_value(bits):
    values = np.random.default_rng(0).normal(3, [[0.1], [5.0]], (2, 4000))
    values[0, [5, 9]] = np.nan, np.inf
    packed = packing.quantised(values, bits)
    for row in range(2):
        known = np.isfinite(values[row])
        span = np.ptp(values[row][known])
        step = packed[1]["step"][row]
        assert step == pytest.approx(span / (2**bits - 2))
        decoded = unpacked(packed, row, 4000)
        assert np.isnan(decoded[~known]).all()
        assert np.abs(decoded[known] - values[row][known]).max() <= step / 2 * 1.001


def test_whole_numbers_and_missing_values_are_packed_exactly():
    values = np.array([[1.0, 7, np.nan, 60_000], [0, 0, 1, 1], [4, 4, 4, 4], [np.nan] * 4])
    packed = packing.quantised(values, bits=16)
    assert packed[1]["low"] == [1, 0, 4, 0]
    for row in range(4):
        np.testing.assert_array_equal(unpacked(packed, row, 4), values[row])


def test_a_json_block_contains_no_markup_and_decodes_to_its_input():
    hostile = ["</script><script>alert(1)</script>", float("nan"), {"<!--": "&amp;\u2028"}]
    text = packing.json_block(hostile)
    assert text == packing.json_block(hostile)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    expected = [hostile[0], None, hostile[2]]
    assert json.loads(gzip.decompress(base64.b64decode(text))) == expected


def write_corpus(path, groups):
    rows = [Row(f"{name}-{at}", name, "words") for name, count in groups for at in range(count)]
    pq.write_table(corpus_table(rows), path)


def test_a_sample_is_taken_from_the_groups_in_turn(tmp_path):
    write_corpus(tmp_path / "corpus.parquet", [("news", 50), ("poems", 2), ("mail", 20)])
    order = first_of_groups(tmp_path / "corpus.parquet", documents.MOST_CANDIDATES)
    assert len(order) == 72
    # Two models: of each document 10 tokens in 3 layers, and in 5.
    shown = documents.with_room(pd.Series(10 * (3 + 5), order), values=80 * 11)
    assert (len(shown), shown.sum()) == (11, 80 * 11)
    groups = shown.index.str.rpartition("-").get_level_values(0)
    assert groups.value_counts().to_dict() == {"news": 5, "poems": 2, "mail": 4}


def test_a_document_that_is_too_long_is_shown_in_part():
    ids = [np.zeros(7), np.zeros(documents.LONGEST), np.zeros(1)]
    sequences = pd.DataFrame({"document": ["a", "a", "b"], "input_ids": ids})
    # Its beginning is what it takes; another model may have none of a document.
    needed = 30 * documents.token_counts(sequences, ["a", "b", "c"])
    assert needed.tolist() == [30 * documents.LONGEST, 30, 0]
    # The first is shown even without room for it.
    assert list(documents.with_room(needed, values=10).index) == ["a"]
    assert list(documents.with_room(needed[:2], values=needed.sum()).index) == ["a", "b"]


def test_the_glossary_defines_each_name_of_a_term():
    found = page.glossary()
    assert found["residual stream"].startswith("the vector that a model keeps for each token")
    assert found["lag"] == found["lead"]
    assert not [text for text in found.values() if "*" in text or "`" in text]


def test_writers_of_a_token_are_codes_of_distance_and_percent(tmp_path):
    strongest = np.array([[0, 9, 9], [0, 9, 9], [1, 0, 9], [0, 1, 9], [2, 0, 1], [1, 2, 0]])
    shares = np.array([[1, 0, 0]] * 2 + [[0.7, 0.3, 0], [-0.6, 0.004, 0], [2, -1.2, 0.2], [1] * 3])
    columns = dict.fromkeys(traced_tables.NUMBERS, np.zeros(6))
    columns |= {"strongest": strongest, "strongest_shares": shares}
    keys = keys_of([TokenSequence("a", 0, np.array([7, 8, 9]))])
    table = traced_tables.table(keys, [1, 4], columns, traced_tables.SOURCES)
    path = tmp_path / "sources" / "0000.parquet"
    tables.write_table(table, path, {"stages": {"tokens": {"shards": 1}}})
    traced = RegressionTables(tmp_path / "within", Declared(sources=[path]))
    entry, codes = beyond.sources(traced, ["a"])
    assert entry == {"layers": [1, 4], "documents": ["a"], "counts": [3]}
    assert codes.shape == (2, 3, 10, 2)
    assert codes[0, 1, :3].tolist() == [[0, 198], [1, 158], [255, 255]]
    # A share below half a percent is left out, and one beyond the range is its end.
    assert codes[1, 1, :2].tolist() == [[1, 68], [255, 255]]
    assert codes[0, 2, :3].tolist() == [[0, 254], [2, 8], [1, 148]]
    # A file that is not declared is not there.
    undeclared = RegressionTables(tmp_path / "within", Declared())
    assert beyond.sources(undeclared, ["a"]) is None


def test_writers_and_readout_are_shown_each_without_the_other(tmp_path):
    numbers = dict.fromkeys((*beyond.INTERVAL[1:], "mean", "difference", "p_adjusted"), 0.5)
    record = {"stages": {"traced_table": {"alpha": 0.05}}}
    rows = pd.DataFrame({"layer": [0, 1], "tokens": 9, "documents": 3, "site": "mlp"} | numbers)
    of_sources, logits = rows.assign(source="previous_1"), rows.assign(target="next_less_own")
    starts = {"shares": "The token before writes", "readout": "Layers whose MLP adjustment raises"}
    # What is not known of a model has a table without rows.
    for known in (of_sources, logits), (of_sources, logits[:0]), (of_sources[:0], logits):
        declared = {}
        for name, table in zip(starts, known, strict=True):
            declared[name] = [tmp_path / f"{name}.parquet"]
            tables.write_frame(table, *declared[name], record)
        shown = beyond.traced(RegressionTables(tmp_path / "within", Declared(**declared)))
        for (name, start), table in zip(starts.items(), known, strict=True):
            assert any(claim.startswith(start) for claim in shown["claims"]) == bool(len(table))
            assert (name in shown) == bool(len(table))
        assert (shown["tokens"], shown["documents"]) == (9, 3)


def test_each_measure_of_heads_has_a_claim(tmp_path):
    parts = pd.DataFrame({"layer": 0, "part": ["0", "1"], "share": 0.5, "sink": 0.3})
    parts.assign(sink_uniform=0.1).to_parquet(tmp_path / "heads.parquet")
    # Three documents give no coefficient after training.
    numbers = dict.fromkeys(("estimate", "conf_low", "conf_high", "trained"), np.nan)
    lags = parts[["layer", "part"]].assign(term="lag_1", regression="within", **numbers)
    lags.assign(random_weights=0.4).to_parquet(tmp_path / "head_coefficients.parquet")
    names = ("heads", "head_coefficients")
    declared = Declared(**{name: [tmp_path / f"{name}.parquet"] for name in names})
    shown = beyond.heads(RegressionTables(tmp_path / "within", declared))
    assert set(shown["claims"]) == {"share", "sink", "estimate", "random_weights"}
    assert shown["claims"]["random_weights"] == "No lag of single heads was fitted after training"
    # All heads together have all of their squares, even if no token is left.
    unknown = parts.assign(share=[np.nan, 1.0], part=["0", WHOLE], sink=np.nan, sink_uniform=np.nan)
    unknown.to_parquet(tmp_path / "heads.parquet")
    assert beyond.heads(RegressionTables(tmp_path / "within", declared)) is None


def test_marks_of_coefficients_mean_what_they_do_in_figures():
    table = pd.DataFrame(
        {
            "equivalence": ["present", "undecided", "absent", "absent", np.nan],
            "p_adjusted": [0.01, 0.05, 0.2, 0.01, np.nan],
        }
    )
    expected = [["dot"], ["cross"], ["ring", "cross"], ["ring"], ["dot"]]
    assert contents.marks(table, 0.05) == expected
