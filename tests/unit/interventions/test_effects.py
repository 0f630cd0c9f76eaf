"""Effects of interventions: where they are made, their derivatives, and finite changes.

Derivatives are held against finite changes and identities that hold exactly; finite interventions
against the model run with replaced vectors.
"""

import copy
import operator
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from designs import tokens_table
from models import (
    EXPERTS,
    HEADS,
    MODELS,
    adjustments,
    gpt2_of_large_weights,
    outputs_of,
    small_model,
)
from projects import refused
from tqdm import tqdm

from attnlag.interventions import derivative, edits, effects, finite, sampling
from attnlag.interventions.settings import EffectsSettings
from attnlag.model.decoder import decoder_of
from attnlag.quantities import catalogue
from attnlag.quantities.batches import batch_of

TOKENS = 11
# On everything, unless changed.
settings = EffectsSettings(
    source_sites=["attention"],
    target_sites=["attention"],
    targets="all",
    lags=3,
    sign_draws=1,
    documents="all",
    document_tokens=512,
    interventions=(),
).changed


def test_documents_are_taken_from_the_groups_in_turn(tmp_path):
    names = ["a1", "a2", "a3", "b1", "c1", "c2"]
    corpus, tokens = tmp_path / "corpus.parquet", tmp_path / "tokens.parquet"
    groups = pa.array([name[0] for name in names]).dictionary_encode()
    pq.write_table(pa.table({"document": names, "group": groups}), corpus)
    windows = {(name, window): [1, 2, 3] for name in names for window in range(3)}
    pq.write_table(tokens_table(windows), tokens)

    def chosen(wanted):
        """Return the documents whose first five tokens, in two windows, are taken."""
        found = sampling.first_tokens(tokens, corpus, wanted, 5)
        documents = list(dict.fromkeys(document for document, _ in found))
        assert {key: ids.tolist() for key, ids in found.items()} == {
            (document, window): [1, 2, 3][: 3 - window]
            for document in documents
            for window in range(2)
        }
        return documents

    assert chosen(3) == ["a1", "b1", "c1"]
    assert chosen(5) == ["a1", "a2", "b1", "c1", "c2"]
    assert chosen("all") == chosen(99) == names


def test_a_site_can_be_changed_if_it_is_a_part_of_a_block_or_the_sum_of_its_parts(monkeypatch):
    for site in (
        catalogue.Site("difference", ("attention", "mlp"), "less", "a difference", operator.sub),
        catalogue.Site("twice", ("mlp",), "twice", "the double", lambda a: 2 * a),
    ):
        monkeypatch.setitem(catalogue.SITES, site.name, site)
    names = ["block", "difference", "twice", "mlp"]
    assert catalogue.changeable(names) == ["block", "twice", "mlp"]


@pytest.mark.parametrize(
    ("number", "layers", "change", "selected"),
    [
        (3, 30, False, [9, 19, 29]),
        (2, 30, True, [9, 19]),
        ("all", 4, False, [0, 1, 2, 3]),
        (1, 2, True, [0]),
        # Targets have a layer before them, and sources one after them, if there is another.
        *((number, 4, False, [1, 2, 3]) for number in (3, 99)),
        *((number, 4, True, [0, 1, 2]) for number in (3, 99)),
        *((number, 1, change, [0]) for number in (3, 99) for change in (False, True)),
    ],
)
def test_layers_are_spread_over_depth(number, layers, change, selected):
    assert sampling.selected_layers(number, layers, change=change) == selected


def test_tokens_are_drawn_alike_from_those_that_enough_others_follow():
    drawn = np.zeros(20)
    for seed in range(3000):
        places = sampling.positions(seed, "d0", 0, 1, 4, 6, 20)
        assert len(set(places)) == 6
        assert places == sorted(places)
        drawn[places] += 1
    assert drawn[[0, *range(16, 20)]].tolist() == [0] * 5
    # Five standard errors of a share of 3,000 draws.
    assert drawn[1:16] / 3000 == pytest.approx(6 / 15, abs=0.045)
    assert sampling.positions(0, "d0", 0, 1, 4, 99, 20) == list(range(1, 16))
    # Of a sequence that is too short, any token is drawn.
    assert sampling.positions(0, "d0", 0, 1, 4, 99, 5) == [1, 2, 3, 4]


