"""Packed products and fused activations give the numbers of plain torch, or are not used."""

import copy
import re

import numpy as np
import pytest
import torch
from models import MODELS, measured, ragged, small_model

from attnlag.model import loading, onednn
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
    """Let matrices of any size be packed, on any processor."""
    monkeypatch.setattr(onednn, "MIN_ELEMENTS", 1)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def norms_of(model, fast, sites=("attention",)):
    """Return what measured, and norms by site; the first batch of three is the check's."""
    return measured(model, "norms", sites, fast=fast, batch_tokens=25)


def packed(model):
    """Return what is said to compute the products."""
    return onednn.pack_weights(decoder_of(model), IDS)


@pytest.mark.parametrize("name", VARIED)
def test_norms_equal_those_of_plain_torch(name, subtests):
    model = small_model(*MODELS[name])
    runner, found = norms_of(copy.deepcopy(model), True, list(SITES))
    plain, expected = norms_of(model, False, list(SITES))
    assert re.match(r"\d+ packed products; norms differ by", runner.computed_by)
    assert plain.computed_by == "plain torch"
    assert runner.identity_error < 1e-5
    for site in SITES:
        with subtests.test(site=site):
            np.testing.assert_allclose(found[site], expected[site], rtol=3e-6)
            assert np.median(np.abs(found[site] / expected[site] - 1)) < 1e-6


def test_the_processor_alone_decides_and_every_load_gives_equal_bits(monkeypatch):
    def found():
        runner, norms = norms_of(small_model(*MODELS["gpt2"]), True)
        return runner.computed_by, norms["attention"]

    (said, first), (_, second) = found(), found()
    assert "packed products" in said
    np.testing.assert_array_equal(first, second)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    said, plain = found()
    assert said == "plain torch"
    np.testing.assert_array_equal(
        plain, norms_of(small_model(*MODELS["gpt2"]), False)[1]["attention"]
    )


def test_gelu_of_one_operation_is_the_same_function_on_every_load(gpt2):
    plain, fused, again = (
        loading.load_base_model(gpt2, torch.float32, fast=fast) for fast in (False, True, True)
    )
    assert type(plain.h[0].mlp.act).__name__ == "NewGELUActivation"
    assert type(fused.h[0].mlp.act).__name__ == "GELUTanh"
    for site in SITES:
        one, other, expected = (
            measured(model, "norms", [site])[1][site] for model in (fused, again, plain)
        )
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, rtol=5e-7)


@pytest.mark.parametrize(
    ("name", "activation", "post"),
    [("bloom", "gelu_impl", ("gelu", "tanh")), ("llama", "act_fn", ("swish", ""))],
)
def test_an_activation_is_fused_with_the_product_before_it(name, activation, post):
    model = small_model(*MODELS[name])
    packed(model)
    block = decoder_of(model).blocks[0].block
    linear = block.mlp.dense_h_to_4h if name == "bloom" else block.mlp.gate_proj
    assert linear.forward.keywords["post"] == post
    assert getattr(block.mlp, activation)(IDS) is IDS
    others = [m for m in block.modules() if isinstance(m, onednn.Linear) and m is not linear]
    assert all(m.forward.keywords["post"] == ("none", "") for m in others)


def failure_of(model):
    """Return why products are not packed; the model is as it was, weights and functions."""
    plain = copy.deepcopy(model)
    said = packed(model)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any("forward" in vars(module) for module in model.modules())
    return said


def failing(*_, **__):
    raise RuntimeError("no such operator")


def times(factor, product=onednn.product):
    return lambda *x, **how: factor * product(*x, **how)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("product", [None, failing, times(1.001), times(float("nan"))])
def test_a_missing_or_wrong_operator_is_not_used(name, product, monkeypatch):
    if product:
        monkeypatch.setattr(onednn, "product", product)
    else:
        monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    said = failure_of(small_model(*MODELS[name]))
    assert said.startswith("plain torch, as packed products fail: ")


@pytest.mark.parametrize(
    ("dtype", "factor", "used"),
    [
        (torch.float32, 1.000005, True),
        (torch.float32, 1.00002, False),
        (torch.bfloat16, 1.004, True),
        (torch.bfloat16, 1.018, False),
    ],
)
def test_the_median_difference_of_norms_decides(dtype, factor, used, monkeypatch):
    """It may be 1e-5, and a hundredth in bfloat16, in which numbers have three digits."""
    norms = torch.linspace(1, 2, 200).reshape(4, 50)
    both = iter([norms.to(dtype), (norms * factor).to(dtype)])
    monkeypatch.setattr(onednn, "adjustment_norms", lambda *_: next(both))
    monkeypatch.setattr(onednn, "pack", lambda *_: None)
    said = packed(small_model(*MODELS["llama"]).to(dtype))
    assert ("packed products fail" not in said) == used


@pytest.mark.parametrize(("tokens", "used"), [(1, True), (8, False)])
def test_single_tokens_do_not_decide(tokens, used, monkeypatch):
    product = onednn.product

    def off(x, **how):
        found = product(x, **how)
        if x.shape[:2] == (1, len(IDS)):
            found[:, -tokens:] *= 1.001
        return found

    monkeypatch.setattr(onednn, "product", off)
    assert ("fail" not in packed(small_model(*MODELS["llama"]))) == used


def test_an_operator_that_fails_late_is_not_used(monkeypatch):
    """It works alone, but not when an activation is fused with it."""
    model = small_model(*MODELS["llama"])
    activation = type(model.layers[0].mlp.act_fn).__name__
    monkeypatch.setitem(onednn.FUSED, activation, ("softplus", ""))
    assert "Fusion behavior undefined" in failure_of(model)


def test_weights_used_outside_their_module_are_not_packed():
    """Packing removes the plain weights, so nothing is packed in this case."""
    model = small_model(*MODELS["llama"])
    mlp = model.layers[1].mlp

    class Outside(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up_proj, self.down_proj = mlp.up_proj, mlp.down_proj

        def forward(self, x):
            return x @ self.up_proj.weight.t() @ self.down_proj.weight.t()

    model.layers[1].mlp = Outside()
    assert "packed products fail: norms differ by nan" in packed(model)


def test_a_bfloat16_model_has_norms_close_to_those_of_plain_torch():
    model = small_model(*MODELS["gpt2"]).bfloat16()
    runner, found = norms_of(copy.deepcopy(model), True)
    _, expected = norms_of(model, False)
    # oneDNN multiplies in bfloat16 on processors with AVX-512 or its like, and says so elsewhere.
    packs = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert ("fail" in runner.computed_by) == (not packs)
    np.testing.assert_allclose(found["attention"], expected["attention"], rtol=0.05)


def test_packed_weights_are_held_once():
    model = small_model(*MODELS["llama"])
    packed(model)
    blocks = [block.block for block in decoder_of(model).blocks]
    linears = [m for block in blocks for m in block.modules() if type(m) is torch.nn.Linear]
    assert linears
    for linear in linears:
        weight = linear.weight
        assert weight.shape == (linear.out_features, linear.in_features)
        assert weight.untyped_storage().nbytes() == weight.element_size()
        assert weight.isnan().all()
