"""Directions of adjustments, against plain hooks in float64 and against direct enumeration."""

import itertools
import json
from functools import partial

import models
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from designs import norms_table
from models import LLAMA
from oracles import mean_of

from attnlag.quantities import centred, columns, formats, geometry, geometry_means
from attnlag.quantities.catalogue import OF_A_PASS, RELATIVE, SITES, STREAM_GROWTH
from attnlag.quantities.means import RatioSums
from attnlag.storage.sequences import TokenSequence

# The first two share a batch.
SEQUENCES = models.ragged((20, 19, 9, 1))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "granite"])
@pytest.mark.parametrize("keep", ["vectors", "norms"])
def test_directions_equal_those_of_vectors_from_plain_hooks(name, keep):
    _, path, scale = models.WRITTEN_BY[name]
    model = models.small_model(*models.MODELS[name])
    measured = models.extractor(model, keep, "geometry", batch_tokens=512).measure(SEQUENCES)
    ends = np.cumsum(list(map(len, SEQUENCES)))[:-1]
    each = np.split(np.stack(measured["geometry", "attention"]), ends, axis=1)
    blocks = model.h if name == "gpt2" else model.layers
    outputs = [block.get_submodule(path) for block in blocks]
    for sequence, mine in zip(SEQUENCES, each, strict=True):
        x = models.hidden_states(model, sequence).astype(float)
        a = scale * models.outputs_of(model, outputs, sequence).astype(float)
        size, of_x, of_y = (np.linalg.norm(each, axis=-1) for each in (a, x, x + a))
        along = (a * x).sum(-1) / of_x
        expected = {
            "parallel": along / size,
            "orthogonal": np.linalg.norm(a - (along / of_x)[..., None] * x, axis=-1) / size,
            "log_growth": np.log(of_y / of_x),
            "angle": np.arccos(np.clip((x * (x + a)).sum(-1) / of_x / of_y, -1, 1)),
        }
        mine[..., :2] /= size[..., None]
        for place, quantity in enumerate(OF_A_PASS[:-1]):
            np.testing.assert_allclose(mine[..., place], expected[quantity], rtol=0, atol=2e-5)
        assert np.isnan(mine[:, 0, -1]).all()
        before = (a[:, 1:] * a[:, :-1]).sum(-1) / (size[:, 1:] * size[:, :-1])
        np.testing.assert_allclose(mine[:, 1:, -1], before, atol=2e-5)


def test_what_a_model_adds_in_half_precision_is_added_and_multiplied_in_float32():
    model = models.small_model("llama", LLAMA).to(torch.bfloat16)
    found = models.extractor(model, "vectors", "geometry", sites=[*SITES]).measure(SEQUENCES)
    vectors = {site: np.stack(found["vectors", site]) for site in SITES}
    np.testing.assert_array_equal(vectors["block"], vectors["attention"] + vectors["mlp"])
    parallel, orthogonal, *_ = np.moveaxis(found["geometry", "block"], -1, 0)
    norms = np.linalg.norm(vectors["block"], axis=-1)
    np.testing.assert_allclose(np.hypot(parallel, orthogonal), norms, rtol=1e-5)


