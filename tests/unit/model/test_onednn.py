"""Fast paths give the numbers of plain torch or are not used."""

import copy

import numpy as np
import pytest
import torch
from models import MODELS, measured, ragged, small_model
from projects import refused

from attnlag.model import onednn
from attnlag.model.decoder import decoder_of
from attnlag.quantities.catalogue import SITES

# Each has something of its own: Conv1D and a spelled-out GELU, a gated MLP, an activation that
# oneDNN lacks, one matrix for both halves of a gate, matrices of experts, sites that are linear
# maps themselves.
VARIED = [
    "gpt2", "gpt_neox parallel", "opt", "bloom", "falcon new", "mpt", "phi", "phi3", "llama",
    "mixtral", "qwen2_moe", "gemma2", "olmo2", "starcoder2", "nemotron", "gpt_oss", "apertus",
]  # fmt: skip

IDS = torch.from_numpy(ragged()[0].astype(np.int64))


@pytest.fixture(autouse=True)
def tiny_matrices_count(monkeypatch):
    """Let matrices of any size be packed, however long that takes."""
    monkeypatch.setattr(onednn, "SMALLEST", 1)
    monkeypatch.setattr(onednn, "GAIN", 0.0)


def norms_of(model, fast, sites=("attention",)):
    """Return what measured, and norms by site; the first batch of three is the proof's."""
    return measured(model, "norms", sites, fast=fast, batch_tokens=25)


@pytest.mark.parametrize("name", VARIED)
def test_norms_equal_those_of_plain_torch(name):
    model = small_model(*MODELS[name])
    runner, found = norms_of(copy.deepcopy(model), "auto", list(SITES))
    _, expected = norms_of(model, "off", list(SITES))
    assert "packed for oneDNN" in runner.computed_by
    assert runner.identity_error < 1e-5
    for site in SITES:
        np.testing.assert_allclose(found[site], expected[site], rtol=3e-6)
        assert np.median(np.abs(found[site] / expected[site] - 1)) < 1e-6


def accelerated(model, fast="auto", **options):
    """Return the way that is used, and what is said of it."""
    return onednn.accelerate(decoder_of(model), IDS, fast, **options)


@pytest.mark.parametrize(
    ("name", "activation", "post"),
    [("gpt2", "act", ("gelu", "tanh")), ("llama", "act_fn", ("swish", ""))],
)
def test_an_activation_is_fused_with_the_product_before_it(name, activation, post):
    model = small_model(*MODELS[name])
    accelerated(model)
    block = decoder_of(model).blocks[0]
    (mlp,) = block.sublayers["mlp"]
    linear = mlp.c_fc if name == "gpt2" else mlp.gate_proj
    assert linear.forward.keywords["post"] == post
    assert getattr(mlp, activation)(IDS) is IDS
    others = [m for m in block.block.modules() if isinstance(m, onednn.Linear) and m is not linear]
    assert all(m.forward.keywords["post"] == ("none", "") for m in others)


def said_of(model, fast="auto"):
    """Return why a path is not taken; the model is as it was, weights and functions."""
    plain = copy.deepcopy(model)
    said = refused(accelerated, model, fast)[0] if fast == "packed" else accelerated(model)[1]
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any("forward" in vars(module) for module in model.modules())
    return said


def failing(*_, **__):
    raise RuntimeError("no such operator")


def times(factor, product=onednn.product):
    return lambda *x, **how: factor * product(*x, **how)