# Derivatives.


@pytest.fixture(scope="module")
def gpt2_in_double():
    return gpt2_of_large_weights().base_model


@pytest.fixture(scope="module")
def ids():
    return torch.from_numpy(np.random.default_rng(5).integers(0, 100, (1, TOKENS)))


@pytest.fixture(scope="module")
def slopes(ids):
    """Return ∂ log‖a[m,t]‖ / ∂ log g[l,s] as (m, t, l, s), by differences with hooks of our own."""
    model, step, columns = gpt2_of_large_weights(), 1e-5, []
    plain, _ = adjustments(model, ids[0])
    for place in np.ndindex(*plain.shape[:2]):
        longer, shorter = (
            adjustments(model, ids[0], {place: np.exp(change) * plain[place]})[0].norm(dim=-1).log()
            for change in (step, -step)
        )
        columns.append((longer - shorter) / (2 * step))
    return torch.stack(columns, -1).reshape(*plain.shape[:2], *plain.shape[:2]).numpy()


def effects_of(model, ids, chosen):
    """Return the effects of one sequence, (source layers, lags + 1), and positions, by target."""
    decoder, batch = decoder_of(model), batch_of(*ids.numpy())
    layers, keys, found = range(len(decoder.blocks)), [("doc", 0)], {}
    for _, each in derivative.effects_in_batch(decoder, batch, keys, chosen, layers):
        key = each.source_site, each.target_site, each.target_layer
        sources = found.setdefault(key, SimpleNamespace(effects=[], positions=each.positions))
        sources.effects.append(each.effects)
    for sources in found.values():
        sources.effects = np.stack(sources.effects)
    return found


@pytest.mark.parametrize("sign_draws", [1, 3, TOKENS])
def test_effects_are_the_slopes_of_the_tokens_whose_signs_meet(
    gpt2_in_double, ids, slopes, sign_draws
):
    """With as many draws as tokens, each sign meets itself alone: the estimate is exact."""
    signs, tokens = sampling.signs(0, "doc", 0, TOKENS), np.arange(TOKENS)
    meeting = (tokens[:, None] - tokens) % sign_draws == 0
    met = np.where(meeting, np.outer(signs, signs), 0)
    for (_, _, m), sums in effects_of(gpt2_in_double, ids, settings(sign_draws=sign_draws)).items():
        # A layer makes all that it adds itself, and nothing of what it adds to other tokens.
        np.testing.assert_allclose(sums.effects[m], [TOKENS - 1, 0, 0, 0], atol=1e-12)
        for lag in range(4):
            of_sources = slopes[m, 1:, :m, 1 : TOKENS - lag]
            expected = np.einsum("tu,ult->l", met[1 + lag :, 1:], of_sources)
            np.testing.assert_allclose(sums.effects[:m, lag], expected, atol=1e-8)
            assert sums.positions[lag] == TOKENS - 1 - lag


def test_the_slope_of_a_block_is_that_of_the_model_in_which_a_plain_hook_scales_what_it_adds(ids):
    model, step = gpt2_of_large_weights(), 1e-5
    decoder = decoder_of(model.base_model)
    opened = derivative.opened_gates(decoder, ["block"], (1, TOKENS))
    logs = derivative.log_norms(decoder, ids, ["attention", "block"], opened)
    (found,) = torch.autograd.grad(logs["attention", 3][0, 5], opened["block"][1])

    def log_norm(factor):
        def scale(_, args, output):
            output[0, 4] += (factor - 1) * (output - args[0])[0, 4]

        with model.transformer.h[1].register_forward_hook(scale):
            return adjustments(model, ids[0])[0][3, 5].norm().log()

    difference = (log_norm(np.exp(step)) - log_norm(np.exp(-step))) / (2 * step)
    assert found[0, 4] == pytest.approx(float(difference), rel=1e-6)


def test_attention_changes_the_mlp_of_its_layer_and_not_the_reverse(gpt2_in_double, ids):
    both = ("attention", "mlp")
    found = effects_of(gpt2_in_double, ids, settings(source_sites=both, target_sites=both))
    assert np.abs(found["attention", "mlp", 2].effects[2, 0]) > 1e-3
    assert np.all(found["mlp", "attention", 2].effects[2] == 0)


