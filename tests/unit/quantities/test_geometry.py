"""Directions of adjustments, against plain hooks in float64 and against direct enumeration."""

import itertools
import json

import models
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from designs import norms_table, tokens_table
from models import GPT, LLAMA
from oracles import mean_of

from attnlag.quantities import (
    centred,
    columns,
    computation,
    extraction,
    geometry,
    geometry_means,
)
from attnlag.quantities.catalogue import OF_A_PASS, RELATIVE, SITES, STREAM_GROWTH
from attnlag.quantities.means import RatioSums
from attnlag.storage.sequences import TokenSequence

# The module whose output is added, and what it is multiplied by; blocks are in layers or h.
MODELS = {
    "gpt2": (GPT, "attn", 1.0),
    "llama": (LLAMA, "self_attn", 1.0),
    "gemma2": ({**LLAMA, "head_dim": 12}, "post_attention_layernorm", 1.0),
    "granite": ({**LLAMA, "residual_multiplier": 0.22}, "self_attn", 0.22),
}


def small_model(name):
    return models.small_model(name, MODELS[name][0])


def sequences():
    return models.ragged((20, 13, 9, 1))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keep", ["vectors", "norms"])
def test_directions_equal_those_of_vectors_from_plain_hooks(name, keep):
    model = small_model(name)
    _, path, scale = MODELS[name]
    measured = models.extractor(model, keep, "geometry", batch_tokens=256).measure(sequences())
    found = np.stack(measured["geometry", "attention"])
    found = np.split(found, np.cumsum(list(map(len, sequences())))[:-1], axis=1)
    for sequence, mine in zip(sequences(), found, strict=True):
        x = models.hidden_states(model, sequence).astype(float)
        blocks = getattr(model, "h" if name == "gpt2" else "layers")
        outputs = [block.get_submodule(path) for block in blocks]
        a = scale * models.outputs_of(model, outputs, sequence).astype(float)
        y, (size, of_x) = x + a, (np.linalg.norm(each, axis=-1) for each in (a, x))
        of_y = np.linalg.norm(y, axis=-1)
        along = (a * x).sum(-1) / of_x
        expected = {
            "parallel": along,
            "orthogonal": np.linalg.norm(a - (along / of_x)[..., None] * x, axis=-1),
            "log_growth": np.log(of_y / of_x),
            "angle": np.arccos(np.clip((x * y).sum(-1) / of_x / of_y, -1, 1)),
        }
        for place, quantity in enumerate(OF_A_PASS[:-1]):
            unit = size if quantity in ("parallel", "orthogonal") else np.ones_like(size)
            assert (np.abs(mine[..., place] - expected[quantity]) < 2e-5 * unit).all(), quantity
        assert np.isnan(mine[:, 0, -1]).all()
        before = (a[:, 1:] * a[:, :-1]).sum(-1) / (size[:, 1:] * size[:, :-1])
        np.testing.assert_allclose(mine[:, 1:, -1], before, atol=2e-5)


def vectors(tokens=40, width=24):
    return torch.from_numpy(np.random.default_rng(1).normal(size=(2, tokens, width)))


def test_what_a_model_adds_in_half_precision_is_added_and_multiplied_in_float32():
    model = small_model("llama").to(torch.bfloat16)
    found = models.extractor(model, "vectors", "geometry", sites=[*SITES]).measure(sequences())
    vectors = {site: np.stack(found["vectors", site]) for site in SITES}
    np.testing.assert_array_equal(vectors["block"], vectors["attention"] + vectors["mlp"])
    parallel, orthogonal, *_ = np.moveaxis(found["geometry", "block"], -1, 0)
    norms = np.linalg.norm(vectors["block"], axis=-1)
    np.testing.assert_allclose(np.hypot(parallel, orthogonal), norms, rtol=1e-5)


def test_the_parts_add_up_and_are_invariant_under_rotation():
    added, stream = vectors()
    # One along the stream, one that takes it away, one of zero.
    added[1], added[2], added[3] = 0.3 * stream[1], -stream[2], 0
    starts = torch.tensor([0, 17])
    found = geometry.of_batch(added, stream, starts).numpy()
    parallel, orthogonal, growth, angle, before = found.T
    np.testing.assert_allclose(parallel**2 + orthogonal**2, (added**2).sum(1), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(growth[1], np.log(1.3), rtol=1e-6)
    assert (growth[2], angle[3], parallel[3]) == (-np.inf, 0, 0)
    assert list(np.flatnonzero(np.isnan(before))) == [0, 3, 4, 17]
    rotation = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64)).Q
    turned = geometry.of_batch(added @ rotation, stream @ rotation, starts).numpy()
    rest = np.arange(4, 40)
    np.testing.assert_allclose(turned[rest], found[rest], rtol=1e-4, atol=1e-6)