@pytest.mark.parametrize("fast", ["auto", "packed"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("product", [None, failing, times(1.001), times(float("nan"))])
def test_a_missing_or_wrong_fast_path_is_not_used(name, fast, product, monkeypatch):
    """It is an error only if it is asked for."""
    if product:
        monkeypatch.setattr(onednn, "product", product)
    else:
        monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    said = said_of(small_model(*MODELS[name]), fast)
    asked = "fast: found packed, which does not work here"
    assert said.startswith("plain torch; fast paths" if fast == "auto" else asked)


@pytest.mark.parametrize(("tokens", "used"), [(1, True), (8, False)])
def test_single_tokens_do_not_decide(tokens, used, monkeypatch):
    product = onednn.product

    def off(x, **how):
        found = product(x, **how)
        if x.shape[:2] == (1, len(IDS)):
            found[:, -tokens:] *= 1.001
        return found

    monkeypatch.setattr(onednn, "product", off)
    assert (accelerated(small_model(*MODELS["llama"]))[0] == "packed") == used


def test_a_fast_path_that_fails_late_is_undone(monkeypatch):
    """The operator works when it is timed, but not when it is fused with an activation."""
    model = small_model(*MODELS["llama"])
    activation = type(model.layers[0].mlp.act_fn).__name__
    monkeypatch.setitem(onednn.FUSED, activation, ("softplus", ""))
    assert "Fusion behavior undefined" in said_of(model)


@pytest.mark.parametrize(
    ("off", "fused", "packed", "way"),
    # The third gains a tenth; in the last, nothing is to be fused.
    [(10, 9, 9, "fused"), (12, 9, 8.3, "fused"), (12, 9, 8.1, "packed"), (9, 9, 8.5, "off")],
)
def test_the_fastest_path_is_used_and_packing_only_if_it_gains_enough(
    off, fused, packed, way, monkeypatch
):
    took = {"off": off, "fused": fused, "packed": packed}
    monkeypatch.setattr(onednn, "GAIN", 1.1)
    monkeypatch.setattr(onednn, "seconds_of", lambda *_: took)
    model = small_model(*MODELS["gpt2"])
    if way == "off":
        assert said_of(model) == "plain torch"
    assert accelerated(model)[0] == way


def test_the_path_that_was_measured_can_be_set_and_gives_equal_bytes(monkeypatch):
    """With a set path nothing is timed, and the bytes are the same."""
    taken = {}
    for fast in ("fused", "packed"):
        monkeypatch.setattr(onednn, "fastest", lambda *_, fast=fast: fast)
        runner, measured = norms_of(small_model(*MODELS["gpt2"]), "auto")
        assert runner.fast == fast
        monkeypatch.setattr(onednn, "fastest", None)
        runner, stated = norms_of(small_model(*MODELS["gpt2"]), fast)
        assert runner.fast == fast
        taken[fast] = stated["attention"]
        np.testing.assert_array_equal(stated["attention"], measured["attention"])
    assert (taken["fused"] != taken["packed"]).any()


def test_weights_used_outside_their_module_prevent_the_fast_path(monkeypatch):
    """Nothing is packed in this case, because packing removes the plain weights."""
    model = small_model(*MODELS["llama"])
    mlp = model.layers[1].mlp

    class Outside(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up_proj, self.down_proj = mlp.up_proj, mlp.down_proj

        def forward(self, x):
            return x @ self.up_proj.weight.t() @ self.down_proj.weight.t()

    model.layers[1].mlp = Outside()
    assert "fast paths do not work here (norms within nan" in said_of(model)


def test_a_bfloat16_model_has_norms_close_to_those_of_plain_torch():
    model = small_model(*MODELS["gpt2"]).bfloat16()
    runner, found = norms_of(copy.deepcopy(model), "auto")
    _, expected = norms_of(model, "off")
    # oneDNN multiplies in bfloat16 on processors with AVX-512 or its like, and says so elsewhere.
    packs = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    kernels = "packed for oneDNN" if packs else "plain torch; fast paths do not work here"
    assert kernels in runner.computed_by
    np.testing.assert_allclose(found["attention"], expected["attention"], rtol=0.05)


@pytest.mark.parametrize("name", VARIED)
def test_packed_products_have_the_derivative_of_plain_ones_and_hold_weights_once(name):
    model = small_model(*MODELS[name]).requires_grad_(False)

    def gradient():
        embedded = model.get_input_embeddings()(IDS[None]).clone().requires_grad_(True)
        hidden = model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        (found,) = torch.autograd.grad((hidden * torch.arange(hidden.shape[-1])).sum(), embedded)
        return found

    expected = gradient()
    assert accelerated(model, backward=True)[0] == "packed"
    for linear in (module for module in model.modules() if type(module) is torch.nn.Linear):
        weight = linear.weight
        assert weight.shape == (linear.out_features, linear.in_features)
        assert weight.untyped_storage().nbytes() == weight.element_size()
        assert weight.isnan().all()
    torch.testing.assert_close(gradient(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