def test_a_convolution_after_an_mlp_carries_an_effect_to_later_tokens_of_its_layer():
    """What attention adds then has an effect there, and no sublayer has one on itself."""
    model = small_model(*FAMILIES["inkling"]).requires_grad_(False)
    decoder, layer = decoder_of(model), 1
    ids = torch.from_numpy(np.random.default_rng(2).integers(1, 200, (1, TOKENS)))
    both = settings(source_sites=["attention"], target_sites=["attention", "mlp"])
    found = effects_of(model, ids, both.model_copy(update={"sign_draws": TOKENS}))
    step, moved = 0.01, []
    for token in range(1, TOKENS - 1):
        logs = []
        for sign in (1, -1):
            gates = derivative.opened_gates(decoder, ["attention"], (1, TOKENS))
            changed = {"attention": [gate.detach().clone() for gate in gates["attention"]]}
            changed["attention"][layer][0, token] = np.exp(sign * step)
            with torch.no_grad():
                norms = derivative.log_norms(decoder, ids, ["attention", "mlp"], changed)
            logs.append(float(norms["mlp", layer][0, token + 1]))
        moved.append((logs[0] - logs[1]) / (2 * step))
    effect = found["attention", "mlp", layer].effects[layer, 1]
    assert abs(effect) > 1e-3
    assert effect == pytest.approx(sum(moved), rel=0.01)
    assert not found["attention", "attention", layer].effects[layer, 1:].any()


def effects_in(decoder, sequences, tokens=512, chosen=None, free=10**10, **options):
    options |= {"batch_tokens": tokens, "threads": 2, "free": free}
    return derivative.effects(decoder, sequences, chosen or settings(), **options)


def test_batches_and_shards_change_nothing(gpt2_in_double):
    rng, decoder = np.random.default_rng(1), decoder_of(gpt2_in_double)
    sequences = {(f"d{i}", 0): rng.integers(0, 100, n) for i, n in enumerate((9, 12, 3, 12))}
    together = effects_in(decoder, sequences, 8 * 24)
    for part in (sequences, {("d2", 0): sequences["d2", 0]}):
        for key, found in effects_in(decoder, part, 8).items():
            for a, b in zip(together[key], found, strict=True):
                np.testing.assert_allclose(a.effects, b.effects, atol=1e-13)
                np.testing.assert_array_equal(a.positions, b.positions)
    # Too short for the longest distance.
    assert together["d2", 0][0].positions.tolist() == [2, 1, 0, 0]


def test_rows_of_documents_stand_in_the_order_of_the_sequences(gpt2_in_double):
    """Within a document they stand by source, target and lag, as its effects do."""
    sequences = {(name, 0): np.arange(9) for name in ("second", "first", "third")}
    options = {"batch_tokens": 512, "threads": 1, "progress": False}
    table = effects.estimate(decoder_of(gpt2_in_double), sequences, settings(), **options)
    rows = table.to_pandas()
    assert rows["document"].unique().tolist() == ["second", "first", "third"]
    alone = rows[rows["document"] == "first"].reset_index(drop=True)
    found = alone[["source_layer", "target_layer", "lag"]]
    targets_first = found.sort_values(["target_layer", "source_layer", "lag"])
    assert found.equals(targets_first.reset_index(drop=True))


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_counts_tokens_twice_in_sequences_with_finite_changes(
    gpt2_in_double, progress, monkeypatch
):
    """They are the first windows of the documents that are asked for."""
    bars = []

    def bar(**options):
        bars.append(tqdm(**options))
        return bars[-1]

    monkeypatch.setattr(effects, "tqdm", bar)
    sequences = {(name, window): np.arange(9) for name in ("d", "e") for window in (0, 1)}
    effects.estimate(
        decoder_of(gpt2_in_double),
        sequences,
        settings(interventions=["zero"]),
        batch_tokens=512,
        threads=1,
        documents_to_change=["d"],
        progress=progress,
    )
    (shown,) = bars
    assert shown.total == 5 * 9
    # A bar that is not shown counts nothing.
    assert shown.n == (5 * 9 if progress else 0)


