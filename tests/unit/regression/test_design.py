import math
import tempfile
from pathlib import Path

import designs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from designs import design_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import spline

from attnlag.errors import UserError
from attnlag.quantities import columns
from attnlag.regression.design import design
from attnlag.regression.design.design import Counts, Formula
from attnlag.regression.estimation import crossproducts
from attnlag.regression.settings import DesignSettings
from attnlag.storage import tables

GROUPS = ["prose", "code", "letters"]
KNOTS = (1, 3, 5, 9)


def norms_table(lengths, layers=2, values=None):
    """Return norms of sequences of given lengths, each a document of its own."""
    random = np.random.default_rng(0)
    if values is None:
        values = random.lognormal(size=(sum(lengths), layers))
    of_documents = {(f"d{i}", 0): length for i, length in enumerate(lengths)}
    token_ids = random.integers(0, 7, sum(lengths))
    return designs.norms_table(of_documents, values.T.astype(np.float32), token_ids)


def facts_of(folder, table, documents=None, counts=None):
    """Return facts of a corpus that holds the table, some documents in each group."""
    ids, numbers = np.unique(table["token_id"].to_numpy(), return_counts=True)
    counts = counts or {"token_id": ids, "count": numbers}
    if documents is None:
        # The corpus may be larger than the shard, in another order than its groups.
        documents = [*dict.fromkeys(table["document"].to_pylist()), "elsewhere"]
    groups = [GROUPS[place % 3] for place in range(len(documents))]
    corpus = {"document": documents, "group": groups}
    files = {"token_counts": folder / "counts.parquet", "corpus": folder / "corpus.parquet"}
    for path, columns_of_file in zip(files.values(), (counts, corpus), strict=True):
        pq.write_table(pa.table(columns_of_file), path)
    return Formula.read(design_settings(covariates=("log_frequency", "group")), files).facts


def batches_of(table, rows):
    """Return batches with a dictionary each, as a Parquet file gives them."""
    for start in range(0, table.num_rows, rows):
        columns = table.slice(start, rows).combine_chunks().to_pydict()
        yield from pa.table(columns, schema=table.schema).to_batches()


def build(table, settings, rows=1000, facts=()):
    counts, formula = Counts(), Formula(settings, dict(facts))
    parts = list(design.designs(batches_of(table, rows), formula, counts))
    schema = formula.schema(columns.layers_in(table.schema))
    assert all(part.schema == schema for part in parts)
    return pa.concat_tables(parts) if parts else schema.empty_table(), counts


def by_definition(table, spec, facts):
    """Work out each row by itself, in plain loops over the tokens of each sequence."""
    sequences = []
    for row in table.to_pylist():
        if row["position"] == 0:
            sequences.append([])
        sequences[-1].append(row)
    names = columns.layers_in(table.schema)
    token_ids = [row["token_id"] for row in table.to_pylist()]
    found = []

    def usable(value):
        return value > 0 and math.isfinite(value)

    own_previous = "previous_layer" in spec.covariates
    before_too = [0, -1] if own_previous else []
    offsets = [0, *(-lag for lag in spec.lags), *spec.leads]
    for sequence in sequences:
        for t, row in enumerate(sequence):
            places = [t + offset for offset in offsets + before_too]
            if not all(spec.drop_first <= place < len(sequence) for place in places):
                continue
            cells = {key: row[key] for key in columns.KEYS}
            for index, name in enumerate(names):
                before = names[index - 1] if index else None
                terms = {"y": row[name]}
                terms |= {f"lag_{lag}": sequence[t - lag][name] for lag in spec.lags}
                terms |= {f"lead_{lead}": sequence[t + lead][name] for lead in spec.leads}
                needed = [sequence[t + offset][name] for offset in offsets]
                if before:
                    needed += [sequence[t + offset][before] for offset in before_too]
                if own_previous:
                    terms["previous_layer"] = row[before] if before else None
                    terms["previous_layer_lag_1"] = sequence[t - 1][before] if before else None
                kept = all(map(usable, needed)) and (before or not own_previous)
                for term, value in terms.items():
                    cells[f"{name}.{term}"] = math.log(value) if kept else None
            if "position" in spec.covariates:
                cells |= spline(t, spec.position_knots)
            if "log_frequency" in spec.covariates:
                share = token_ids.count(row["token_id"]) / len(token_ids)
                cells["log_frequency"] = math.log(share)
            if "group" in spec.covariates:
                group = GROUPS[int(row["document"][1:]) % 3]
                for other in sorted(set(facts["group"].values()))[1:]:
                    cells[f"group_{other}"] = float(other == group)
            found.append(cells)
    return found, [len(sequence) for sequence in sequences]


