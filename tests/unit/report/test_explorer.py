"""The explorer: how numbers are packed, which documents are shown and what the page holds."""

import base64
import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attnlag.claims.results import RegressionResults
from attnlag.corpus.documents import Document as Row
from attnlag.corpus.documents import corpus_table, first_of_groups
from attnlag.figures.as_json import as_json
from attnlag.figures.templates import Line, Lines, Map, Sheet, permuted
from attnlag.quantities import traced_tables
from attnlag.report.explorer import contents, documents, packing, page, tokens
from attnlag.report.explorer.paths import path_in_results
from attnlag.storage import tables
from attnlag.storage.results import Declared
from attnlag.storage.sequences import TokenSequence, keys_of


def test_a_packed_number_is_within_half_a_step_of_its_value():
    values = np.random.default_rng(0).normal(3, [[0.1], [5.0], [0.0]], (3, 4000))
    values[0, [5, 9]] = np.nan, np.inf
    values = np.vstack([values, np.full(4000, np.nan), np.full(4000, 7.0)])
    with np.errstate(all="raise"):
        content, scale = packing.quantised(values)
    codes = np.frombuffer(content, np.uint8).reshape(values.shape)
    for row, known in enumerate(np.isfinite(values)):
        assert (codes[row][~known] == 255).all()
        if known.any():
            assert scale["step"][row] == pytest.approx(np.ptp(values[row][known]) / 254)
            decoded = scale["low"][row] + scale["step"][row] * codes[row][known]
            assert np.abs(decoded - values[row][known]).max() <= scale["step"][row] / 2 * 1.001


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
    order = first_of_groups(tmp_path / "corpus.parquet", documents.MAX_CANDIDATES)
    assert len(order) == 72
    # Two models: of each document 10 tokens in 3 layers, and in 5.
    shown = documents.with_room(pd.Series(10 * (3 + 5), order), values=80 * 11)
    groups = pd.Index(shown).str.rpartition("-").get_level_values(0)
    assert groups.value_counts().to_dict() == {"news": 5, "poems": 2, "mail": 4}


def test_a_document_that_is_too_long_is_shown_in_part():
    ids = [np.zeros(7), np.zeros(documents.LONGEST), np.zeros(1)]
    sequences = pd.DataFrame({"document": ["a", "a", "b"], "input_ids": ids})
    # Its beginning is what it takes; another model may have none of a document.
    needed = 30 * documents.token_counts(sequences, ["a", "b", "c"])
    assert needed.tolist() == [30 * documents.LONGEST, 30, 0]
    # The first is shown even without room for it.
    assert documents.with_room(needed, values=10) == ["a"]
    assert documents.with_room(needed[:2], values=needed.sum()) == ["a", "b"]


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
    traced = RegressionResults(tmp_path / "within", Declared({"sources": [path]}))
    found = tokens.writers(traced, ["a"])
    written = found.pop("writers")
    assert found == {"layers": [1, 4], "documents": ["a"], "counts": [3]}
    # Pairs: how many tokens back, and the share in percent.
    assert written[0][1] == [0, 70, 1, 30]
    # A share below half a percent is left out.
    assert written[1][1] == [1, -60]
    assert written[0][2] == [0, 200, 2, -120, 1, 20]
    # A file that is not declared is not there.
    undeclared = RegressionResults(tmp_path / "within", Declared({}))
    assert tokens.writers(undeclared, ["a"]) is None


def test_values_of_tokens_are_numbers_or_places_in_categories():
    assert tokens.values_of_shade(pd.Series([0.123456, np.nan, 7.0]))["values"][0] == 0.1235
    tags = tokens.values_of_shade(pd.Series(["VERB", None, "NOUN"], dtype="category"))
    assert tags == {"values": [1, None, 0], "categories": ["NOUN", "VERB"]}
    assert tokens.values_of_shade(pd.Series([True, None]))["categories"] == ["yes"]


def test_a_sheet_as_json_has_what_the_figure_draws():
    x = np.array([0.1, np.nan, 0.3])
    line = Line(x, "lag 1", "k", x - 1, x + 1, linestyle=(0, (4, 2.5)))
    line.weak = np.array([False, True, True])
    line.negligible = np.array([False, False, True])
    lines = Lines([line, permuted(np.zeros(3), np.ones(3))], "coefficient\n(unit)", missing=[1])
    cells = Map(np.array([[1.0, np.nan, -1.0]]), ["noun"], "label", weak=np.zeros((1, 3), bool))
    made = json.loads(json.dumps(as_json(Sheet("c", [0, 1, 5], [lines, cells], "A note."), {})))
    first, second = made["panels"]
    assert (first["x"], first["yLabel"]) == ([0, 1, 5], "coefficient (unit)")
    drawn, band = first["lines"]
    assert drawn["marks"] == [["dot"], ["cross"], ["ring", "cross"]]
    assert (drawn["colour"], drawn["dashes"]) == ("var(--ink)", [4, 2.5])
    assert (drawn["behind"], band["behind"]) == (False, True)
    np.testing.assert_allclose(drawn["high"], x + 1)
    assert (band["colour"], band["width"], band["low"]) == ("var(--band)", 0, [0, 0, 0])
    np.testing.assert_allclose(second["values"], [[1, np.nan, -1]])
    assert second["dots"] == [[True, False, True]]
    assert (second["low"], second["high"], second["diverging"]) == (-1, 1, True)
    assert made["caption"].startswith("A note. ● p < 0.05")


