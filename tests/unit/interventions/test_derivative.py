"""Reverse mode against forward mode, central differences and identities that hold exactly."""

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import EXPERTS, MODELS, gpt2_of_large_weights, outputs_of, small_model
from stage_settings import effects_settings as settings
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnlag.interventions import derivative, edits, sampling
from attnlag.model import trying
from attnlag.quantities.passes import batch_of

TOKENS = 11


@pytest.fixture(scope="module")
def gpt2_in_double():
    return gpt2_of_large_weights().base_model


@pytest.fixture(scope="module")
def blocks(gpt2_in_double):
    return trying.blocks_of(gpt2_in_double)[0]


@pytest.fixture(scope="module")
def ids():
    return torch.from_numpy(np.random.default_rng(5).integers(0, 100, (1, TOKENS)))


def at_gates(model, sites, ids, values):
    """Return log norms, (target sites × layers, tokens), at gates (sites × layers, tokens)."""
    blocks = trying.blocks_of(model)[0]
    layers = len(blocks)
    opened = {
        site: list(values[place * layers : (place + 1) * layers, None])
        for place, site in enumerate(sites)
    }
    logs = derivative.log_norms(model, blocks, ids, sites, edits.through(opened))
    return torch.stack([logs[site, layer][0] for site in sites for layer in range(layers)])


def jacobian(model, sites, ids):
    """Return ∂ log‖a[m,t]‖ / ∂ log g[l,s] as (m, t, l, s), by forward mode, a gate at a time."""
    rows = len(sites) * len(trying.blocks_of(model)[0])
    ones = torch.ones(rows, ids.shape[1], dtype=torch.float64)
    columns = []
    with sdpa_kernel(SDPBackend.MATH):
        for place in range(ones.numel()):
            direction = torch.zeros_like(ones)
            direction.view(-1)[place] = 1
            _, tangent = torch.func.jvp(
                lambda gates: at_gates(model, sites, ids, gates), (ones,), (direction,)
            )
            columns.append(tangent)
    return torch.stack(columns, -1).reshape(*ones.shape, *ones.shape).numpy()


@pytest.fixture(scope="module")
def forward_mode(gpt2_in_double, ids):
    return jacobian(gpt2_in_double, ["attention"], ids)


def effects_of(model, ids, chosen):
    """Return the effects of one sequence, (source layers, lags + 1), and positions, by target."""
    blocks, batch = trying.blocks_of(model)[0], batch_of(*ids.numpy())
    layers, keys = range(len(blocks)), [("doc", 0)]
    found = derivative.effects_in_batch(model, blocks, batch, keys, chosen, layers)
    by_target = {}
    for _, each in found:
        key = each.source_site, each.target_site, each.target_layer
        by_target.setdefault(key, []).append((each.effects, each.positions))
    return {
        key: SimpleNamespace(effects=np.stack(effects), positions=positions[0])
        for key, sources in by_target.items()
        for effects, positions in [zip(*sources, strict=True)]
    }


@pytest.mark.parametrize("probes", [1, 3, TOKENS])
def test_reverse_mode_equals_forward_mode_with_the_same_signs(
    gpt2_in_double, ids, forward_mode, probes
):
    """With as many probes as tokens, each sign meets itself alone: the estimate is exact."""
    signs = sampling.signs(0, "doc", 0, TOKENS)
    for (_, _, m), sums in effects_of(gpt2_in_double, ids, settings(probes=probes)).items():
        for lag in range(4):
            targets = np.arange(1 + lag, TOKENS)
            expected = [
                sum(
                    signs[t] * signs[u] * forward_mode[m, u, layer, t - lag]
                    for t in targets
                    for u in range(1, TOKENS)
                    if (u - t) % probes == 0
                )
                for layer in range(m)
            ]
            np.testing.assert_allclose(sums.effects[:m, lag], expected, atol=1e-13)
            assert sums.positions[lag] == len(targets)


def test_forward_mode_equals_central_differences(gpt2_in_double, ids, forward_mode):
    step = 1e-5
    for layer, token in ((0, 3), (1, 5), (2, 1)):
        logs = []
        for sign in (1, -1):
            gates = torch.ones(4, TOKENS, dtype=torch.float64)
            gates[layer, token] = np.exp(sign * step)
            logs.append(at_gates(gpt2_in_double, ["attention"], ids, gates).numpy())
        found = (logs[0] - logs[1]) / (2 * step)
        np.testing.assert_allclose(found, forward_mode[..., layer, token], atol=1e-8)


@pytest.mark.parametrize("site", ["attention", "mlp", "block"])
def test_each_site_has_unit_effect_on_itself(gpt2_in_double, ids, site):
    chosen = settings(source_sites=(site,), target_sites=(site,))
    for (_, _, m), sums in effects_of(gpt2_in_double, ids, chosen).items():
        np.testing.assert_allclose(sums.effects[m, 0], TOKENS - 1, atol=1e-12)
        assert (sums.effects[m, 1:] == 0).all()


def test_attention_changes_the_mlp_of_its_layer_and_not_the_reverse(gpt2_in_double, ids):
    both = ("attention", "mlp")
    found = effects_of(gpt2_in_double, ids, settings(source_sites=both, target_sites=both))
    assert np.abs(found["attention", "mlp", 2].effects[2, 0]) > 1e-3
    assert np.all(found["mlp", "attention", 2].effects[2] == 0)


