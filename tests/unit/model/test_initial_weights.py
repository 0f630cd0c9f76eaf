"""Weights before training: their scales, and the matrices that a scale divides."""

import math

import pytest
import torch
from models import MODELS
from transformers import AutoConfig, AutoModelForCausalLM

from attnlag.errors import UserError
from attnlag.model import initial_weights


def drawn(name, scales=("own", "default", "by-depth"), **changes):
    kind, settings = MODELS[name]
    config = AutoConfig.for_model(kind, **settings | changes)
    return {draw.scale: draw for draw in initial_weights.draws(config, scales, seed=3)}


# The matrices whose outputs a block adds, by hand.
OUTPUTS = {
    "llama": ["self_attn.o_proj.weight", "mlp.down_proj.weight"],
    "gpt_neox parallel": ["attention.dense.weight", "mlp.dense_4h_to_h.weight"],
    "opt": ["self_attn.out_proj.weight", "fc2.weight"],
    "bloom": ["self_attention.dense.weight", "mlp.dense_4h_to_h.weight"],
    "mpt": ["attn.out_proj.weight", "ffn.down_proj.weight"],
    "phi": ["self_attn.dense.weight", "mlp.fc2.weight"],
    "mixtral": ["self_attn.o_proj.weight", "mlp.experts.down_proj"],
    "qwen2_moe": [
        *("self_attn.o_proj.weight", "mlp.experts.down_proj"),
        "mlp.shared_expert.down_proj.weight",
    ],
}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_weights_are_those_that_transformers_gives_a_new_model_under_the_seed(kind):
    before = torch.random.get_rng_state()
    found = drawn(kind, ["own"])["own"].model.state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **MODELS[kind][1])
    expected = AutoModelForCausalLM.from_config(config, dtype=torch.float32).state_dict()
    assert found.keys() == expected.keys()
    equal = {name: torch.equal(weights, expected[name]) for name, weights in found.items()}
    assert [name for name in equal if not equal[name]] == []


@pytest.mark.parametrize("kind", OUTPUTS)
def test_by_depth_divides_the_output_matrices_and_no_others(kind):
    name = "init_std" if kind == "opt" else "initializer_range"
    found = drawn(kind, ("own", "by-depth"), **{name: 0.05})
    own, divided = (dict(found[s].model.named_parameters()) for s in ("own", "by-depth"))
    changed = {path for path in own if not torch.equal(own[path], divided[path])}
    assert len(changed) == 3 * len(OUTPUTS[kind])
    for path in changed:
        assert path.endswith(tuple(OUTPUTS[kind]))
        torch.testing.assert_close(divided[path], own[path] / math.sqrt(6))


def test_the_default_scale_is_that_of_transformers():
    found = drawn("llama", initializer_range=0.05)
    assert not any(draw.left_out for draw in found.values())
    matrix = "model.layers.0.self_attn.q_proj.weight"
    own, default = (found[s].model.get_parameter(matrix) for s in ("own", "default"))
    torch.testing.assert_close(default, own * 0.4)
    own = {"initializer_range": 0.05, "from": "stated"}
    facts = [tuple(draw.facts(own).values()) for draw in found.values()]
    assert facts == [
        ("own", 0.05, "stated", ""),
        ("default", 0.02, "transformers", ""),
        ("by-depth", 0.05, "stated", ""),
    ]


def test_a_scale_that_is_anothers_is_left_out(subtests):
    """GPT-2 is drawn by depth as it is; its own scale here is the default."""
    found = drawn("gpt2")
    assert [draw.left_out for draw in found.values()] == ["", *["the same as own"] * 2]
    assert [draw.model is None for draw in found.values()] == [False, True, True]
    # By itself each scale is drawn.
    for scale in ("default", "by-depth"):
        with subtests.test(scale=scale):
            (alone,) = drawn("gpt2", [scale]).values()
            own = found["own"].model.state_dict()
            assert all(torch.equal(own[k], v) for k, v in alone.model.state_dict().items())