def test_thin_lines_of_layers_have_a_grey_of_their_own_and_steps_are_whole():
    thin = Line([1.0, 2.0], "layers", "0.75", linewidth=0.6, each="layer 0")
    made = as_json(Sheet("c", [], [Lines([thin], "unit", x=[64, 123_456])]), {})
    (panel,) = made["panels"]
    # The grey of bands is faint in a thin line on a dark page.
    assert panel["lines"][0]["colour"] == "var(--thin)"
    assert panel["x"] == [64, 123_456]
    share = as_json(Sheet("c", [], [Lines([thin], "unit", x=[0, 0.123456789])]), {})
    assert share["panels"][0]["x"] == [0, 0.12346]


def test_a_sheet_as_json_marks_layers_without_attention_on_axes_of_layers():
    lines = Lines([Line(np.zeros(3))], "coefficient")
    over_steps = Lines([Line(np.zeros(2))], "coefficient", x=[1, 5], xlabel="step of training")
    cells = Map(np.zeros((1, 3)), ["head 0"], "label", xlabel="source layer")
    sheet = Sheet("c", [0, 1, 5], [lines, over_steps, cells], "A note.")
    made = as_json(sheet, {"1": "Mamba", "5": "Mamba"})
    assert [panel["withoutAttention"] for panel in made["panels"]] == [[1, 5], [], [1, 5]]
    assert made["caption"] == "A note. ◇ Mamba in layers 1 and 5."
    bare = as_json(sheet, {})
    assert [panel["withoutAttention"] for panel in bare["panels"]] == [[], [], []]
    assert bare["caption"] == "A note."


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/me/results/m/c/claims.csv", "m/c/claims.csv"),
        # A project may lie in the results of another.
        ("results/old/results/m/claims.csv", "m/claims.csv"),
        ("m/claims.csv", "m/claims.csv"),
    ],
)
def test_a_table_is_named_as_it_lies_beside_the_page(path, shown):
    assert path_in_results(Path(path)) == shown


def test_writers_stand_in_the_order_of_documents(tmp_path):
    keys = keys_of([TokenSequence(name, 0, np.array([7])) for name in ("b", "a")])
    columns = dict.fromkeys(traced_tables.NUMBERS, np.zeros(2))
    shares = np.array([[0.5, 0, 0], [0.9, 0, 0]])
    columns |= {"strongest": np.zeros((2, 3), int), "strongest_shares": shares}
    table = traced_tables.table(keys, [0], columns, traced_tables.SOURCES)
    path = tmp_path / "sources" / "0000.parquet"
    tables.write_table(table, path, {"stages": {"tokens": {"shards": 1}}})
    traced = RegressionResults(tmp_path / "within", Declared({"sources": [path]}))
    found = tokens.writers(traced, ["b", "a"])
    assert found["documents"] == ["b", "a"]
    assert found["writers"] == [[[0, 50], [0, 90]]]


def described(terms, covariates=(), outcome="norm", within=False):
    """Return the equation of a regression, and what its symbol stands for."""
    stages = {"design": {"covariates": list(covariates)}}
    regression = SimpleNamespace(
        settings={"outcome": outcome},
        terms=terms,
        has_fixed_effects=within,
        site="attention",
        record=SimpleNamespace(settings=stages.get),
    )
    return contents.equation(regression)


def test_an_equation_has_each_lag_and_lead_and_says_what_is_held_fixed():
    pooled, symbol = described(["lag_1", "lead_2"], ["log_frequency"])
    assert pooled == "log a[t] = b0 + b1 log a[t−1] + b2 log a[t+2] + log frequency + e[t]"
    assert symbol.startswith("a[t]: ")
    assert symbol.endswith(" of the attention adjustment of token t; pooled over documents")
    many, symbol = described([f"lag_{n}" for n in range(1, 6)], outcome="relative", within=True)
    three = "b1 log r[t−1] + b2 log r[t−2] + b3 log r[t−3]"
    assert many == f"log r[t] = {three} + … + document + e[t]"
    assert symbol.endswith("; within documents")
    exactly_three, _ = described(["lag_1", "lag_2", "lag_3"], within=True)
    assert "…" not in exactly_three


def test_a_token_has_a_value_for_each_norm_and_half_of_the_residuals(tmp_path):
    schema = pa.schema([(f"layer_{layer:02}", pa.float32()) for layer in range(6)])
    pq.write_table(schema.empty_table(), tmp_path / "stream.parquet")
    regressions = [
        SimpleNamespace(
            site=site, study_folder=tmp_path, paths=lambda *_: [tmp_path / "stream.parquet"]
        )
        for site in ("attention", "attention", "mlp")
    ]
    # The norms of the stream and of two sites in six layers; half of the residuals of three fits.
    expected = documents.VALUES_OF_TEXT + 6 * 3 + 3 * 3
    assert documents.values_per_token(regressions) == expected