def effects_in(model, blocks, sequences, tokens, free=10**10):
    """Return the effects in some sequences, in batches of so many tokens."""
    options = {"name": "x", "batch_tokens": tokens, "threads": 2, "free": free}
    return derivative.effects(model, blocks, sequences, settings(), **options)


def test_batches_and_shards_change_nothing(gpt2_in_double, blocks):
    rng = np.random.default_rng(1)
    sequences = {(f"d{i}", 0): rng.integers(0, 100, n) for i, n in enumerate((9, 12, 3, 12))}
    run = partial(effects_in, gpt2_in_double, blocks)
    together = run(sequences, 8 * 24)
    alone = run(sequences, 8)
    shard = run({("d2", 0): sequences["d2", 0]}, 8)
    for one in (alone, shard):
        for key in one:
            for a, b in zip(together[key], one[key], strict=True):
                np.testing.assert_allclose(a.effects, b.effects, atol=1e-13)
                np.testing.assert_array_equal(a.positions, b.positions)
    # Too short for the longest distance.
    assert together["d2", 0][0].positions.tolist() == [2, 1, 0, 0]


def test_a_graph_that_does_not_fit_in_memory_is_refused_in_one_line(gpt2_in_double, blocks):
    with pytest.raises(MemoryError, match=r"graph for a backward pass over 40 tokens needs about"):
        effects_in(gpt2_in_double, blocks, {("d", 0): np.arange(40)}, 512, free=10_000)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_memory_of_the_graph_is_predicted(gpt2_in_double, implementation):
    """Plain attention keeps a weight for each pair of tokens."""
    model = copy.deepcopy(gpt2_in_double)
    model.set_attn_implementation(implementation)
    blocks = trying.blocks_of(model)[0]
    batch = batch_of(np.arange(60))
    opened = derivative.opened_gates(model, ["attention"], len(blocks), (1, 60))

    def forward():
        derivative.log_norms(model, blocks, batch.ids, ["attention"], edits.through(opened))

    actual = derivative.graph_bytes(model, forward)
    foreseen = 60 * derivative.per_token(model, blocks, batch, settings())
    assert foreseen == pytest.approx(actual * 9 / 8, rel=0.01)


def test_tokens_with_a_zero_norm_are_not_targets(gpt2_in_double, blocks, ids):
    def silence(_, __, output):
        output = output[0].clone(), *output[1:]
        output[0][:, 4] = 0
        return output

    with blocks[2].sublayers["attention"][0].register_forward_hook(silence):
        sums = effects_of(gpt2_in_double, ids, settings())["attention", "attention", 2]
    assert sums.positions.tolist() == [9, 8, 7, 6]
    assert np.isfinite(sums.effects).all()
    np.testing.assert_allclose(sums.effects[2, 0], 9)


# The MLP of Granite 4 is the sum of two modules.
GRANITE4 = {**EXPERTS, "shared_intermediate_size": 32, "residual_multiplier": 0.22}
SUMS = {"granite 4": ("granitemoeshared", GRANITE4)}


def test_a_part_of_two_modules_is_changed_as_one():
    model = small_model(*SUMS["granite 4"])
    blocks, _ = trying.blocks_of(model)
    ids = torch.from_numpy(np.random.default_rng(2).integers(1, 200, (1, 7)))
    names, received = ("self_attn", "block_sparse_moe", "shared_mlp"), []
    modules = [model.layers[0].get_submodule(name) for name in names]
    attention, experts, shared = torch.from_numpy(outputs_of(model, modules, ids[0].numpy()))

    def change(layer, site, added):
        received.append(added)
        return torch.zeros_like(added) if layer == 0 else added

    with torch.no_grad(), edits.edited(blocks, ["mlp"], change):
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    assert len(received) == 3
    torch.testing.assert_close(received[0][0], experts + shared)
    torch.testing.assert_close(states[1][0], states[0][0] + 0.22 * attention)


@pytest.mark.parametrize("name", [*MODELS, *SUMS])
def test_the_derivative_agrees_with_a_finite_change_in_every_family(name):
    model = small_model(*{**MODELS, **SUMS}[name]).requires_grad_(False)
    blocks, _ = trying.blocks_of(model)
    sites = ["attention", "mlp", "block"]
    ids = torch.from_numpy(np.random.default_rng(2).integers(1, 200, (1, 7)))
    opened = derivative.opened_gates(model, sites, len(blocks), (1, 7))
    last = len(blocks) - 1
    logs = derivative.log_norms(model, blocks, ids, sites, edits.through(opened))
    for source, target in (("attention", "attention"), ("mlp", "mlp"), ("block", "block")):
        gates = [opened[source][0], opened[target][last]]
        slope, own = torch.autograd.grad(logs[target, last][0, 5], gates, retain_graph=True)
        assert own[0, 5] == pytest.approx(1, abs=1e-5)
        assert own[0, :5].abs().max() < 1e-6
        step, found = 0.005, []
        for sign in (1, -1):
            changed = {site: [gate.detach().clone() for gate in opened[site]] for site in sites}
            changed[source][0][0, 4] = float(np.exp(sign * step))
            with torch.no_grad():
                moved = derivative.log_norms(model, blocks, ids, sites, edits.through(changed))
            found.append(float(moved[target, last][0, 5]))
        difference = (found[0] - found[1]) / (2 * step)
        assert slope[0, 4] == pytest.approx(difference, rel=0.05, abs=1e-3)
