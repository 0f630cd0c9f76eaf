"""The conversion of GGUF files, tensor by tensor, equals that of transformers' loader."""

import json
import re
import struct
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFValueType
from gguf_files import PIECES, WIDTH, as_gguf, small_model
from local_models import problem_of
from models import measured
from projects import refused
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from attnlag.errors import UserError
from attnlag.model import gguf

WINDOW = {"attention.sliding_window": 32}


def heads_of(size):
    return {"attention.key_length": size, "attention.value_length": size}


GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16}

# What a model of each architecture has beside the sizes that all have, its file, and what
# transformers' own loader does not take from this, or makes up.
STATED_OF_ALL: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "llama": ({}, {"rope.dimension_count": 16}, {}),
    "qwen2": ({}, {}, {}),
    # transformers takes Qwen3 heads to be as wide as all that there are.
    "qwen3": ({"head_dim": 128}, heads_of(128), {}),
    "phi3": ({}, {"rope.dimension_count": 16, **WINDOW}, {"sliding_window": 32}),
    **dict.fromkeys(
        ("gemma2", "gemma3"), (GEMMA, heads_of(16) | WINDOW, {"query_pre_attn_scalar": 16})
    ),
}


def converted(path, folder):
    folder.mkdir()
    gguf.convert_gguf(path, folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def files_of_transformers(path, folder):
    source: Any = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers refuses to save a model loaded from GGUF, but not one of the same config.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.state_dict(), strict=True)
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    tokenizer.init_kwargs["local_files_only"] = False
    tokenizer.save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("architecture", gguf.ARCHITECTURES)
@pytest.mark.parametrize("stored", [GGMLQuantizationType.F32, GGMLQuantizationType.Q8_0])
def test_the_converted_files_equal_those_that_transformers_writes(architecture, stored, tmp_path):
    tied = stored == GGMLQuantizationType.F32 or architecture == "gemma2"
    settings, keys, further = STATED_OF_ALL[architecture]
    model = small_model(architecture, {**settings, "tie_word_embeddings": tied})
    path = as_gguf(tmp_path / "alone" / "tiny.gguf", architecture, model, keys, stored=stored)
    found, expected = converted(path, tmp_path / "direct"), tmp_path / "loaded"
    files = files_of_transformers(path, expected)
    config = json.loads(files.pop("config.json")) | further
    del config["initializer_range"]
    assert json.loads(found.pop("config.json")) == config
    assert found == files
    model, loading = AutoModelForCausalLM.from_pretrained(
        tmp_path / "direct", output_loading_info=True
    )
    assert not any(loading.values())
    assert model.config.tie_word_embeddings == tied


def no_place(said):
    return re.escape(said) + ".*has no place; expected the model in safetensors$"


def scaling(**keys):
    return {f"rope.scaling.{key}": value for key, value in keys.items()}


def divisors_of_llama3():
    """Return the tensor that llama.cpp's converter computes for Llama 3.1."""
    found = []
    for wavelength in 2 * np.pi * 1e4 ** (np.arange(0, 16, 2) / 16):
        smooth = (8192 / wavelength - 1) / 3
        if wavelength < 2048:
            found.append(1.0)
        else:
            found.append(8.0 if wavelength > 8192 else 1 / ((1 - smooth) / 8 + smooth))
    return np.array(found, np.float32)