def test_weights_get_no_gradients(gpt2_in_double):
    """They would take as much memory as the model."""
    model = copy.deepcopy(gpt2_in_double).requires_grad_(True)
    effects_in(decoder_of(model), {("d", 0): np.arange(9)})
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_graph_that_does_not_fit_in_memory_is_refused_in_one_line(gpt2_in_double):
    with pytest.raises(MemoryError, match=r"graph for a backward pass over 40 tokens needs about"):
        effects_in(decoder_of(gpt2_in_double), {("d", 0): np.arange(40)}, free=10_000)


def test_a_model_that_adds_more_than_its_sublayers_give_is_refused(gpt2_in_double):
    decoder = decoder_of(gpt2_in_double)
    del decoder.blocks[1].sublayers["mlp"]
    (line,) = refused(effects_in, decoder, {("d", 0): np.arange(9)})
    assert "fails the check of its sites" in line
    assert "(layer 1: " in line


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_memory_of_the_graph_is_predicted(gpt2_in_double, implementation):
    """Plain attention keeps a weight for each pair of tokens."""
    model = copy.deepcopy(gpt2_in_double)
    model.set_attn_implementation(implementation)
    decoder, batch = decoder_of(model), batch_of(np.arange(60))
    opened = derivative.opened_gates(decoder, ["attention"], (1, 60))

    def forward():
        derivative.log_norms(decoder, batch.ids, ["attention"], opened)

    actual = derivative.graph_bytes(model, forward)
    foreseen = 60 * derivative.per_token(decoder, batch, settings())
    assert foreseen == pytest.approx(actual * 9 / 8, rel=0.01)


def test_tokens_with_a_zero_norm_are_not_targets(gpt2_in_double, ids):
    def silence(_, __, output):
        output = output[0].clone(), *output[1:]
        output[0][:, 4] = 0
        return output

    with gpt2_in_double.h[2].attn.register_forward_hook(silence):
        sums = effects_of(gpt2_in_double, ids, settings())["attention", "attention", 2]
    assert sums.positions.tolist() == [9, 8, 7, 6]
    assert np.isfinite(sums.effects).all()
    np.testing.assert_allclose(sums.effects[2, 0], 9)


# The MLP of Granite 4 is the sum of two modules.
GRANITE4 = {**EXPERTS, "shared_intermediate_size": 32, "residual_multiplier": 0.22}
# A convolution over tokens follows each sublayer of Inkling.
INKLING = {**HEADS, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}
INKLING |= {"conv_kernel_size": 3, "moe_intermediate_size": 32}
FAMILIES = {
    **MODELS,
    "granite 4": ("granitemoeshared", GRANITE4),
    "inkling": ("inkling_text", INKLING),
}


def test_a_part_of_two_modules_is_changed_as_one():
    model = small_model(*FAMILIES["granite 4"])
    ids = torch.from_numpy(np.random.default_rng(2).integers(1, 200, (1, 7)))
    names, received = ("self_attn", "block_sparse_moe", "shared_mlp"), []
    modules = [model.layers[0].get_submodule(name) for name in names]
    attention, experts, shared = torch.from_numpy(outputs_of(model, modules, ids[0].numpy()))

    def change(layer, site, added):
        received.append(added)
        return torch.zeros_like(added) if layer == 0 else added

    with torch.no_grad():
        decoder = decoder_of(model)
        output = edits.edited_pass(decoder, ids, ["mlp"], change, output_hidden_states=True)
    states = output.hidden_states
    assert len(received) == 3
    torch.testing.assert_close(received[0][0], experts + shared)
    torch.testing.assert_close(states[1][0], states[0][0] + 0.22 * attention)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_derivative_agrees_with_a_finite_change_in_every_family(name, subtests):
    model = small_model(*FAMILIES[name]).requires_grad_(False)
    decoder = decoder_of(model)
    sites = ["attention", "mlp", "block"]
    ids = torch.from_numpy(np.random.default_rng(2).integers(1, 200, (1, 7)))
    opened = derivative.opened_gates(decoder, sites, (1, 7))
    last = len(decoder.blocks) - 1
    logs = derivative.log_norms(decoder, ids, sites, opened)
    for site in sites:
        with subtests.test(site=site):
            gates = [opened[site][0], opened[site][last]]
            slope, own = torch.autograd.grad(logs[site, last][0, 5], gates, retain_graph=True)
            assert own[0, 5] == pytest.approx(1, abs=1e-5)
            assert own[0, :5].abs().max() < 1e-6
            step, found = 0.005, []
            for sign in (1, -1):
                changed = {key: [gate.detach().clone() for gate in opened[key]] for key in sites}
                changed[site][0][0, 4] = float(np.exp(sign * step))
                with torch.no_grad():
                    moved = derivative.log_norms(decoder, ids, sites, changed)
                found.append(float(moved[site, last][0, 5]))
            difference = (found[0] - found[1]) / (2 * step)
            assert slope[0, 4] == pytest.approx(difference, rel=0.05, abs=1e-3)


