"""Every family of the table, as a tiny model with random weights: the check and its failures."""

import copy
import importlib.util
import re
from functools import partial

import numpy as np
import pytest
import torch
from models import (
    EXPERTS,
    GPT,
    HEADS,
    LLAMA,
    MODELS,
    OPT,
    extractor,
    hidden_states,
    measured,
    outputs_of,
    ragged,
    small_model,
)
from projects import ROOT, refused
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from attnlag.errors import UserError
from attnlag.model import decoder, hooks, identity, loading
from attnlag.model.decoder import decoder_of, paths_of
from attnlag.model.hooks import SUBLAYERS
from attnlag.quantities.catalogue import SITES

PATHS = {"blocks": "layers", "attention": "self_attn", "mlp": "mlp"}


def adjustments_of(model, modules=None):
    """Return what measured the vectors of all sites, several sequences a pass, and these."""
    return measured(model, modules=modules, batch_tokens=512, name="mine")


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def model(request):
    return small_model(*request.param)


@pytest.fixture(scope="module")
def found(model):
    """Return what measured a model, the vectors of each site, and the norms of the stream."""
    adjustments = extractor(model, "vectors", sites=[*SITES], batch_tokens=512)
    layers = adjustments.measure(ragged())
    added = {site: np.stack(layers["vectors", site]) for site in SITES}
    return adjustments, added, np.stack(layers["stream", ""])


def test_the_check_holds_for_each_family_and_agrees_with_the_hidden_states(model, found, subtests):
    adjustments, added, stream = found
    assert adjustments.identity_error < 1e-5
    blocks = adjustments.decoder.blocks
    assert len(blocks) == len(added["mlp"]) >= 2
    # To its last state transformers applies the final norm.
    states = hidden_states(model, ragged()[0]), outputs_of(model, [blocks[-1].block])
    states = np.concatenate(states)
    received = np.linalg.norm(states[:-1].astype(float), axis=-1)
    np.testing.assert_allclose(stream[:, :20], received, rtol=1e-5)
    assert stream.dtype == np.float32
    # Without its adjustments the identity would be wide of the mark.
    for site in ("attention", "mlp"):
        with subtests.test(site=site):
            assert (np.linalg.norm(added[site][:, :20], axis=-1) > 0.01 * received).all()
    np.testing.assert_array_equal(added["block"], added["attention"] + added["mlp"])
    close(added["block"][:, :20], np.diff(states, axis=0), 1e-5, states[1:])


def test_a_token_with_a_zero_stream_passes_the_check():
    """A padding token before all others has a norm of zero, and 0 / 0 is no difference."""
    model = small_model("llama", LLAMA)
    with torch.no_grad():
        model.embed_tokens.weight[7] = 0
    adjustments, found = measured(model, "norms", ["attention"], [np.array([7, 1, 2, 3])])
    assert (found["attention"][0] > 0).tolist() == [False, True, True, True]
    assert adjustments.identity_error < 1e-5


@pytest.mark.parametrize("sublayer", SUBLAYERS)
def test_a_site_perturbed_at_one_token_fails_the_check(model, sublayer):
    decoder = decoder_of(model)
    blocks, mask = decoder.blocks, torch.ones(1, 20, dtype=torch.bool)

    def doubled_at_the_end(layer, _, value):
        changed = value.clone()
        changed.view(-1, value.shape[-1])[-1] *= 2
        return changed if layer == 1 else None

    # What the check sees is changed before it reaches the block.
    with (
        identity.residual_identity(blocks, mask) as checked,
        hooks.tap(blocks, {sublayer}, doubled_at_the_end),
        torch.inference_mode(),
    ):
        model(input_ids=torch.tensor(ragged()[0][None].astype(np.int64)), use_cache=False)
    evidence = checked.evidence
    assert [found.error < 1e-5 for found in evidence] == [n != 1 for n in range(len(blocks))]
    with pytest.raises(UserError, match=r"fails the check of its sites.*\(layer 1: "):
        identity.check(evidence, decoder)