# For each file: its architecture, what is written into it, and what is said of it.
REFUSED = [
    ("llama", {"called": "stablelm"}, "architecture 'stablelm', expected one of llama, qwen2, "),
    ("llama", {"leave_out": "blk.1.ffn_down.weight"},
     r"lacks 1 tensor of the model: model\.layers\.1\.mlp\.down_proj\.weight"),
    # No other layer has this tensor.
    ("llama", {"leave_out": "token_embd.weight"}, r"lacks 1 tensor .*: model\.embed_tokens"),
    ("qwen2", {"widen": "blk.1.ffn_up.weight"},
     r"tensor blk\.1\.ffn_up\.weight has the shape \(96, 128\), expected \(96, 64\)"),
    *(("llama", {"keys": {"block_count": layers}}, said) for layers, said in (
        (0, "has no place"), (1, "has no place"), (3, r"lacks 9 tensors .* model\.layers\.2\."),
        (2_000_000_000, r"states 2,000,000,000 layers \(llama\.block_count\)"),
    )),
    ("llama", {"keys": {"logit_scale": 0.25}}, no_place("llama.logit_scale (0.25)")),
    ("llama", {"keys": {"rope.dimension_count": 8, "attention.key_length": 16}},
     no_place("llama.rope.dimension_count (8)")),
    *((architecture, {"keys": {key: value}}, no_place(f"{architecture}.{key} ({value})"))
      for architecture, key, value in (
          ("llama", "attention.sliding_window", 8), ("llama", "expert_count", 4),
          ("llama", "rope.scaling.type", "dynamic"), ("phi3", "rope.scaling.type", "yarn"),
          ("qwen2", "attention.causal", False),
      )),
    ("llama", {"tensors": {"rope_freqs": np.linspace(1, 3, 8, dtype=np.float32)}},
     no_place("the tensor rope_freqs.weight holds other factors")),
    ("llama", {"add_space_prefix": False}, no_place("tokenizer.ggml.add_space_prefix (False)")),
    *(("llama", {"keys": keys, "tensors": {"rope_freqs": divisors_of_llama3()}},
       rf"tensor rope_freqs\.weight beside llama\.rope\.scaling\.type \({kind}\)")
      for kind, keys in (
          ("linear", scaling(type="linear", factor=8.0)), ("linear", {"rope.scale_linear": 2.0}),
          ("yarn", scaling(type="yarn", factor=4.0)),
      )),
    ("qwen2", {"tensors": {"blk.1.attn_output.bias": np.ones(WIDTH, np.float32)}},
     no_place("the tensor blk.1.attn_output.bias, for which transformers' Qwen2ForCausalLM")),
    ("llama", {"tensors": {"blk.0.attn_q_norm": np.ones(16, np.float32)}},
     no_place("the tensor blk.0.attn_q_norm.weight")),
    ("phi3", {"tensors": {"rope_factors_long": np.ones(8, np.float32)}},
     no_place("the tensor rope_factors_long.weight")),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "changes", "said"), REFUSED)
def test_what_is_not_the_stated_model_or_has_no_place_is_refused(
    architecture, changes, said, tmp_path
):
    path = as_gguf(tmp_path / "tiny.gguf", architecture, **changes)
    (line,) = refused(converted, path, tmp_path / "folder")
    assert re.search(said, line)


@pytest.mark.parametrize("moved", [1, 2, 7, 32, -32, 2**64 - 1])
def test_a_tensor_that_does_not_follow_the_one_before_is_refused(moved, tmp_path):
    """Its values would be bytes of its neighbours."""
    path = as_gguf(tmp_path / "tiny.gguf", "llama")
    content, name = bytearray(path.read_bytes()), b"blk.0.attn_q.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8 + 4
    (offset,) = struct.unpack_from("<Q", content, at)
    found = (offset + moved) % 2**64
    struct.pack_into("<Q", content, at, found)
    path.write_bytes(content)
    said = rf"tensor blk\.0\.attn_q\.weight begins at byte {found:,} .* {offset:,}, the end"
    with pytest.raises(UserError, match=said):
        converted(path, tmp_path / "folder")


# A header of one array of 2**60 numbers, through which a reader would step one by one.
ENDLESS = struct.pack("<IQQ", 3, 0, 1) + struct.pack("<QcI", 1, b"a", GGUFValueType.ARRAY)
ENDLESS += struct.pack("<IQ", GGUFValueType.UINT32, 2**60) + bytes(64)
INVALID = [b"", b"GGUF", b"GGUF" + b"\xff" * 200, b"\x80\x04." * 99, b"GGUF" + ENDLESS]


@pytest.mark.parametrize("content", [*INVALID, 20, 100, 400, -1])
def test_an_invalid_file_is_refused(content, tmp_path):
    """Or one that is cut to some length."""
    path = as_gguf(tmp_path / "mine.gguf", "llama")
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    assert "cannot convert mine.gguf" in problem_of(path, tmp_path / "models" / "mine")


# A model is written as llama.cpp's converter would, converted, and compared with itself.


def rope(kind, theta=1e4, **further):
    return {"rope_type": kind, "rope_theta": theta, **further}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
LLAMA3 |= {"original_max_position_embeddings": 8192}
LONG, SHORT = [2.0, 4.0] * 4, [1.0, 1.1] * 4
LONGROPE = rope("longrope", original_max_position_embeddings=256)
LONGROPE |= {"short_factor": SHORT, "long_factor": LONG}
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=128, beta_fast=16.0)
SMALL_GEMMA = {"head_dim": 8, "query_pre_attn_scalar": 8, "tie_word_embeddings": True}
GEMMA3 = SMALL_GEMMA | {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 5}
GEMMA3["rope_parameters"] = {
    "full_attention": rope("linear", factor=8.0),
    "sliding_attention": rope("default", 5e3),
}
OF_GEMMA3 = heads_of(8) | scaling(type="linear", factor=8.0) | {"rope.freq_base_swa": 5e3}
OF_GEMMA3 |= {"attention.sliding_window": 5, "attention.scale": 8**-0.5}
OF_GEMMA3 |= {"attention.sliding_window_pattern": [False, True]}


