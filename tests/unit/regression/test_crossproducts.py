"""Cross-products against their definition, over batches, shards, halves and bins."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from designs import TERMS, design_table, shard_of, stack_of
from hypothesis import given
from hypothesis import strategies as st

from attnlag.regression.estimation import crossproducts, stacks
from attnlag.regression.estimation.packed import unpacked


def rows_of(table, layer, document):
    """Return the rows of w = [1, y, lags] that a layer keeps of a document."""
    frame = table.to_pandas()
    names = [f"layer_{layer:02d}.{term}" for term in TERMS]
    rows = frame.loc[frame["document"] == document, names].dropna().to_numpy()
    return np.column_stack([np.ones(len(rows)), rows])


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    rows=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    halves=st.booleans(),
    fixed_effects=st.booleans(),
)
def test_shards_and_batches_change_nothing(lengths, rows, cuts, halves, fixed_effects):
    table = design_table(lengths, 2, mean=100.0, missing=0.1)
    whole = stack_of(table, halves=halves, fixed_effects=fixed_effects)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    edges = sorted({0, len(lengths), *(cut for cut in cuts if cut < len(lengths))})
    shards = [
        shard_of(table.slice(ends[a], ends[b] - ends[a]), rows, halves) for a, b in pairwise(edges)
    ]
    merged = stacks.stacked(shards, fixed_effects=fixed_effects)
    assert merged.clusters == whole.clusters == [f"d{i}" for i in range(len(lengths))]
    close = {"rtol": 1e-9, "atol": 1e-8}
    np.testing.assert_allclose(merged.centre, whole.centre, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(merged.products, whole.products, **close)
    np.testing.assert_allclose(merged.totals, merged.products.sum(axis=2), **close)
    np.testing.assert_allclose(merged.totals, whole.totals, **close)
    assert (merged.documents == whole.documents).all()


def test_cross_products_of_a_document_equal_those_of_its_rows():
    table = design_table([9, 4, 6], 2, missing=0.2)
    stack = stack_of(table, rows=5)
    for layer in range(2):
        for g, document in enumerate(stack.clusters):
            w = rows_of(table, layer, document) - stack.centre[layer]
            expected = unpacked(stack.products[layer, 0, g], 4)
            np.testing.assert_allclose(expected, w.T @ w, atol=1e-12)


@pytest.mark.parametrize("rows", [3, 7, 1000])
def test_each_half_is_centred_on_its_own_means(rows):
    table = design_table([9, 1, 40, 6, 2], 2)
    stack = stack_of(table, rows=rows, halves=True, fixed_effects=True)
    assert stack.products.shape[1] == 3
    for g, document in enumerate(stack.clusters):
        w = rows_of(table, 1, document)
        middle = (len(w) + 1) // 2
        for part, kept in enumerate((w, w[:middle], w[middle:])):
            expected = np.zeros((4, 4))
            if len(kept):
                within = kept - kept.mean(axis=0)
                expected = within.T @ within
            expected[0, 0] = len(kept)
            found = unpacked(stack.products[1, part, g], 4)
            np.testing.assert_allclose(found, expected, atol=1e-11)


def test_every_document_is_in_exactly_one_bin(monkeypatch):
    monkeypatch.setattr(stacks, "FEWEST_BINS", 7)
    table = design_table(np.random.default_rng(1).integers(1, 9, 60).tolist(), 2)
    whole = stack_of(table)
    small = stack_of(table, budget=1000.0)
    assert (small.bins, whole.bins) == (7, None)
    assert small.clusters == [f"bin {i}" for i in range(7)]
    for place in range(7):
        np.testing.assert_allclose(
            small.products[:, :, place], whole.products[:, :, place::7].sum(axis=2), atol=1e-10
        )
    every = np.concatenate(list(small.by_document()), axis=2)
    np.testing.assert_allclose(every, whole.products, atol=1e-12)
    np.testing.assert_allclose(small.totals, whole.totals, atol=1e-10)


def test_a_shard_is_read_back_as_it_was_written(tmp_path):
    table = design_table([9, 4, 6, 3], 3, missing=0.2)
    for halves in (False, True):
        shard = shard_of(table, rows=7, halves=halves)
        count = 2 if halves else 1
        path = tmp_path / f"{halves}.parquet"
        facts = {"terms": shard.terms, "layers": shard.layers, "centre": shard.centre}
        crossproducts.write(shard.batches(), path, {"stages": {}}, halves=count, **facts)
        frame = pq.read_table(path).to_pandas()
        assert frame["document"].tolist()[:: 3 * count] == ["d0", "d1", "d2", "d3"]
        assert frame["layer"].tolist() == [0, 1, 2] * 4 * count
        again = crossproducts.read_shard(path)
        for options in ({}, {"fixed_effects": True}):
            one, other = (stacks.stacked([s], **options) for s in (shard, again))
            np.testing.assert_array_equal(one.products, other.products)
            np.testing.assert_array_equal(one.totals, other.totals)
            assert one.clusters == other.clusters
        assert (again.terms, again.layers, again.halves) == (shard.terms, shard.layers, count)
        joined, plain = crossproducts.without_halves(again), shard_of(table, rows=7)
        for name in ("pooled", "within"):
            sums, expected = (getattr(each.totals, name) for each in (joined, plain))
            np.testing.assert_allclose(sums, expected, atol=1e-12)