# Finite interventions.

LAYER, TOKEN = 1, 4
CHOSEN = settings(interventions=("halve", "double", "zero", "mean"), lags=2)
SEQUENCES = {
    (f"d{i}", 0): np.random.default_rng(i).integers(0, 100, n) for i, n in enumerate((9, 12, 7))
}


def collecting():
    """Return what is to collect the adjustments of a layer."""
    return finite.MeanAdjustments(["attention"], [LAYER], CHOSEN.drop_first)


def collected(model, sequences):
    """Return a decoder and the means of its adjustments, from the pass of the derivative."""
    decoder, means = decoder_of(model), collecting()
    effects_in(decoder, sequences, 192, CHOSEN, receive=means.receive)
    return decoder, means


def test_each_intervention_equals_the_model_run_with_the_replaced_vector(monkeypatch, subtests):
    monkeypatch.setattr(sampling, "positions", lambda *_: [TOKEN])
    model = gpt2_of_large_weights()
    decoder, means = collected(model, SEQUENCES)
    turned = {"turned": torch.neg}
    found = finite.effects(decoder, SEQUENCES, CHOSEN, means, changes=turned)

    plain = {key: adjustments(model, ids) for key, ids in SEQUENCES.items()}
    tokens = torch.cat([added[LAYER, 1:] for added, _ in plain.values()])
    key = ("d0", 0)
    base, logs = plain[key]
    own = base[LAYER, TOKEN]
    put = {"halve": 0.5 * own, "small": 1.02 * own, "double": 2 * own, "zero": 0 * own}
    put |= {"mean": tokens.mean(0), "turned": -own}
    assert [effect.intervention for effect in found[key]][: len(put)] == list(put)
    for effect in found[key]:
        with subtests.test(
            intervention=effect.intervention, target=(effect.target_site, effect.target_layer)
        ):
            assert (effect.source_site, effect.source_layer) == ("attention", LAYER)
            vector = put[effect.intervention]
            changed, moved = adjustments(model, SEQUENCES[key], {(LAYER, TOKEN): vector})
            near = slice(TOKEN, TOKEN + 3)
            if effect.target_site == "attention":
                norms = [a[effect.target_layer, near].norm(dim=-1) for a in (base, changed)]
                expected = (norms[1] / norms[0]).log()
                expected[~expected.isfinite()] = torch.nan
            else:
                away = logs[near] - moved[near]
                expected = (logs[near].exp() * away).sum(-1)
                if effect.target_site == "surprisal":
                    following = torch.from_numpy(SEQUENCES[key][TOKEN + 1 : TOKEN + 4])[:, None]
                    expected = away.gather(1, following)[:, 0]
            np.testing.assert_allclose(effect.effects, expected, atol=1e-12)


def test_a_change_that_returns_no_vector_is_refused(subtests):
    decoder, means = collected(gpt2_of_large_weights(), SEQUENCES)
    for edit, found in ((torch.norm, "a tensor of shape ()"), (len, "int")):
        with subtests.test(found=found):
            (line,) = refused(
                finite.effects, decoder, SEQUENCES, CHOSEN, means, changes={"x": edit}
            )
            assert line.startswith(f"changes, 'x': found {found} in place of an adjustment")