def test_neither_padding_nor_parallel_passes_change_a_number(model, found):
    """Each sequence has a pass of its own, in one thread or in four that share a model's state."""
    alone = {n: measured(model, batch_tokens=100, threads=n) for n in (1, 4)}
    # None of these families writes to itself.
    assert [adjustments.passes.parallel for adjustments, _ in alone.values()] == [1, 4]
    for site, vectors in alone[1][1].items():
        np.testing.assert_array_equal(alone[4][1][site], vectors)
        close(found[1][site], vectors)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_norms_on_a_gpu_equal_those_on_the_processor(name):
    model = small_model(*MODELS[name])
    _, on_cpu = measured(model, "norms")
    _, on_gpu = measured(model.to("cuda"), "norms")
    for site, norms in on_cpu.items():
        np.testing.assert_allclose(on_gpu[site], norms, rtol=1e-4)


def close(found, expected, bound=1e-4, of=None):
    """Hold vectors to differ by less than a part of their own size, or of that of others."""
    gap = np.linalg.norm(found - expected, axis=-1)
    assert (gap <= bound * np.linalg.norm(expected if of is None else of, axis=-1)).all()


# Not Falcon with ALiBi: transformers 5.24 counts it twice under eager. Gemma 2 has eager only.
WITH_BOTH = [
    "gpt2", "gpt_neox parallel", "gptj", "opt", "falcon parallel", "falcon sequential", "llama",
    "mistral", "mixtral", "gemma3_text", "olmo2", "granite", "stablelm sequential",
]  # fmt: skip


@pytest.mark.parametrize("name", WITH_BOTH)
def test_sdpa_and_eager_give_the_same_numbers(name, subtests):
    found = {}
    for attention in ("sdpa", "eager"):
        with subtests.test(attention=attention):
            model = small_model(*MODELS[name], attn_implementation=attention)
            assert model.config._attn_implementation == attention
            adjustments, found[attention] = adjustments_of(model)
            assert adjustments.identity_error < 1e-5
    for site in SITES:
        close(found["sdpa"][site], found["eager"][site])


def test_an_implementation_is_the_one_that_is_asked_for_and_refused_where_it_is_lacking(
    tmp_path, subtests
):
    for name in ("gpt2", "bloom"):
        small_model(*MODELS[name]).save_pretrained(tmp_path / name)
    load = partial(loading.load_model, device=torch.device("cpu"), dtype="auto")
    for name, attention in (("gpt2", "sdpa"), ("gpt2", "eager"), ("bloom", "eager")):
        with subtests.test(name=name, attention=attention):
            model = load(tmp_path / name, attention=attention)
            assert model.config._attn_implementation == attention
    (line,) = refused(load, tmp_path / "bloom", attention="sdpa")
    assert re.search(r"cannot load the model .*scaled_dot_product_attention", line)


# Half precision


def test_in_half_precision_the_sublayers_of_each_family_add_up_bit_for_bit(model, subtests):
    for dtype in (torch.bfloat16, torch.float16):
        with subtests.test(dtype=str(dtype)):
            in_half = copy.deepcopy(model).to(dtype)
            assert measured(in_half, "norms", ["block"], ragged()[:1])[0].identity_error == 0


def as_initialised(model_type, settings, spread):
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **settings, initializer_range=spread)
    return AutoModel.from_config(config).eval()


MINICPM3 = {**LLAMA, "num_hidden_layers": 4, "num_key_value_heads": 4}


