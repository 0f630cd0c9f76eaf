"""Weights before training: their scales, and the matrices that a scale divides."""

import math

import pytest
import torch
from models import MODELS
from transformers import AutoConfig, AutoModelForCausalLM

from attnlag.errors import UserError
from attnlag.model import random_weights


def drawn(name, scales=("own", "default", "by-depth"), **changes):
    kind, settings = MODELS[name]
    config = AutoConfig.for_model(kind, **settings | changes)
    return {draw.scale: draw for draw in random_weights.draws(config, scales, seed=3)}


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
    for name, weights in found.items():
        assert torch.equal(weights, expected[name]), name


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


def test_a_scale_that_is_anothers_is_left_out():
    """GPT-2 is drawn by depth as it is; its own scale here is the default."""
    found = drawn("gpt2")
    assert [draw.left_out for draw in found.values()] == ["", *["the same as own"] * 2]
    assert [draw.model is None for draw in found.values()] == [False, True, True]
    # By itself each scale is drawn.
    for scale in ("default", "by-depth"):
        (alone,) = drawn("gpt2", [scale]).values()
        own = found["own"].model.state_dict()
        assert all(torch.equal(own[k], v) for k, v in alone.model.state_dict().items())


def test_what_is_normalised_before_it_is_added_has_no_scale_by_depth():
    found = drawn("gemma2")
    assert found["by-depth"].left_out == "Gemma2RMSNorm normalises what attention adds in layer 0"
    with pytest.raises(UserError, match="normalises what attention adds"):
        drawn("gemma2", ["by-depth"])