def test_random_pairs_come_from_two_documents():
    model = small_model("llama")
    adjustments = models.extractor(model, "vectors", "geometry")
    runs = [sequences(), sequences()[::-1]]
    names = [["a", "a", "b", "c"], ["d", "e", "f", "f"]]
    directions = adjustments.computations["geometry", "attention"]
    directions.expect(8)
    sample = directions.sample
    for documents, run in zip(names, runs, strict=True):
        sample.begin(list(map(TokenSequence, documents, [0, 1, 0, 0], run)))
        adjustments.measure(run)
    pairs = geometry.PairSample(20, 3, 48)
    pairs.begin([TokenSequence(str(number), 0, np.arange(2)) for number in range(20)])
    assert pairs.among(np.arange(40))[0].tolist() == list(range(1, 40, 2))
    # A sequence of one token has none that is not a first one.
    assert sample.documents == ["a", "a", "b", "e", "f", "f"]
    found = sample.means()
    pairs = [
        (i, j)
        for i, j in itertools.product(range(6), repeat=2)
        if sample.documents[i] != sample.documents[j]
    ]
    assert found["pairs"] == len(pairs) == 26
    a, x = (vectors[:6].astype(float) for vectors in (sample.added, sample.stream))
    for layer in range(3):
        sums = [x[j, layer] + a[i, layer] for i, j in pairs]
        sizes = [np.linalg.norm(x[j, layer]) for _, j in pairs]
        growth = np.log(np.linalg.norm(sums, axis=1) / sizes)
        np.testing.assert_allclose(found["log_growth"][layer], growth.mean(), rtol=1e-6)
        along = [a[i, layer] @ x[j, layer] / (x[j, layer] @ x[j, layer]) for i, j in pairs]
        np.testing.assert_allclose(found["parallel_relative"][layer], np.mean(along), rtol=1e-6)
    # What is kept is what the pass gave, and in another run of the same sequences the same.
    everything = np.stack(adjustments.measure(runs[0])["vectors", "attention"])
    kept = a[2]
    gaps = np.abs(everything[:, 33:42] - kept[:, None]).max(axis=(0, 2))
    assert gaps.min() < 1e-5
    assert gaps.argmin() > 0