# A configuration states each key; a factor of null is found too.
@pytest.mark.parametrize("modules", [None, *({**PATHS, "scale": scale} for scale in (None, 0.7))])
@pytest.mark.parametrize(
    ("dtype", "spread"),
    [(torch.float32, 0.002), (torch.bfloat16, 0.002), (torch.bfloat16, 0.0002)],
)
def test_a_factor_of_the_sublayers_is_found_by_the_check(dtype, spread, modules):
    """MiniCPM3 multiplies both outputs by a number that neither table nor configuration states.

    Its adjustments are so small here that bfloat16 would hide it: without it, norms are 1.43 times
    too large.
    """
    model = as_initialised("minicpm3", MINICPM3, spread).to(dtype)
    adjustments, added = adjustments_of(model, modules)
    assert {block.scale for block in adjustments.decoder.blocks} == {0.7}
    assert "times 0.7, were tried" in adjustments.decoder.remark or modules
    expected = 0.7 * outputs_of(model, [layer.self_attn for layer in model.layers])
    close(added["attention"][:, :20], expected, 1e-6 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("modules", [None, {**PATHS, "mlp": "feed_forward"}])
def test_a_small_sublayer_that_is_left_out_fails_the_check_in_half_precision(modules):
    """Falcon-H1 adds a Mamba mixer beside attention, here 7e-3 of the stream."""
    mamba = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
    model = as_initialised("falcon_h1", {**LLAMA, **mamba}, 0.02).to(torch.bfloat16)
    with pytest.raises(UserError, match=r"tried self_attn and feed_forward"):
        adjustments_of(model, modules)


class RoundsOnce(torch.nn.Module):
    """A block of Llama that rounds once, after it has added everything in float32."""

    def __init__(self, layer, factor):
        super().__init__()
        self.layer = layer
        self.factor = factor

    def forward(self, hidden_states, **options):
        layer = self.layer
        attended, _ = layer.self_attn(layer.input_layernorm(hidden_states), **options)
        through = layer.mlp(layer.post_attention_layernorm(hidden_states + attended))
        total = hidden_states.float() + attended.float() + self.factor * through.float()
        return total.to(hidden_states.dtype)


OF_ROUNDING = {"blocks": "layers", "attention": "layer.self_attn|self_attn"}
OF_ROUNDING |= {"mlp": "layer.mlp|mlp", "scale": 1.0}


@pytest.mark.parametrize("factor", [1, 1.002])
def test_where_no_order_of_additions_gives_the_bits_the_block_is_run_in_float32(factor):
    model = small_model("llama", LLAMA).to(torch.bfloat16)
    model.layers[1] = RoundsOnce(model.layers[1], factor)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    if factor == 1:
        assert 0 < adjustments_of(model, OF_ROUNDING)[0].identity_error < 1e-6
    else:
        with pytest.raises(UserError, match=r"fails the check of its sites.*\(layer 1: "):
            adjustments_of(model, OF_ROUNDING)
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())


def test_an_error_in_half_precision_is_that_of_float32_however_small_it_is():
    """Beside one large number of each token, the rounding of all others is within the bound."""
    model = small_model("llama", LLAMA).to(torch.bfloat16)
    with torch.no_grad():
        model.embed_tokens.weight[:, 0] = 2**14
        for layer in model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
    model.layers[1] = RoundsOnce(model.layers[1], 1)
    assert 0 < adjustments_of(model, OF_ROUNDING)[0].identity_error < 1e-9


def test_vectors_whose_squares_leave_float32_are_within_no_bound():
    """The error would be 0: a finite difference beside an infinite norm."""
    stream = torch.full((2, 4), 1e20)
    added = torch.full((2, 4), 1e12)
    for scale, holds in ((1.0, False), (1e-5, True)):
        error = identity.relative_error(scale * stream, [scale * added], scale * stream)
        assert (error <= identity.BOUND) == holds