def caps(attention, final):
    return {"attn_logit_softcapping": attention, "final_logit_softcapping": final}


# For each file: architecture, config of the model, keys and tensors of the file.
STATED: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "llama 3": ("llama", {"rope_parameters": LLAMA3}, {}, {"rope_freqs": divisors_of_llama3()}),
    "llama 3, type none": (
        *("llama", {"rope_parameters": LLAMA3}),
        *(scaling(type="none"), {"rope_freqs": divisors_of_llama3()}),
    ),
    "linear, factors of one": (
        *("llama", {"rope_parameters": rope("linear", factor=8.0)}),
        *(scaling(type="linear", factor=8.0), {"rope_freqs": np.ones(8, np.float32)}),
    ),
    "linear": (
        *("llama", {"rope_parameters": rope("linear", factor=8.0)}),
        *(scaling(type="linear", factor=8.0), {}),
    ),
    "yarn": (
        *("qwen2", {"rope_parameters": YARN}),
        scaling(type="yarn", factor=4.0, original_context_length=128, finetuned=True)
        | scaling(yarn_beta_fast=16.0),
        {},
    ),
    "longrope": (
        *("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 256}),
        scaling(original_context_length=256, attn_factor=2**0.5 / 0.9),
        {"rope_factors_long": np.float32(LONG), "rope_factors_short": np.float32(SHORT)},
    ),
    "partial rotation": ("phi3", {"partial_rotary_factor": 0.5}, {"rope.dimension_count": 8}, {}),
    "window": ("phi3", {"sliding_window": 7}, {"attention.sliding_window": 7}, {}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}, {}, {}),
    "wide heads": ("llama", {"head_dim": 32}, {"attention.key_length": 32}, {}),
    "head of qwen3": ("qwen3", {"head_dim": 16}, {"attention.key_length": 16}, {}),
    "soft caps": ("gemma2", SMALL_GEMMA | caps(2.0, 3.0), heads_of(8) | caps(2.0, 3.0), {}),
    "gemma 2 27B": (
        "gemma2",
        SMALL_GEMMA | caps(None, None) | {"num_hidden_layers": 46, "query_pre_attn_scalar": 16},
        heads_of(8) | caps(1e9, 1e9),
        {},
    ),
    "gemma 3": ("gemma3", GEMMA3, OF_GEMMA3, {}),
    "gemma 3 without a window": (
        *("gemma3", GEMMA3 | {"layer_types": ["full_attention"] * 2}),
        *({key: OF_GEMMA3[key] for key in OF_GEMMA3 if "sliding_window" not in key}, {}),
    ),
    "gemma 3 with a window of 0": (
        *("gemma3", GEMMA3 | {"layer_types": ["full_attention"] * 2}),
        *(OF_GEMMA3 | {"attention.sliding_window": 0}, {}),
    ),
    "caps of 0": ("gemma2", SMALL_GEMMA | caps(None, None), heads_of(8) | caps(0.0, 0.0), {}),
}


def norms_of(model):
    # On both sides of the original length of LongRoPE.
    ids = np.random.default_rng(0).integers(3, len(PIECES), 300)
    sequences = [ids[:200], ids]
    _, found = measured(model, "norms", ["attention", "mlp"], sequences, batch_tokens=4096)
    return np.stack(list(found.values()))


@pytest.mark.parametrize("name", STATED)
def test_the_converted_model_has_the_norms_of_the_one_that_it_was_made_from(name, tmp_path):
    architecture, settings, keys, tensors = STATED[name]
    model = small_model(architecture, settings)
    if name == "longrope":
        # Stated in the file; transformers computes another from the lengths.
        model.model.rotary_emb.attention_scaling = keys["rope.scaling.attn_factor"]
        model.model.rotary_emb.long_attention_scaling = keys["rope.scaling.attn_factor"]
    converted(as_gguf(tmp_path / "m.gguf", architecture, model, keys, tensors), tmp_path / "folder")
    found = AutoModel.from_pretrained(tmp_path / "folder")
    np.testing.assert_allclose(norms_of(found), norms_of(model.base_model), rtol=1e-3)
    assert found.config.tie_word_embeddings == model.config.tie_word_embeddings
    cap = keys.get(
        "final_logit_softcapping", getattr(model.config, "final_logit_softcapping", None)
    )
    # A cap of 0 is none.
    assert getattr(found.config, "final_logit_softcapping", None) == (cap or None)


@pytest.mark.parametrize("stated", [None, True])
def test_a_text_begins_with_a_space(stated, tmp_path):
    path = as_gguf(tmp_path / "m.gguf", "llama", add_space_prefix=stated)
    converted(path, tmp_path / "folder")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert tokenizer.tokenize("abcd ab") == ["▁abcd", "▁ab"]
