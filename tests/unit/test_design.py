import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlag import design, layout


def norms_table(lengths, layers=2, seed=0, values=None):
    """Return norms of sequences of given lengths, each a document of its own."""
    rows = sum(lengths)
    if values is None:
        values = np.random.default_rng(seed).lognormal(size=(rows, layers))
    return pa.table(
        {
            "document": pa.array(
                np.repeat([f"d{i}" for i in range(len(lengths))], lengths).tolist(), pa.string()
            ).dictionary_encode(),
            "window": pa.array(np.zeros(rows, np.int32)),
            "position": pa.array(
                np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
                if lengths
                else np.zeros(0, np.int32)
            ),
            "token_id": pa.array(np.arange(rows, dtype=np.int32)),
            **{
                layout.layer_name(i): pa.array(values[:, i].astype(np.float32))
                for i in range(layers)
            },
        },
        schema=layout.schema(layers),
    )


def build(table, lags, drop_first=1, rows=1000):
    counts = design.Counts()
    parts = list(design.designs(table.to_batches(rows), lags, drop_first, counts))
    return pa.concat_tables(parts), counts


def by_definition(table, lags, drop_first):
    """Transcribe the definition: log a[t] beside log a[t-k], within one sequence."""
    rows = []
    data = table.to_pylist()
    first = 0
    for index, row in enumerate(data):
        first = index if row["position"] == 0 else first
        outcome = index - first
        if any(outcome - lag < drop_first for lag in [0, *lags]):
            continue
        found = {key: row[key] for key in layout.KEYS}
        for name in layout.layers_in(table.schema):
            values = [row[name], *(data[index - lag][name] for lag in lags)]
            usable = all(np.isfinite(value) and value > 0 for value in values)
            for term, value in zip(["y", *(f"lag_{lag}" for lag in lags)], values, strict=True):
                found[f"{name}.{term}"] = float(np.log(value)) if usable else None
        rows.append(found)
    return rows


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=10),
    lags=st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True).map(sorted),
    drop_first=st.integers(0, 3),
    rows=st.integers(1, 40),
    spoiled=st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([0, np.inf, np.nan]))),
)
@settings(max_examples=150, deadline=None)
def test_the_design_is_its_definition(lengths, lags, drop_first, rows, spoiled):
    values = np.random.default_rng(len(lengths)).lognormal(size=(sum(lengths), 2))
    for place, value in spoiled:
        values.reshape(-1)[place % values.size] = value
    table = norms_table(lengths, values=values)
    found, counts = build(table, lags, drop_first, rows)
    expected = by_definition(table, lags, drop_first)
    assert found.num_rows == len(expected)
    assert found.schema == design.schema(layout.layers_in(table.schema), lags)
    for row, other in zip(found.to_pylist(), expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            exact = value is None or isinstance(value, str)
            assert row[name] == (value if exact else pytest.approx(value, rel=1e-15)), name
    assert counts.sequences == len(lengths)
    assert counts.short_sequences == sum(n <= drop_first + max(lags) for n in lengths)
    assert sum(counts.dropped_rows.values()) == sum(
        row[f"{name}.y"] is None for row in expected for name in layout.layers_in(table.schema)
    )
    assert sum(counts.zero_norms.values()) == (values == 0).sum()
    assert sum(counts.nonfinite_norms.values()) == (~np.isfinite(values)).sum()


def test_a_text_of_n_tokens_gives_n_minus_3_rows():
    found, _ = build(norms_table([95]), [1, 2])
    assert found.num_rows == 92
    assert found["position"].to_pylist()[0] == 3


def test_lags_do_not_cross_windows():
    table = norms_table([6, 6])
    columns = table.to_pydict() | {"document": ["a"] * 12, "window": [0] * 6 + [1] * 6}
    table = pa.table(columns, schema=table.schema)
    found, counts = build(table, [1])
    assert found["position"].to_pylist() == [2, 3, 4, 5] * 2
    assert counts.sequences == 2


def test_short_sequences_are_kept_out_and_counted():
    found, counts = build(norms_table([3, 4, 1, 10]), [1, 2])
    assert found["document"].to_pylist() == ["d1"] + ["d3"] * 7
    assert (counts.sequences, counts.short_sequences) == (4, 2)


def test_nothing_gives_nothing():
    counts = design.Counts()
    parts = list(design.designs(norms_table([2]).to_batches(), [1, 2], 1, counts))
    assert sum(part.num_rows for part in parts) == 0
    assert counts.short_sequences == 1