def test_a_multiple_of_the_models_own_scale_is_drawn():
    found = drawn("llama", ["own", "own-x1.5", "own-x1"], initializer_range=0.05)
    matrix = "model.layers.0.self_attn.q_proj.weight"
    own, larger = (found[s].model.get_parameter(matrix) for s in ("own", "own-x1.5"))
    torch.testing.assert_close(larger, own * 1.5)
    facts = found["own-x1.5"].facts({"initializer_range": 0.05, "from": "stated"})
    assert facts["initializer_range"] == pytest.approx(0.075)
    assert facts["origin"] == "stated"
    assert found["own-x1"].left_out == "the same as own"


def test_an_architecture_without_a_range_has_no_multiple_of_it():
    kind, settings = "recurrent_gemma", {"hidden_size": 32, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, **settings, num_hidden_layers=3, intermediate_size=48)
    own, larger = initial_weights.draws(config, ["own", "own-x1.5"], seed=0)
    assert own.model is not None
    assert larger.left_out == "the model's config states no standard deviation of initial weights"
    with pytest.raises(UserError, match="the scale own-x2 of initial weights: the model's config"):
        list(initial_weights.draws(config, ["own-x2"], seed=0))


TINY_MAMBA = {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 100, "state_size": 8}
# 128 inputs of an output matrix make its uniform weights as small as divided ones would be.
MAMBAS = {
    "mamba": {},
    "mamba2": {"num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 1},
    "falcon_mamba": {},
}


@pytest.mark.parametrize("kind", MAMBAS)
@pytest.mark.parametrize("rescaled", [False, True])
def test_blocks_with_one_sublayer_are_divided_by_the_root_of_the_layers(kind, rescaled):
    """That is how Mamba's family draws them, if its config says so."""
    config = AutoConfig.for_model(
        kind, **TINY_MAMBA, **MAMBAS[kind], rescale_prenorm_residual=rescaled
    )
    own, divided = initial_weights.draws(config, ["own", "by-depth"], seed=0)
    if rescaled:
        assert divided.left_out == "the same as own"
        return
    before = dict(own.model.named_parameters())
    for path, after in divided.model.named_parameters():
        factor = 2 if path.endswith("mixer.out_proj.weight") else 1
        torch.testing.assert_close(after, before[path] / factor)


NEMOTRON_H = {
    **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    **{"intermediate_size": 96, "moe_intermediate_size": 96, "vocab_size": 200},
    **{"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
}
AXK1 = {
    **{"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4},
    **{"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1},
    **{"topk_group": 1, "intermediate_size": 96, "moe_intermediate_size": 96, "vocab_size": 200},
}


def test_what_an_architecture_leaves_undivided_is_divided():
    """NemotronH draws the matrices of its Mamba blocks alone by depth."""
    kinds = ["mamba", "attention", "moe", "mamba"]
    config = AutoConfig.for_model("nemotron_h", **NEMOTRON_H, layers_block_type=kinds)
    own, divided = initial_weights.draws(config, ["own", "by-depth"], seed=0)
    before = dict(own.model.named_parameters())
    changed = {
        path.rpartition("mixer.")[2]
        for path, after in divided.model.named_parameters()
        if not torch.equal(after, before[path])
    }
    assert changed == {
        *("o_proj.weight", "experts.down_proj", "shared_experts.down_proj.weight"),
    }


def test_a_norm_within_a_sublayer_leaves_no_scale_by_depth():
    """A.X-K1 normalises what its experts add, within their module."""
    config = AutoConfig.for_model("axk1", **AXK1)
    own, divided = initial_weights.draws(config, ["own", "by-depth"], seed=0)
    assert own.model is not None
    assert divided.left_out == "AXK1MoE normalises what mlp adds in layer 1"


def test_what_is_normalised_before_it_is_added_has_no_scale_by_depth():
    found = drawn("gemma2")
    assert found["by-depth"].left_out == "Gemma2RMSNorm normalises what attention adds in layer 0"
    with pytest.raises(UserError, match="normalises what attention adds"):
        drawn("gemma2", ["by-depth"])