# What fails, and how it is said

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 200}
OF_BERT = {"blocks": "encoder.layer", "attention": "attention.output.dense", "mlp": "output.dense"}
MAMBA = {"vocab_size": 200, "hidden_size": 48, "num_hidden_layers": 3, "state_size": 8}
JAMBA = {**EXPERTS, "attn_layer_period": 3, "attn_layer_offset": 1, "use_mamba_kernels": False}
JAMBA |= {"mamba_d_state": 8, "mamba_dt_rank": 4}
GEMMA3N = {
    **{**HEADS, "num_key_value_heads": 4, "intermediate_size": [96] * 3, "laurel_rank": 8},
    **{"layer_types": ["full_attention"] * 3, "activation_sparsity_pattern": [0.0] * 3},
    **{"hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 200},
    "num_kv_shared_layers": 0,
}
OF_JAMBA = {"blocks": "layers", "attention": "self_attn|mamba", "mlp": "feed_forward"}
ENCODED = {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 2, "vocab_size": 99}
ENCODED |= {"decoder_ffn_dim": 32, "pad_token_id": 0}
NORMALISED = "found the type '{}'.*; tried self_att.*its paths can be declared"


# What is no decoder with a list of blocks whose parts add up: its type, what makes it small, the
# modules that are declared, and what is said.
REFUSED = [
    # The stream is itself normalised; so it is in GPT-1.
    ("opt", {**OPT, "do_layer_norm_before": False}, None, NORMALISED.format("opt")),
    ("bloom", {**MODELS["bloom"][1], "apply_residual_connection_post_layernorm": True}, None,
     NORMALISED.format("bloom")),
    # What has just failed is not proposed.
    ("openai-gpt", GPT, None,
     r"found the type 'openai-gpt' \(OpenAIGPTModel\) with 3 blocks in 'h', .*; tried attn and mlp "
     r"in 'h' \(layer 0: .*modules: \{blocks: h, attention: PATH, mlp: PATH\}"),
    # Slow-but-exact BLOOM multiplies by its last matrices without calling their modules.
    ("bloom", {**MODELS["bloom"][1], "pretraining_tp": 2, "slow_but_exact": True}, None,
     "layer 0: neither of them seen, not attention and mlp"),
    # Granite's adjustment is the scaled vector.
    ("granite", MODELS["granite"][1], {**PATHS, "scale": 1.0}, "fails the check"),
    ("llama", LLAMA, {**PATHS, "mlp": "mlp.up_proj"},
     "found vectors of 96 from mlp in a stream of 48"),
    # Four streams side by side.
    ("gemma3n_text", GEMMA3N, PATHS,
     "fails the check of its sites.*found a tensor of 4 × 1 × 20 × 48 for 1 × 20 tokens"),
    # Tokens see later ones. As a decoder it fails where it should: it normalises the sums.
    ("bert", BERT, OF_BERT, "type 'bert', lets a token see .*expected a decoder"),
    ("bert", {**BERT, "is_decoder": True}, OF_BERT, "fails the check"),
    ("mamba", MAMBA, None, "one mixer in a block.*site 'mlp', expected attention"),
    ("jamba", JAMBA, {**OF_JAMBA, "attention": "self_attn|mlp"},
     "found none of self_attn, mlp in 'layers.0', expected "),
    *(
        ("llama", LLAMA, {**PATHS, **changes}, f"of type 'llama', modules declared: found.*{said}")
        for changes, said in (
            ({"blocks": "model.layers"}, "no module 'model', expected one of embed_tokens"),
            ({"blocks": "norm"}, "'norm' to be a LlamaRMSNorm, expected the list of"),
            ({"mlp": "mpl"}, "no module 'layers.0.mpl', expected one of self_attn, mlp"),
            ({"mlp": "mlp.down"}, "'layers.0.mlp.down', expected one of gate_proj"),
        )
    ),
    *(
        (model_type, ENCODED, None, f"type '{model_type}': transformers finds no embeddings")
        for model_type in ("bart", "marian", "trocr")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "settings", "modules", "said"), REFUSED)
def test_what_fails_the_check_is_refused_in_a_line(model_type, settings, modules, said):
    # The decoder of an encoder-decoder model is a base model of its own.
    kind = AutoModelForCausalLM if settings is ENCODED else AutoModel
    (line,) = refused(adjustments_of, small_model(model_type, settings, kind).base_model, modules)
    assert "\n" not in line
    assert re.match(f"model mine.*{said}", line)


def test_a_sublayer_seen_twice_or_a_block_that_did_not_run_fails_the_check(subtests):
    decoder = decoder_of(small_model("gpt2", GPT))

    def seen(layer, sublayers, error=0.0):
        return identity.Evidence(layer, tuple(sublayers.split()), error)

    both = "attention mlp"
    first, second, third = (seen(layer, both) for layer in range(3))
    for order in (both, "mlp attention"):
        with subtests.test(order=order):
            assert identity.check([seen(layer, order) for layer in range(3)], decoder) == 0
    for evidence, said in (
        ([], "0 of 3 blocks ran"),
        ([first, second], "2 of 3 blocks ran"),
        # As many as there are blocks, but one in place of another.
        ([first, second, second], "2 of 3 blocks ran, layer 1: ran 2 times;"),
        ([first, second, third, third], "layer 2: ran 2 times;"),
        ([first, seen(1, "attention mlp mlp"), third], "layer 1"),
        ([first, second, seen(2, "mlp")], "layer 2: mlp seen"),
        ([first, second, seen(2, both, float("nan"))], "finite ones: first in layer 2"),
    ):
        with subtests.test(said=said):
            assert said in refused(identity.check, evidence, decoder)[0]


def test_equal_bits_are_expected_of_a_block_that_could_not_run_in_float32():
    decoder = decoder_of(small_model("gpt2", GPT))
    both = ("attention", "mlp")
    held = [identity.Evidence(0, both, 0.0, bound=0.0), identity.Evidence(1, both, 0.0)]
    in_half_precision = identity.Evidence(2, both, 1e-7, bound=0.0)
    in_float32 = identity.Evidence(2, both, 1e-4)
    (line,) = refused(identity.check, [*held, in_half_precision], decoder)
    assert "expected at most 1e-05, relative; equal bits where a block cannot run in" in line
    (line,) = refused(identity.check, [*held, in_float32], decoder)
    assert "expected at most 1e-05, relative)" in line


def test_a_model_without_a_list_of_blocks_is_refused_unless_its_modules_are_declared():
    model = small_model("gpt2", GPT)
    model.h = torch.nn.Sequential(*model.h)
    (line,) = refused(adjustments_of, model)
    tried = f"tried {len(decoder.LAYOUTS)} layouts, whose modules it lacks"
    assert line.startswith(f"model mine: found the type 'gpt2' (GPT2Model); {tried}; its paths can")
    assert "modules: {blocks: PATH, attention: PATH, mlp: PATH}" in line
    adjustments_of(model, {"blocks": "h", "attention": "attn", "mlp": "mlp"})


XLSTM = {"vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 3, "num_heads": 4}
SHARED = {**EXPERTS, "shared_intermediate_size": 32, "residual_multiplier": 0.22}
INKLING = {**HEADS, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}
INKLING |= {"conv_kernel_size": 3, "moe_intermediate_size": 32}
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
TOWER |= {"num_hidden_layers": 3, "image_size": 28, "patch_size": 14}
VISION = {
    "text_config": {**HEADS, "model_type": "gemma3_text", "sliding_window": 8},
    "vision_config": {**TOWER, "model_type": "siglip_vision_model"},
}
OF_GEMMA = "post_attention_layernorm and post_feedforward_layernorm"
MIXERS = ["mamba and feed_forward", "self_attn and feed_forward", "mamba and feed_forward"]

# The type of a model, what makes it small, the paths in its layers, and what is said of them.
LAYOUTS = [
    # The usual layout needs no remark.
    ("biogpt", {**LLAMA, "pad_token_id": 1}, ["self_attn and fc2"] * 3, ""),
    # The MLP is the sum of experts and of an MLP that all tokens share.
    ("granitemoeshared", SHARED, ["self_attn and block_sparse_moe+shared_mlp"] * 3,
     "in 'layers', times 0.22, were tried"),
    ("inkling_text", INKLING, ["attn_sconv and mlp_sconv"] * 3, "in 'layers' were tried"),
    ("xlstm", XLSTM, ["mlstm_layer and ffn"] * 3, "layers 0, 1, 2 have xLSTMLayer in place of att"),
    # The vision tower has as many layers as the text model.
    ("gemma3", VISION, [OF_GEMMA] * 3, "in 'language_model.layers' were tried"),
    # Each layer of a hybrid has its own mixer.
    ("jamba", JAMBA, MIXERS, "layers 0, 2 have JambaMambaMixer in place of attention"),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "settings", "paths", "said"), LAYOUTS)
def test_the_layout_of_a_model_is_detected(model_type, settings, paths, said):
    model = small_model(model_type, settings)
    adjustments, added = adjustments_of(model)
    blocks, remark = adjustments.decoder.blocks, adjustments.decoder.remark
    assert list(map(paths_of, blocks)) == paths
    assert said in remark if said else remark == ""
    for place, site in enumerate(("attention", "mlp")):
        names = zip(*(path.split(" and ")[place].split("+") for path in paths), strict=True)
        expected = sum(
            outputs_of(model, [b.block.get_submodule(n) for b, n in zip(blocks, each, strict=True)])
            for each in names
        )
        close(added[site][:, :20], settings.get("residual_multiplier", 1) * expected)


def test_the_modules_of_a_hybrid_can_be_declared():
    model = small_model("jamba", JAMBA)
    (detected, added), (declared, found) = (adjustments_of(model, m) for m in (None, OF_JAMBA))
    assert declared.decoder.remark == detected.decoder.remark
    np.testing.assert_array_equal(found["mlp"], added["mlp"])


def test_the_modules_of_transformerlens_bridge_are_found():
    """The bridge holds each module of transformers in one of its own, also under another name."""

    class Wrapper(torch.nn.Module):
        def __init__(self, original, **named):
            super().__init__()
            self._original_component = original
            for name, module in named.items():
                self.add_module(name, module)

        def forward(self, *args, **options):
            return self._original_component(*args, **options)

    model = small_model("gemma2", MODELS["gemma2"][1])
    _, expected = adjustments_of(model)
    for number, layer in enumerate(model.layers):
        for name in ("self_attn", "mlp", "post_attention_layernorm", "post_feedforward_layernorm"):
            setattr(layer, name, Wrapper(getattr(layer, name)))
        named = {"attn": layer.self_attn, "mlp": layer.mlp}
        model.layers[number] = Wrapper(layer, **named)
    adjustments, added = adjustments_of(model)
    for site in SITES:
        np.testing.assert_array_equal(added[site], expected[site])
    assert adjustments.decoder.paths == OF_GEMMA


def test_a_block_with_one_mixer_has_one_part():
    model = small_model("mamba", MAMBA)
    adjustments, added = measured(model, sites=["attention"], batch_tokens=256)
    assert adjustments.identity_error < 1e-5
    # For this type, transformers returns the state after each block.
    states = hidden_states(model, ragged()[0])
    close(added["attention"][1:, :20], np.diff(states, axis=0), 1e-5, states[1:])


# The page of supported model types, a sample of whose rows is made anew.

SPEC = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks/architectures.py")
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)

# Types of each kind: the usual layout, other ones, hybrid, one mixer, several lists of blocks,
# refused.
SAMPLE = ["llama", "biogpt", "dbrx", "jamba", "mamba", "mistral3", "openai-gpt", "bert"]


@pytest.mark.parametrize("model_type", SAMPLE)
def test_the_page_states_the_row_of_each_model_type(model_type):
    assert benchmark.row_of(model_type) in benchmark.rows_of(benchmark.PAGE.read_text())


def test_a_hook_in_the_wrong_place_is_detected(monkeypatch):
    """The comparison is not with itself: it fails if other values are stored."""
    of = benchmark.extraction.Extractor.measure

    def shifted(self, sequences):
        layers = of(self, sequences)
        layers["vectors", "mlp"][1] *= 1.001
        return layers

    monkeypatch.setattr(benchmark.extraction.Extractor, "measure", shifted)
    assert benchmark.row_of("llama")[1] == "WRONG"
