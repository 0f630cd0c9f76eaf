"""Directions of adjustments, against plain hooks in float64 and against direct enumeration."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
import torch
from test_architectures import GPT, LLAMA
from transformers import AutoConfig, AutoModel

from attnlag.adjustments import (
    batches,
    columns,
    directions,
    extraction,
    geometry,
    geometry_means,
    layout,
)
from attnlag.adjustments.outcomes import OF_A_PASS
from attnlag.model.hooks import STREAM

# The module whose output is added, and what it is multiplied by; blocks are in layers or h.
MODELS = {
    "gpt2": (GPT, "attn", 1.0),
    "llama": (LLAMA, "self_attn", 1.0),
    "gemma2": ({**LLAMA, "head_dim": 12}, "post_attention_layernorm", 1.0),
    "granite": ({**LLAMA, "residual_multiplier": 0.22}, "self_attn", 0.22),
}


def small_model(name):
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(name, **MODELS[name][0])).eval()
    with torch.no_grad():
        for weights in model.parameters():
            noise = torch.randn(weights.shape)
            weights.copy_(0.2 * noise if weights.ndim > 1 else 1 + 0.3 * noise)
    return model


def sequences():
    generator = np.random.default_rng(0)
    return [generator.integers(1, 200, n).astype(np.int32) for n in (20, 13, 9, 1)]


def hooked(name, model, sequence):
    """Return stream and adjustment of each layer, float64, by hooks of our own."""
    _, path, scale = MODELS[name]
    streams, added = [], []
    hooks = []
    for block in getattr(model, "h" if name == "gpt2" else "layers"):
        hooks.append(
            block.register_forward_pre_hook(
                lambda _, args, kwargs: streams.append(
                    args[0] if args else kwargs["hidden_states"]
                ),
                with_kwargs=True,
            )
        )
        hooks.append(
            getattr(block, path).register_forward_hook(
                lambda _, __, out: added.append(scale * (out[0] if isinstance(out, tuple) else out))
            )
        )
    with torch.no_grad():
        model(input_ids=torch.tensor(sequence[None].astype(np.int64)), use_cache=False)
    for hook in hooks:
        hook.remove()
    return (torch.cat(list(values)).double().numpy() for values in (streams, added))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keep", ["vectors", "norms"])
def test_directions_of_the_pass_are_those_of_the_models_own_vectors(name, keep):
    model = small_model(name)
    adjustments = extraction.Adjustments(model, batch_tokens=256, keep=keep, turns=True)
    found = np.stack(adjustments.of(sequences())[geometry.rows_of("attention")])
    first = 0
    for sequence in sequences():
        mine = found[:, first : first + len(sequence)]
        first += len(sequence)
        x, a = hooked(name, model, sequence)
        along = (a * x).sum(-1) / np.linalg.norm(x, axis=-1)
        across = a - along[..., None] * x / np.linalg.norm(x, axis=-1, keepdims=True)
        y = x + a
        cosine = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
        before = (a[:, 1:] * a[:, :-1]).sum(-1)
        before /= np.linalg.norm(a[:, 1:], axis=-1) * np.linalg.norm(a[:, :-1], axis=-1)
        size = np.linalg.norm(a, axis=-1)
        expected = {
            "parallel": along,
            "orthogonal": np.linalg.norm(across, axis=-1),
            "log_growth": np.log(np.linalg.norm(y, axis=-1) / np.linalg.norm(x, axis=-1)),
            "angle": np.arccos(np.clip(cosine, -1, 1)),
        }
        for place, quantity in enumerate(OF_A_PASS[:-1]):
            scale = size if quantity in ("parallel", "orthogonal") else np.ones_like(size)
            assert (np.abs(mine[..., place] - expected[quantity]) < 2e-5 * scale).all(), quantity
        assert np.isnan(mine[:, 0, -1]).all()
        np.testing.assert_allclose(mine[:, 1:, -1], before, atol=2e-5)


def vectors(tokens=40, width=24):
    return torch.from_numpy(np.random.default_rng(1).normal(size=(2, tokens, width)))


def test_the_parts_make_up_the_whole_and_no_rotation_changes_them():
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


def test_random_pairs_are_all_of_two_documents():
    model = small_model("llama")
    adjustments = extraction.Adjustments(model, batch_tokens=64, keep="vectors", turns=True)
    runs = [sequences(), sequences()[::-1]]
    names = [["a", "a", "b", "c"], ["d", "e", "f", "f"]]
    sample = geometry.PairSample(8, 3, 48, ["attention", STREAM])
    adjustments.sample = sample
    for documents, run in zip(names, runs, strict=True):
        sample.begin(documents, [0, 1, 0, 0], list(map(len, run)))
        adjustments.of(run)
    # A sequence of one token has none that is not a first one.
    assert sample.documents == ["a", "a", "b", "e", "f", "f"]
    found = sample.means("attention", STREAM)
    pairs = [
        (i, j)
        for i, j in itertools.product(range(6), repeat=2)
        if sample.documents[i] != sample.documents[j]
    ]
    assert found["pairs"] == len(pairs) == 26
    a, x = (sample.vectors[name][:6].astype(float) for name in ("attention", STREAM))
    for layer in range(3):
        sums = [x[j, layer] + a[i, layer] for i, j in pairs]
        sizes = [np.linalg.norm(x[j, layer]) for _, j in pairs]
        growth = np.log(np.linalg.norm(sums, axis=1) / sizes)
        np.testing.assert_allclose(found["log_growth"][layer], growth.mean(), rtol=1e-6)
        along = [a[i, layer] @ x[j, layer] / (x[j, layer] @ x[j, layer]) for i, j in pairs]
        np.testing.assert_allclose(found["parallel_relative"][layer], np.mean(along), rtol=1e-6)
    # What is kept is what the pass gave, and in another run of the same sequences the same.
    everything = np.stack(adjustments.of(runs[0])["attention"])
    kept = a[2]
    gaps = np.abs(everything[:, 33:42] - kept[:, None]).max(axis=(0, 2))
    assert gaps.min() < 1e-5
    assert gaps.argmin() > 0


@pytest.mark.parametrize("rows", [7, 1000])
def test_centred_cosines_by_distance_are_those_of_all_pairs(rows, tmp_path):
    """Row groups that cut sequences, a window, and a vector that equals the mean."""
    lengths = {("a", 0): 25, ("a", 1): 6, ("b", 0): 1, ("c", 0): 19}
    tokens = sum(lengths.values())
    generator = np.random.default_rng(2)
    a = generator.normal(size=(2, tokens, 5)).astype(np.float32) + 2
    run = batches.Run(
        *map(list, zip(*lengths, strict=True)),
        [np.arange(n, dtype=np.int32) for n in lengths.values()],
    )
    schema = columns.schema(2, 5)
    table = layout.table(run, list(a), schema, "float32")
    pq.write_table(table, tmp_path / "0000.parquet", row_group_size=rows)
    file = pq.ParquetFile(tmp_path / "0000.parquet")
    position = table["position"].to_numpy()
    sums = directions.VectorSums.empty(2, 5)
    for layer in range(2):
        sums.add(layer, a[layer], position)
    pq.write_table(sums.table(), tmp_path / "sums.parquet")
    # Two shards alike have the same mean.
    means = directions.read_means([tmp_path / "sums.parquet"] * 2)
    np.testing.assert_allclose(means, a[:, position > 0].mean(axis=1), rtol=1e-6)

    comparison = directions.Comparison(file, means, 1)
    previous = pa.concat_tables(comparison.previous()).to_pandas()
    found = comparison.by_distance().to_pandas().set_index(["layer", "distance"])
    frame = table.select(columns.KEYS).to_pandas()
    unit = a.astype(float) - means[:, None]
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    for layer, distance in itertools.product(range(2), range(1, 17)):
        by_document: dict[str, list[float]] = {}
        for late in range(tokens):
            early = late - distance
            if early >= 0 and position[late] >= distance:
                cosine = unit[layer, late] @ unit[layer, early]
                if distance == 1:
                    mine = previous[f"layer_0{layer}.cosine_previous_centred"][late]
                    assert abs(mine - cosine) < 1e-5
                if position[early] >= 1:
                    by_document.setdefault(frame["document"][late], []).append(cosine)
        row = found.loc[(layer, distance)]
        assert row["pairs"] == sum(map(len, by_document.values()))
        assert row["documents"] == len(by_document)
        totals = [sum(values) for values in by_document.values()]
        np.testing.assert_allclose(row["total"], sum(totals), atol=1e-5)
        np.testing.assert_allclose(row["total_squared"], np.dot(totals, totals), atol=1e-4)
    assert np.isnan(previous.loc[position == 0].iloc[:, -2:]).all(axis=None)


def test_the_error_of_a_mean_is_clustered_by_document():
    """As statsmodels has it, of a regression on the constant; shards add up."""
    generator = np.random.default_rng(3)
    document = np.repeat(np.arange(12), generator.integers(1, 30, 12))
    values = generator.normal(size=len(document)) + generator.normal(size=12)[document]
    halves = [document < 5, document >= 5]
    parts = [geometry_means.Sums.of(values[half], document[half]) for half in halves]
    sums = parts[0].plus(parts[1])
    fit = sm.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": document}
    )
    np.testing.assert_allclose(sums.mean(), fit.params[0], rtol=1e-12)
    np.testing.assert_allclose(sums.std_error(), fit.bse[0], rtol=1e-9)
    assert (sums.documents, sums.tokens) == (12, len(document))
