"""Moments against their definition, over batches, shards, halves and bins."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from designs import TERMS, design_table, norms_table, pieces_of
from fits import assert_alike, fit_settings, joined_of, layers_of, moments_of, regressed, stored_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from attnlag.regression.design.design import Formula
from attnlag.regression.estimation import crossproducts
from attnlag.regression.inference import fitting
from attnlag.regression.settings import DesignSettings
from attnlag.storage import tables


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    rows=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    halves=st.booleans(),
    effects=st.booleans(),
)
def test_shards_and_batches_change_nothing(lengths, rows, cuts, halves, effects):
    table = design_table(lengths, 2, mean=100.0, missing=0.1)
    whole = layers_of(table, halves=halves, effects=effects)
    joined = joined_of(moments_of(part, rows, halves) for part in pieces_of(table, *cuts))
    joined = regressed(joined, effects)
    assert joined[0].clusters == [f"d{i}" for i in range(len(lengths))]
    assert_alike(joined, whole, "clusters", "documents", "centre", rtol=1e-13, atol=1e-13)
    assert_alike(joined, whole, "s", "total", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("budget", [np.inf, 1.0])
def test_a_first_shard_without_rows_costs_no_precision(tmp_path, budget):
    """It has no means; moments about zero would lose the digits of those about the means."""
    table = design_table([9, 4, 6, 3], 1, mean=1e6)
    parts, expected = [table.slice(0, 0), table], moments_of(table)
    stored = stored_of(parts, tmp_path / "shards", budget)
    for found in (stored, joined_of(map(moments_of, parts))):
        assert_alike(found, expected, "centre", "s")


@pytest.mark.parametrize("effects", [False, True])
def test_every_document_is_in_exactly_one_bin(monkeypatch, tmp_path, effects):
    """The documents that share bins are those of two shards, some of which are then left out."""
    monkeypatch.setattr(crossproducts, "FEWEST_BINS", 7)
    monkeypatch.setattr(crossproducts, "BLOCK_BYTES", 2000)
    table = design_table(np.random.default_rng(1).integers(1, 9, 60).tolist(), 2)
    binned = stored_of(pieces_of(table, 25), tmp_path / "shards", 1000.0, halves=True)
    thirds = {f"d{i}": f"third {i % 3}" for i in range(60)}
    # A control has a few documents, which share no bins.
    few = ["d3", "d4", "d40"]
    for one, other in zip(binned, moments_of(table, halves=True), strict=True):
        assert (one.only(few).bins, one.only(few).clusters) == (None, few)
        expected = other.only(few).recentred(one.centre).s
        assert_allclose(one.only(few).s, expected, atol=1e-10)
    for kept in (None, [f"d{i}" for i in range(60) if i % 5]):
        small, whole = (
            regressed(each if kept is None else [layer.only(kept) for layer in each], effects)
            for each in (binned, moments_of(table, halves=True))
        )
        assert_alike(small, whole, "documents", "total", atol=1e-10)
        for one, other in zip(small, whole, strict=True):
            assert (one.bins, other.bins) == (7, None)
            assert one.clusters == [f"bin {i}" for i in range(7)]
            assert one.documents == len(kept or range(60))
            for place in range(7):
                expected = other.s[:, place::7].sum(axis=1)
                assert_allclose(one.s[:, place], expected, atol=1e-10)
            # Groups are few, so that they are clusters under any limit of memory.
            grouped, expected = (each.by_group(thirds) for each in (one, other))
            assert (grouped.bins, grouped.clusters) == (None, ["third 0", "third 1", "third 2"])
            assert_allclose(grouped.s, expected.s, atol=1e-10)
            every = np.concatenate([block.s for block in one.by_document()], axis=1)
            assert_allclose(every, other.s, atol=1e-10)


def test_rows_dropped_for_a_bad_norm_are_counted_over_all_shards(tmp_path):
    generator = np.random.default_rng(0)
    formula, files = Formula(DesignSettings(lags=[1]), {}), []
    for shard in range(2):
        norms, design, products = paths = [tmp_path / f"{shard}{kind}.parquet" for kind in "ndp"]
        values = generator.lognormal(size=80)
        # The outcome of one row and the lag of the next, twice in the second shard.
        values[[15, 35][: 1 + shard]] = 0
        record = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {}}
        lengths = {(f"{shard}{letter}", 0): 20 for letter in "abcd"}
        tables.write_table(norms_table(lengths, [values]), norms, record)
        crossproducts.of_norms(norms, None, design, products, formula, halves=False)
        files.append(paths[1:])
    designs, products = zip(*files, strict=True)
    group_of = {f"{shard}{letter}": "one" for shard in range(2) for letter in "abcd"}
    fitted = fitting.fit_regression(products, designs, group_of, fit_settings())
    assert fitted.goodness["n_dropped"].tolist() == [6]
    assert fitted.goodness["n_obs"].tolist() == [2 * 4 * 18 - 6]


@pytest.mark.parametrize("halves", [False, True])
def test_moments_are_read_back_as_they_were_written(tmp_path, halves):
    table = design_table([9, 4, 6, 3], 3, missing=0.2)
    expected = moments_of(table, rows=7, halves=halves)
    options = {"outcome": "parallel", "rows": 7, "halves": halves}
    again = stored_of([table], tmp_path / "shards", **options)
    path = tmp_path / "shards/0000.parquet"
    frame = pq.read_table(path).to_pandas()
    assert frame["document"].tolist() == list(np.repeat([f"d{i}" for i in range(4)], 1 + halves))
    rows = np.max([layer.s[..., 0, 0].T for layer in expected], axis=0)
    assert frame["n"].tolist() == rows.reshape(-1).tolist()
    assert (again.layers, again.terms) == ([0, 1, 2], TERMS)
    # The shards of a large corpus do not stay in memory one by one.
    assert again[0] is not again[0]
    kept = crossproducts.Stored([path], keep=True)
    assert kept[0] is kept[0]
    assert_alike(again, expected, "layer", "terms", "clusters", "documents", "above", "centre", "s")
    assert {(layer.of_logs, len(layer.s)) for layer in again} == {(False, 1 + halves)}
    plain = moments_of(table, rows=7)
    assert_alike([layer.whole() for layer in again], plain, "s", atol=1e-12)
