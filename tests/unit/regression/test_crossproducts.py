"""Cross-products against their definition, over batches, shards, halves and bins."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from designs import (
    TERMS,
    design_table,
    norms_table,
    regression_settings,
    shard_of,
    stack_of,
    write_shard,
)
from hypothesis import given
from hypothesis import strategies as st

from attnlag.regression.design.properties import Property
from attnlag.regression.estimation import crossproducts, stacks
from attnlag.regression.estimation.packed import unpacked
from attnlag.regression.inference import fitting
from attnlag.regression.settings import BuildDesignSettings, DesignSettings
from attnlag.storage import tables


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


@pytest.mark.parametrize("halves", [False, True])
def test_one_pass_over_norms_gives_a_design_and_its_cross_products(halves, tmp_path, monkeypatch):
    """Batches end within documents, which may have windows, no rows, or tokens without surprisal.

    The cross-products are worked out again from the rows of the design, document by document.
    """
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 7)
    generator = np.random.default_rng(0)
    windows = {"a": [9, 20], "b": [2], "c": [31], "d": [3], "e": [5, 1, 6], "f": [1]}
    sequences = {
        (name, window): n for name, lengths in windows.items() for window, n in enumerate(lengths)
    }
    lengths = list(sequences.values())
    tokens = sum(lengths)
    norms = generator.lognormal(3, 1, size=(2, tokens))
    norms[1, 40] = 0
    files = norms_file, design_file, products_file = [
        tmp_path / f"{name}.parquet" for name in ("norms", "design", "products")
    ]
    table = norms_table(sequences, norms.astype(np.float32))
    tables.write_table(table, norms_file, {"stages": {}})
    surprisal = np.where(generator.random(tokens) < 0.2, np.nan, generator.random(tokens))
    first_rows = dict(zip(sequences, np.cumsum([0, *lengths]), strict=False))
    facts = {"surprisal": Property("surprisal", first_rows, surprisal)}
    design = DesignSettings(lags=[1, 2], covariates=["surprisal"])
    settings = BuildDesignSettings(design=design, halves=halves)
    counts = crossproducts.of_norms(norms_file, None, *files[1:], settings, facts)
    assert (counts.sequences, counts.short_sequences) == (len(lengths), 4)

    frame = pq.read_table(design_file).to_pandas()
    assert len(frame) + counts.incomplete_rows == sum(max(0, n - 3) for n in lengths)
    assert counts.incomplete_rows > 3
    shard = crossproducts.read_shard(products_file)
    blocks = {
        name: products
        for block in shard.batches()
        for name, products in zip(block.documents, block.products, strict=True)
    }
    assert list(blocks) == list(frame["document"].unique()) == ["a", "c", "e"]
    for name, products in blocks.items():
        rows = frame[frame["document"] == name]
        middle = (len(rows) + 1) // 2
        for part, half in enumerate([rows[:middle], rows[middle:]] if halves else [rows]):
            for layer in range(2):
                names = [f"layer_0{layer}.{term}" for term in TERMS] + ["surprisal"]
                values = half[names].dropna().to_numpy()
                w = np.column_stack([np.ones(len(values)), values]) - shard.centre[layer]
                np.testing.assert_allclose(unpacked(products[part, layer], 5), w.T @ w, atol=1e-12)


def test_rows_dropped_for_a_bad_norm_are_counted_over_all_shards(tmp_path):
    generator = np.random.default_rng(0)
    settings = BuildDesignSettings(design=DesignSettings(lags=[1]), halves=False)
    files = []
    for shard in range(2):
        norms, design, products = paths = [tmp_path / f"{shard}{kind}.parquet" for kind in "ndp"]
        values = generator.lognormal(size=80)
        # The outcome of one row and the lag of the next, twice in the second shard.
        values[[15, 35][: 1 + shard]] = 0
        record = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {}}
        lengths = {(f"{shard}{letter}", 0): 20 for letter in "abcd"}
        tables.write_table(norms_table(lengths, [values]), norms, record)
        crossproducts.of_norms(norms, None, design, products, settings, {})
        files.append(paths[1:])
    designs, products = zip(*files, strict=True)
    fitted = fitting.fit_regression(products, designs, {}, regression_settings(), threads=1)
    assert fitted.goodness["n_dropped"].tolist() == [6]
    assert fitted.goodness["n_obs"].tolist() == [2 * 4 * 18 - 6]


def test_a_shard_is_read_back_as_it_was_written(tmp_path):
    table = design_table([9, 4, 6, 3], 3, missing=0.2)
    for halves in (False, True):
        shard = shard_of(table, rows=7, halves=halves)
        count = 2 if halves else 1
        path = tmp_path / f"{halves}.parquet"
        record = {"stages": {"design": {"outcome": "parallel"}}}
        write_shard(table, path, record, 7, halves)
        frame = pq.read_table(path).to_pandas()
        assert frame["document"].tolist()[:: 3 * count] == ["d0", "d1", "d2", "d3"]
        assert frame["layer"].tolist() == [0, 1, 2] * 4 * count
        again = crossproducts.read_shard(path)
        for options in ({}, {"fixed_effects": True}):
            one, other = (stacks.stacked([s], **options) for s in (shard, again))
            np.testing.assert_array_equal(one.products, other.products)
            np.testing.assert_array_equal(one.totals, other.totals)
            assert one.clusters == other.clusters
        assert not again.of_logs
        assert (again.terms, again.layers, again.halves) == (shard.terms, shard.layers, count)
        joined, plain = crossproducts.without_halves(again), shard_of(table, rows=7)
        for name in ("pooled", "within"):
            sums, expected = (getattr(each.totals, name) for each in (joined, plain))
            np.testing.assert_allclose(sums, expected, atol=1e-12)