DISTANCES = st.lists(st.integers(1, 4), max_size=3, unique=True).map(lambda d: tuple(sorted(d)))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=10),
    lags=DISTANCES,
    leads=DISTANCES,
    covariates=st.sets(st.sampled_from(["position", "log_frequency", "group", "previous_layer"])),
    drop_first=st.integers(0, 2),
    rows=st.integers(1, 40),
    spoiled=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([0, np.inf, np.nan])), max_size=6
    ),
)
@settings(max_examples=40)
def test_the_design_equals_its_literal_definition(
    lengths, lags, leads, covariates, drop_first, rows, spoiled
):
    values = np.random.default_rng(len(lengths)).lognormal(size=(sum(lengths), 3))
    for place, value in spoiled:
        values.reshape(-1)[place % values.size] = value
    table = norms_table(lengths, 3, values=values)
    spec = design_settings(lags, leads, covariates, position_knots=KNOTS, drop_first=drop_first)
    with tempfile.TemporaryDirectory() as folder:
        facts = facts_of(Path(folder), table)
    found, counts = build(table, spec, rows, facts)
    expected, sizes = by_definition(table, spec, facts)
    assert found.num_rows == len(expected)
    for row, other in zip(found.to_pylist(), expected, strict=True):
        assert list(row) == list(other)
        for name, value in other.items():
            exact = value is None or isinstance(value, str)
            close = value if exact else pytest.approx(value, rel=1e-13, abs=1e-14)
            assert row[name] == close, name

    assert counts.sequences == len(lengths)
    assert sizes == lengths
    with_rows = {row["document"] for row in expected}
    assert counts.short_sequences == len(lengths) - len(with_rows)
    first = 1 if "previous_layer" in covariates else 0
    assert counts.dropped_rows == {
        name: number
        for name in columns.layers_in(table.schema)[first:]
        if (number := sum(row[f"{name}.y"] is None for row in expected))
    }
    assert sum(counts.zero_norms.values()) == (values == 0).sum()
    assert sum(counts.nonfinite_norms.values()) == (~np.isfinite(values)).sum()


@pytest.mark.parametrize(
    ("lengths", "positions", "counted"),
    [
        ({("a", 0): 6, ("a", 1): 6}, [3, 4, 5, 3, 4, 5], (2, 0, 6)),
        ({("a", 0): 3, ("b", 0): 4, ("b", 1): 1, ("c", 0): 7}, [3, 3, 4, 5, 6], (4, 2, 7)),
        ({("a", 0): 2}, [], (1, 1, 2)),
        ({}, [], (0, 0, 0)),
    ],
)
def test_lags_do_not_cross_sequences_and_short_ones_are_counted(lengths, positions, counted):
    table = designs.norms_table(lengths, np.ones((2, sum(lengths.values()))))
    found, counts = build(table, design_settings((1, 2)))
    assert found["position"].to_pylist() == positions
    assert (counts.sequences, counts.short_sequences, counts.longest_sequence) == counted
    assert counts.fewest_tokens == (4 if lengths else 0)


def test_an_unknown_token_or_document_is_refused(tmp_path):
    table = norms_table([8, 8])
    facts = facts_of(tmp_path, table)
    few = facts_of(tmp_path, table, ["d1"], {"token_id": [0], "count": [1]})
    for covariate, problem in (
        ("log_frequency", "which the token counts lack"),
        ("group", "found the document 'd0', which the corpus lacks"),
    ):
        spec = design_settings((1,), covariates=(covariate,))
        build(table, spec, facts=facts)
        with pytest.raises(UserError, match=problem):
            build(table, spec, facts=few)


def test_a_relative_design_is_that_of_the_ratios(tmp_path):
    """Both files hold numbers that have no logarithm, and are cut at other rows."""
    lengths, random = [30, 4, 17, 9], np.random.default_rng(1)
    norms, stream = random.lognormal(size=(2, 60, 2)).astype(np.float32)
    norms[12, 0], norms[41, 1] = 0, np.inf
    stream[20, 0], stream[21, 1], stream[52, 1] = 0, np.inf, np.nan
    for name, values, rows in (("norms", norms, 60), ("stream", stream, 7)):
        table = norms_table(lengths, values=values)
        table = table.replace_schema_metadata(tables.metadata({"stages": {}}))
        pq.write_table(table, tmp_path / name, row_group_size=rows)
    terms = DesignSettings(lags=[1, 2], outcome="relative")
    files = [tmp_path / name for name in ("norms", "stream", "design", "crossproducts")]
    counts = crossproducts.of_norms(*files, Formula(terms, {}), halves=False)
    ratios = np.where(np.isfinite(stream) & (stream > 0), norms / np.where(stream, stream, 1), 0)
    expected, _ = build(norms_table(lengths, values=ratios), design_settings((1, 2)))
    found = pq.read_table(files[2]).to_pandas()
    pd.testing.assert_frame_equal(found, expected.to_pandas(), rtol=1e-6, atol=1e-6)
    assert found.filter(like=".y").isna().sum().tolist() == [6, 7]
    assert counts.zero_norms == {"layer_00": 1}
    assert counts.nonfinite_norms == {"layer_00": 1, "layer_01": 3}
    # Logarithms of norms are stored as they are, what repeats in a packed form.
    group = pq.read_metadata(files[2]).row_group(0)
    for column in map(group.column, range(group.num_columns)):
        is_term = column.path_in_schema.startswith("layer_")
        assert column.compression == ("UNCOMPRESSED" if is_term else "ZSTD")
        assert ("RLE_DICTIONARY" in column.encodings) == (not is_term)
        assert not column.is_stats_set
