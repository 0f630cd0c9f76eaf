"""`attnlag.check`: which module adds what attention adds, and what fails."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import GPT, LLAMA, MODELS, OPT, measured, outputs_of, ragged, small_model
from projects import refused
from transformers import AutoModelForCausalLM

import attnlag

# The module of layer 1 in ten families, and its factor.
ADDED_BY = {
    "gpt2": ("transformer.h.1.attn", 1.0),
    "llama": ("model.layers.1.self_attn", 1.0),
    "gemma2": ("model.layers.1.post_attention_layernorm", 1.0),
    "olmo2": ("model.layers.1.post_attention_layernorm", 1.0),
    "granite": ("model.layers.1.self_attn", 0.22),
    "bloom": ("transformer.h.1.self_attention.dense", 1.0),
    "gpt_neox parallel": ("gpt_neox.layers.1.attention", 1.0),
    "opt": ("model.decoder.layers.1.self_attn", 1.0),
    "qwen3_moe": ("model.layers.1.self_attn", 1.0),
    "falcon new": ("transformer.h.1.self_attention", 1.0),
}
PATHS = {"blocks": "layers", "attention": "self_attn", "mlp": "mlp"}


@pytest.mark.parametrize("name", ADDED_BY)
def test_the_module_of_each_family_gives_what_is_measured(name):
    model = small_model(*MODELS[name], kind=AutoModelForCausalLM)
    table = attnlag.check(model)
    assert list(table) == ["layer", "module", "factor", "error", "unexplained"]
    assert table["layer"].tolist() == [0, 1, 2]
    assert (table["unexplained"] == "").all()
    assert (table["error"] < 1e-6).all()
    assert tuple(table.loc[1, ["module", "factor"]]) == ADDED_BY[name]
    outputs = outputs_of(model, [model.get_submodule(path) for path in table["module"]])
    vectors = measured(model, sites=["attention"], sequences=ragged()[:1])[1]["attention"]
    np.testing.assert_allclose(outputs * table["factor"][1], vectors, rtol=1e-4, atol=1e-5)


# The type, what makes it small, the modules that are declared, and the part that these leave.
UNEXPLAINED = [
    ("llama", LLAMA, {**PATHS, "attention": "input_layernorm"}, "attention"),
    ("llama", LLAMA, {**PATHS, "mlp": "post_attention_layernorm"}, "mlp"),
    ("gemma2", MODELS["gemma2"][1], PATHS, "attention and mlp"),
    ("gpt2", GPT, {"blocks": "h", "attention": "attn.c_attn", "mlp": "mlp"}, None),
    # The sums are normalised.
    ("opt", {**OPT, "do_layer_norm_before": False}, None, "stream"),
    ("openai-gpt", GPT, None, "stream"),
    ("bloom", {**MODELS["bloom"][1], "apply_residual_connection_post_layernorm": True}, None,
     "stream"),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "settings", "modules", "part"), UNEXPLAINED)
def test_the_part_that_no_module_explains_is_named(model_type, settings, modules, part):
    model = small_model(model_type, settings)
    if part is None:
        # Vectors of another width are no adjustments.
        (line,) = refused(attnlag.check, model, modules=modules)
        assert re.search("found vectors of 144 from attention in a stream of 48", line)
        return
    table = attnlag.check(model, modules=modules)
    assert set(table["unexplained"]) == {part}
    assert (table["error"] > 1e-5).all()
    # A module is named if its own addition is seen, though the other is not.
    assert table["module"].notna().all() == (part == "mlp")


def test_half_precision_must_agree_bit_for_bit():
    model = small_model(*MODELS["llama"]).bfloat16()
    assert (attnlag.check(model)["error"] == 0).all()
    wrong = attnlag.check(model, modules={**PATHS, "mlp": "post_attention_layernorm"})
    assert set(wrong["unexplained"]) == {"attention and mlp"}


def test_a_block_that_leaves_out_its_sublayers_is_named():
    skipped = small_model(*MODELS["gpt2"])
    skipped.h[1].forward = lambda hidden_states, *_, **__: hidden_states
    table = attnlag.check(skipped)
    assert table["unexplained"].tolist() == ["", "attention and mlp", ""]
    assert table["module"].isna().tolist() == [False, True, False]


class NoModule:
    """What a model of nnsight or nnterp is to its callers: an object around the model."""

    def __init__(self, model):
        self._model = model


def test_a_model_of_nnsight_is_checked_as_the_one_in_it():
    model = small_model(*MODELS["llama"], kind=AutoModelForCausalLM)
    assert attnlag.check(NoModule(model)).equals(attnlag.check(model))
    (line,) = refused(attnlag.check, NoModule(model.to("meta")))
    assert line == (
        "model: found NoModule without weights, expected them to be loaded, by model.dispatch()"
    )


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), SimpleNamespace(), "gpt2"])
def test_what_is_no_model_of_transformers_is_refused(model):
    (line,) = refused(attnlag.check, model)
    assert line.startswith("model: found ")
    assert line.endswith("expected a model, as from_pretrained returns")


def test_modules_that_the_model_lacks_are_refused():
    (line,) = refused(attnlag.check, small_model("llama", LLAMA), modules={**PATHS, "mlp": "mpl"})
    assert "no module 'layers.0.mpl', expected one of self_attn, mlp" in line


def test_a_model_stays_as_it_was():
    model = small_model(*MODELS["gpt2"]).train()
    attnlag.check(model)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