def test_the_parts_add_up_and_what_is_zero_has_no_direction():
    added, stream = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 40, 24)))
    # One along the stream, one that takes it away, one of zero.
    added[1], added[2], added[3] = 0.3 * stream[1], -stream[2], 0
    starts = torch.tensor([0, 17])
    found = geometry.directions(added, stream, starts).numpy()
    parallel, orthogonal, growth, angle, before = found.T
    np.testing.assert_allclose(parallel**2 + orthogonal**2, (added**2).sum(1), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(growth[1], np.log(1.3), rtol=1e-6)
    assert (growth[2], angle[3], parallel[3]) == (-np.inf, 0, 0)
    assert list(np.flatnonzero(np.isnan(before))) == [0, 3, 4, 17]


def test_random_pairs_come_from_two_documents():
    model = models.small_model("llama", LLAMA)
    adjustments = models.extractor(model, "vectors", "geometry")
    directions = adjustments.computations["geometry", "attention"]
    directions.expect_sequences(8)
    sample = directions.sample
    runs = [SEQUENCES, SEQUENCES[::-1]]
    for documents, run in zip(("aabc", "deff"), runs, strict=True):
        sample.begin(list(map(TokenSequence, documents, [0, 1, 0, 0], run)))
        adjustments.measure(run)
    # A sequence of one token has none that is not a first one.
    assert sample.documents == ["a", "a", "b", "e", "f", "f"]
    found = sample.means()
    names = sample.documents
    pairs = [(i, j) for i, j in itertools.product(range(6), repeat=2) if names[i] != names[j]]
    assert found["pairs"] == len(pairs) == 26
    i, j = np.transpose(pairs)
    a, x = (vectors[:6].astype(float).swapaxes(0, 1) for vectors in (sample.added, sample.stream))
    growth = np.linalg.norm(x[:, j] + a[:, i], axis=-1) / np.linalg.norm(x[:, j], axis=-1)
    np.testing.assert_allclose(found["log_growth"], np.log(growth).mean(axis=1), rtol=1e-6)
    along = (a[:, i] * x[:, j]).sum(-1) / (x[:, j] ** 2).sum(-1)
    np.testing.assert_allclose(found["parallel_relative"], along.mean(axis=1), rtol=1e-6)
    # What is kept is what the pass gave, and in another run of the same sequences the same.
    everything = np.stack(adjustments.measure(runs[0])["vectors", "attention"])
    gaps = np.abs(everything[:, 39:48] - a[:, [2]]).max(axis=(0, 2))
    assert gaps.min() < 1e-5
    assert gaps.argmin() > 0
    # Two tokens of each of 20 sequences: the second is chosen, the first one never.
    pairs = geometry.PairSample(20, range(3), 48)
    pairs.begin([TokenSequence(str(number), 0, np.arange(2)) for number in range(20)])
    pairs.keep(0, np.arange(40), *[torch.arange(40.0)[:, None].expand(-1, 48)] * 2)
    assert pairs.added[:, 0, 0].tolist() == list(range(1, 40, 2))


@pytest.mark.parametrize("rows", [7, 1000])
def test_centred_cosines_by_distance_equal_those_of_all_pairs(rows, tmp_path):
    """Row groups that cut sequences, a window, and a vector that is not finite."""
    lengths = {("a", 0): 25, ("a", 1): 6, ("b", 0): 1, ("c", 0): 19}
    a = np.random.default_rng(2).normal(size=(2, sum(lengths.values()), 5)).astype(np.float32) + 2
    a[1, 9, 3] = np.inf
    run = [TokenSequence(*key, np.arange(n, dtype=np.int32)) for key, n in lengths.items()]
    table = formats.table(run, list(a), columns.schema(2, 5), "float32")
    pq.write_table(table, tmp_path / "0000.parquet", row_group_size=rows)
    file = pq.ParquetFile(tmp_path / "0000.parquet")
    position = table["position"].to_numpy()
    sums = centred.VectorSums.empty([0, 1], 5)
    for layer, vectors in enumerate(a):
        sums.add(layer, vectors, position)
    sums.write(tmp_path / "sums.parquet", {})
    # Two shards alike have the same mean.
    means = centred.VectorSums.read(*[tmp_path / "sums.parquet"] * 2).means()
    for vectors, mean in zip(a, means, strict=True):
        finite = np.isfinite(vectors).all(axis=1) & (position > 0)
        np.testing.assert_allclose(mean, vectors[finite].mean(axis=0), rtol=1e-6)
    assert (centred.VectorSums.empty([0, 1], 5).means() == 0).all()
    # The mean of a single vector is that vector.
    single = centred.VectorSums.empty([0], 5)
    single.add(0, a[0, 1:2], np.array([1]))
    np.testing.assert_allclose(single.means(), a[0, 1:2], rtol=1e-6)

    comparison = centred.CentredCosines(file, means, 1)
    previous = pa.concat_tables(comparison.previous()).to_pandas()
    found = comparison.by_distance().to_pandas().set_index(["layer", "distance"])
    unit = np.where(np.isfinite(a), a, np.nan).astype(float) - means[:, None]
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    usable = np.flatnonzero(position >= 1)
    name = np.array(table["document"].to_pylist())
    apart = name[usable, None] != name[usable]
    for layer, distance in itertools.product(range(2), range(1, 17)):
        row = found.loc[(layer, distance)]
        late = np.flatnonzero(position >= distance)
        cosines = (unit[layer, late] * unit[layer, late - distance]).sum(axis=-1)
        if distance == 1:
            mine = previous[f"layer_0{layer}.cosine_previous_centred"]
            np.testing.assert_allclose(mine[late], cosines, atol=1e-5)
        used = (position[late] > distance) & np.isfinite(cosines)
        by_document = pd.Series(cosines[used]).groupby(name[late[used]])
        n, total = by_document.count(), by_document.sum()
        random = (unit[layer, usable] @ unit[layer, usable].T)[apart]
        counts = [len(n), n.sum(), n @ n, np.isfinite(random).sum()]
        assert row[["documents", "pairs", "pairs_squared", "random_pairs"]].tolist() == counts
        sums = total.sum(), total @ total, total @ n, np.nansum(random)
        names = ["total", "total_squared", "total_pairs", "random_total"]
        np.testing.assert_allclose(row[names], sums, atol=1e-4)
    assert np.isnan(previous.loc[position == 0].iloc[:, -2:]).all(axis=None)


def geometry_of_shard(folder, number):
    """Write the geometry of a shard and the norms of its stream; return both and the rows used.

    The second document has two windows, and a cosine of the first one is unknown.
    """
    random = np.random.default_rng(number)
    names = ((f"{number}a", 0), (f"{number}b", 0), (f"{number}b", 1), (f"{number}c", 0))
    lengths = dict(zip(names, (12, 9, 7, 15 + number), strict=True))
    keys = norms_table(lengths)
    frame = keys.to_pandas().astype({"document": str})
    values = random.normal(size=(2, len(frame), len(OF_A_PASS))).astype(np.float32)
    values[:, frame["position"] == 0, -1] = np.nan
    values[0, 4, -1] = np.nan
    stream = random.lognormal(size=(len(frame), 2)).astype(np.float32)
    paths = [folder / f"{kind}_{number}.parquet" for kind in ("geometry", "stream")]
    pairs = {name: [0.5 + number, None if number else 2.0] for name in (*OF_A_PASS, *RELATIVE)}
    facts = {"pairs": 10 + 20 * number, "layers": [0, 1]}
    pairs = {columns.PAIRS_KEY: json.dumps(facts | pairs).encode()}
    of_layers = [pa.array(column) for of_layer in values for column in of_layer.T]
    schema = columns.schema(2, values=OF_A_PASS).with_metadata(pairs)
    pq.write_table(pa.Table.from_arrays([*keys.columns, *of_layers], schema=schema), paths[0])
    pq.write_table(norms_table(lengths, stream.T), paths[1])
    frame = frame.set_index(["document", "position"])[[]]
    for layer in range(2):
        for place, name in enumerate(OF_A_PASS):
            frame[name, layer] = values[layer, :, place].astype(float)
        for name in RELATIVE:
            own = frame[name.removesuffix("_relative"), layer]
            frame[name, layer] = own / stream[:, layer].astype(float)
    # With the first token its cosine with the second one is left out, too.
    cosines = [("cosine_previous", layer) for layer in range(2)]
    frame.loc[frame.index.get_level_values("position") == 1, cosines] = np.nan
    frame[STREAM_GROWTH, 0] = np.log(stream[:, 1].astype(float) / stream[:, 0])
    return *paths, frame.query("position >= 1")


def test_means_of_all_shards_are_listed_with_both_controls(tmp_path, subtests):
    geometry, stream, (first, second) = zip(
        *(geometry_of_shard(tmp_path, number) for number in (0, 1)), strict=True
    )
    rows = pd.concat([first, second])
    # Each shard has sums of the cosines at each distance.
    paths, cosines = [], rows["angle", 0].dropna().groupby("document")
    for name, of_document in cosines:
        n, total = len(of_document), of_document.sum()
        row = {"layer": 0, "distance": 2, "documents": 1, "pairs": n, "pairs_squared": n**2}
        row |= {"total": total, "total_squared": total**2, "total_pairs": total * n}
        paths.append(tmp_path / f"distances_{name}.parquet")
        pd.DataFrame([row | {"random_pairs": 5, "random_total": 1.0}]).to_parquet(paths[-1])
    some = first.query("document in ('0a', '0b')")
    sums = partial(geometry_means.sums_of_shards, drop_first=1)
    found = geometry_means.table(
        sums(geometry, stream, paths),
        geometry_means.random_pairs(geometry, (*OF_A_PASS, *RELATIVE)),
        sums(geometry[1:], stream[1:], paths[:2]),
        sums(geometry[:1], stream[:1], documents=["0a", "0b"]),
        0.1,
    ).set_index(["quantity", "layer"])
    assert len(found) == rows.shape[1] + 1 == 2 * 7 + 2
    expected = {name: own.dropna() for name, own in rows.items()}
    expected[centred.QUANTITY, 0] = expected["angle", 0]
    for (quantity, layer), own in expected.items():
        with subtests.test(quantity=quantity, layer=layer):
            row = found.loc[(quantity, layer)]
            mean = mean_of(own, own.index.get_level_values("document"), 0.1)
            assert row[list(mean)].to_dict() == pytest.approx(mean, rel=1e-8)
            assert (row["tokens"], row["documents"]) == (len(own), 6)
            if quantity == centred.QUANTITY:
                assert (row["distance"], row["random_pairs"]) == (2, pytest.approx(0.2))
                random = own.loc[["0a", "0b"]].mean()
            else:
                random = second[quantity, layer].mean()
                assert row["trained"] == pytest.approx(some[quantity, layer].mean(), rel=1e-9)
                assert pd.isna(row["distance"]) == (quantity != "cosine_previous")
                # 10 pairs of one shard and 30 of the other; of the second layer only the one's.
                against = 2.0 if layer else (10 * 0.5 + 30 * 1.5) / 40
                against = np.nan if quantity == STREAM_GROWTH else against
                of_pairs = found.at[(quantity, layer), "random_pairs"]
                assert of_pairs == pytest.approx(against, nan_ok=True)
            assert row["untrained"] == pytest.approx(random, rel=1e-9)
    # A single document has a mean and no error.
    alone = RatioSums.from_rows(np.array([1.0, 3.0]), np.zeros(2, int))
    assert (alone.mean, np.isnan(alone.std_error)) == (2, True)


def test_centred_cosines_of_some_documents_leave_out_first_tokens_and_their_neighbours(tmp_path):
    keys = {"document": list("aaaabbbbcccc"), "window": 0, "position": [0, 1, 2, 3] * 3}
    values = np.random.default_rng(0).uniform(-1, 1, (2, 12))
    values[1, 3] = np.nan
    names = [f"layer_0{layer}.{centred.QUANTITY}" for layer in (0, 1)]
    rows = pd.DataFrame(keys).assign(**dict(zip(names, values, strict=True)))
    path = tmp_path / "centred.parquet"
    rows.astype({"document": "category"}).to_parquet(path)
    sums = geometry_means.over_shards([geometry_means.sums_of_neighbours(path, 1, {"a", "c"})])
    used = rows.query("document in ('a', 'c') and position >= 2")
    for layer, name in enumerate(names):
        row = sums.loc[(layer, centred.QUANTITY, 1)]
        assert row["total"] / row["rows"] == pytest.approx(used[name].mean())
        assert (row["clusters"], row["rows"]) == (2, used[name].notna().sum())