def test_the_files_of_each_site_hold_its_own_norms_and_random_pairs(tmp_path):
    by_document = dict(zip([(name, 0) for name in "abcd"], sequences(), strict=True))
    pq.write_table(tokens_table(by_document), tmp_path / "tokens.parquet")
    sites = ["attention", "mlp"]
    model = small_model("llama")
    adjustments = models.extractor(model, "vectors", "norms", "geometry", sites=sites)
    keys = [(quantity, site) for quantity in ("vectors", "norms", "geometry") for site in sites]
    paths = {key: tmp_path / f"{key[0]}_{key[1]}.parquet" for key in keys}
    directions = {site: adjustments.computations["geometry", site] for site in sites}
    for of_site in directions.values():
        of_site.expect(4)
    extraction.record(tmp_path / "tokens.parquet", adjustments, paths, lambda *key: {}, "float16")
    pairs = {site: of_site.metadata() for site, of_site in directions.items()}
    for of_site in directions.values():
        of_site.sample = None
    measured = adjustments.measure(sequences())
    for site in sites:
        stored = pq.read_metadata(paths["geometry", site]).metadata
        assert pairs[site].items() <= stored.items()
        found = np.stack([pq.read_table(paths["norms", site])[f"layer_0{n}"] for n in range(3)])
        vectors = measured["vectors", site]
        # Vectors alone are stored in half precision.
        (half, *_), (full, *_) = (
            pq.read_table(paths[name, site]).columns[4:] for name in ("vectors", "norms")
        )
        assert (half.type.value_type, full.type) == (pa.float16(), pa.float32())
        np.testing.assert_allclose(columns.array_of(half), vectors[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found, np.linalg.norm(vectors, axis=-1), rtol=1e-6)
    assert pairs["attention"] != pairs["mlp"]


@pytest.mark.parametrize("rows", [7, 1000])
def test_centred_cosines_by_distance_equal_those_of_all_pairs(rows, tmp_path):
    """Row groups that cut sequences, a window, and a vector that is not finite."""
    lengths = {("a", 0): 25, ("a", 1): 6, ("b", 0): 1, ("c", 0): 19}
    tokens = sum(lengths.values())
    generator = np.random.default_rng(2)
    a = generator.normal(size=(2, tokens, 5)).astype(np.float32) + 2
    a[1, 9, 3] = np.inf
    run = [TokenSequence(*key, np.arange(n, dtype=np.int32)) for key, n in lengths.items()]
    schema = columns.schema(2, 5)
    table = computation.table(run, list(a), schema, "float32")
    pq.write_table(table, tmp_path / "0000.parquet", row_group_size=rows)
    file = pq.ParquetFile(tmp_path / "0000.parquet")
    position = table["position"].to_numpy()
    sums = centred.VectorSums.empty(2, 5)
    for layer in range(2):
        sums.add(layer, a[layer], position)
    pq.write_table(sums.table(), tmp_path / "sums.parquet")
    # Two shards alike have the same mean.
    means = centred.read_sums([tmp_path / "sums.parquet"] * 2).means()
    finite = np.isfinite(a).all(axis=2) & (position > 0)
    for layer in range(2):
        np.testing.assert_allclose(means[layer], a[layer, finite[layer]].mean(axis=0), rtol=1e-6)
    assert (centred.VectorSums.empty(2, 5).means() == 0).all()

    comparison = centred.CentredCosines(file, means, 1)
    previous = pa.concat_tables(comparison.previous()).to_pandas()
    found = comparison.by_distance().to_pandas().set_index(["layer", "distance"])
    frame = table.select(columns.KEYS).to_pandas()
    unit = np.where(np.isfinite(a), a, np.nan).astype(float) - means[:, None]
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    usable = np.flatnonzero(position >= 1)
    name = frame["document"].astype(str).to_numpy()
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
        assert (row["documents"], row["pairs"], row["pairs_squared"]) == (len(n), n.sum(), n @ n)
        np.testing.assert_allclose(row["total"], total.sum(), atol=1e-5)
        np.testing.assert_allclose(row["total_squared"], total @ total, atol=1e-4)
        np.testing.assert_allclose(row["total_pairs"], total @ n, atol=1e-4)
        random = (unit[layer, usable] @ unit[layer, usable].T)[apart]
        assert row["random_pairs"] == np.isfinite(random).sum()
        np.testing.assert_allclose(row["random_total"], np.nansum(random), atol=1e-4)
    assert np.isnan(previous.loc[position == 0].iloc[:, -2:]).all(axis=None)


def geometry_of_shard(folder, number):
    """Write the geometry of a shard and the norms of its stream; return both and all rows.

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
    pairs = {columns.PAIRS_KEY: json.dumps({"pairs": 10 + 20 * number, **pairs}).encode()}
    of_layers = [pa.array(column) for of_layer in values for column in of_layer.T]
    schema = columns.schema_of_values(range(2), OF_A_PASS).with_metadata(pairs)
    pq.write_table(pa.Table.from_arrays([*keys.columns, *of_layers], schema=schema), paths[0])
    pq.write_table(norms_table(lengths, stream.T), paths[1])
    for layer in range(2):
        for place, name in enumerate(OF_A_PASS):
            frame[f"{layer} {name}"] = values[layer, :, place].astype(float)
        for name in RELATIVE:
            own = frame[f"{layer} {name.removesuffix('_relative')}"]
            frame[f"{layer} {name}"] = own / stream[:, layer].astype(float)
        # With the first token its cosine with the second one is left out, too.
        frame.loc[frame["position"] == 1, f"{layer} cosine_previous"] = np.nan
    frame[f"0 {STREAM_GROWTH}"] = np.log(stream[:, 1].astype(float) / stream[:, 0])
    return *paths, frame[frame["position"] >= 1]


def test_means_of_all_shards_are_listed_with_both_controls(tmp_path):
    shards = [geometry_of_shard(tmp_path, number) for number in (0, 1)]
    sums = [geometry_means.sums_of_shard(*paths, 1) for *paths, _ in shards]
    # Each shard has sums of the cosines at each distance.
    cosines = pd.concat([rows for *_, rows in shards])[["document", "0 angle"]].dropna()
    paths = []
    for number, (_, rows) in enumerate(cosines.groupby("document")):
        n, total = len(rows), rows["0 angle"].sum()
        row = {"layer": 0, "distance": 2, "documents": 1, "pairs": n, "pairs_squared": n**2}
        row |= {"total": total, "total_squared": total**2, "total_pairs": total * n}
        paths.append(tmp_path / f"distances_{number}.parquet")
        pd.DataFrame([row | {"random_pairs": 5, "random_total": 1.0}]).to_parquet(paths[-1])
    by_distance = list(map(geometry_means.sums_by_distance, paths))
    geometry, stream, rows = shards[0]
    some = rows["document"].unique()[:2].tolist()
    same = geometry_means.sums_of_shard(geometry, stream, 1, some)
    found = geometry_means.table(
        geometry_means.over_shards([*sums, *by_distance]),
        geometry_means.random_pairs([geometry for geometry, *_ in shards], (*OF_A_PASS, *RELATIVE)),
        geometry_means.over_shards([sums[1], *by_distance[:2]]),
        geometry_means.over_shards([same]),
        0.1,
    ).set_index(["quantity", "layer"])
    rows = pd.concat([rows for *_, rows in shards])

    def check(row, name):
        own = rows[["document", name]].dropna()
        expected = mean_of(own[name], own["document"], 0.1)
        assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-8)
        assert (row["tokens"], row["documents"]) == (len(own), 6)

    names = [name for name in rows if name[:2] in ("0 ", "1 ")]
    assert len(found) == len(names) + 1 == 2 * 7 + 2

    for name in names:
        layer, quantity = name.split()
        row = found.loc[(quantity, int(layer))]
        check(row, name)
        assert row["random_weights"] == pytest.approx(shards[1][2][name].mean(), rel=1e-9)
        of_same = shards[0][2][shards[0][2]["document"].isin(some)][name].mean()
        assert row["trained"] == pytest.approx(of_same, rel=1e-9)
        if quantity != STREAM_GROWTH:
            # 10 pairs of one shard and 30 of the other; of the second layer only the one's.
            against = (10 * 0.5 + 30 * 1.5) / 40 if layer == "0" else 2.0
            assert row["random_pairs"] == pytest.approx(against)
        assert pd.isna(row["distance"]) == (quantity != "cosine_previous")
    # A single document has a mean and no error.
    alone = RatioSums.of_rows(np.array([1.0, 3.0]), np.zeros(2, int))
    assert (alone.mean, np.isnan(alone.std_error)) == (2, True)
    assert np.isnan(found.loc[(STREAM_GROWTH, 0), "random_pairs"])
    row = found.loc[(centred.QUANTITY, 0)]
    check(row, "0 angle")
    assert (row["distance"], row["random_pairs"]) == (2, pytest.approx(0.2))
    first_two = cosines[cosines["document"].isin(sorted(cosines["document"].unique())[:2])]
    assert row["random_weights"] == pytest.approx(first_two["0 angle"].mean(), rel=1e-9)


def test_centred_cosines_of_some_documents_leave_out_first_tokens_and_their_neighbours(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"document": list("aaaabbbbcccc"), "window": 0, "position": [0, 1, 2, 3] * 3}
    )
    columns_of_layers = [f"layer_0{layer}.{centred.QUANTITY}" for layer in (0, 1)]
    for column in columns_of_layers:
        rows[column] = rng.uniform(-1, 1, len(rows))
    rows.loc[3, columns_of_layers[1]] = np.nan
    path = tmp_path / "centred.parquet"
    rows.astype({"document": "category"}).to_parquet(path)
    sums = geometry_means.over_shards([geometry_means.sums_of_neighbours(path, 1, {"a", "c"})])
    used = rows[rows["document"].isin(["a", "c"]) & (rows["position"] >= 2)]
    for layer, column in enumerate(columns_of_layers):
        row = sums.loc[(layer, centred.QUANTITY, 1)]
        assert row["total"] / row["rows"] == pytest.approx(used[column].mean())
        assert (row["clusters"], row["rows"]) == (2, used[column].notna().sum())
