"""The config of the model in a GGUF file, under the names of transformers.

llama.cpp reads more keys than transformers' table of names has, and some things it knows by itself.
What transformers can state is stated here; every other key of the architecture is refused by name,
because the model would be another one without it.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnlag.errors import UserError

# Architectures in GGUF that can be converted; tests compare each with transformers' own loader.
ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3")

# Keys of single architectures that are not in transformers' table, and its names for them.
CAPS = {name: name for name in ("attn_logit_softcapping", "final_logit_softcapping")}
FURTHER: dict[str, dict[str, str]] = {
    "phi3": {"attention.sliding_window": "sliding_window"},
    "gemma2": CAPS,
    "gemma3": CAPS | {"rope.freq_base_swa": "rope_local_base_freq"},
}

# What llama.cpp takes where a key is absent, or what leaves a model as it is without the key.
NEUTRAL: dict[str, Any] = {
    "attention.causal": True,
    "expert_count": 0,
    "expert_used_count": 0,
    "rope.scaling.attn_factor": 1.0,
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
    "rope.scaling.factor": 1.0,
    "rope.scaling.type": "none",
    "tensor_data_layout": "Meta AI original pth",
}
# Keys without which llama.cpp does not load a model.
REQUIRED = (
    *("context_length", "embedding_length", "feed_forward_length", "attention.head_count"),
    "attention.layer_norm_rms_epsilon",
)
# Keys that describe how a model was made.
DESCRIBING = ("rope.scaling.finetuned", "rope.scaling.original_context_length")

# Numbers of layers of the models whose queries llama.cpp scales by the width per head, and not by
# the size of a head: Gemma 2 27B and Gemma 3 27B.
SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}

# The rotation of Llama 3.1 to 3.3, but for its factor.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

# Tensors with factors of the rotation.
FACTORS = {
    "llama": ("rope_freqs.weight",),
    "phi3": ("rope_factors_long.weight", "rope_factors_short.weight"),
}

# Kinds of scaled rotation that transformers and llama.cpp compute alike.
SCALINGS = {
    **dict.fromkeys(("llama", "qwen2", "qwen3"), ("linear", "yarn")),
    **dict.fromkeys(("gemma2", "gemma3"), ("linear",)),
    "phi3": (),
}


def config_of(header: Any, architecture: str, file: str) -> Any:
    """Return the config of transformers for a model in GGUF, from the header of its file.

    Raise UserError if a key, or a tensor among ``FACTORS``, states what transformers cannot.
    """
    import gguf
    from transformers import CONFIG_MAPPING
    from transformers.integrations import GGUF_CONFIG_MAPPING

    keys = {key: field.contents() for key, field in header.fields.items()}
    tensors = {tensor.name: tensor for tensor in header.tensors}
    factors: dict[str, Any] = {}
    for name in FACTORS.get(architecture, ()):
        if name in tensors:
            factors[name] = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
    renamed: Any = GGUF_CONFIG_MAPPING
    names = renamed[architecture] | FURTHER.get(architecture, {})
    prefix = f"{architecture}."
    left = {key[len(prefix) :]: keys[key] for key in keys if key.startswith(prefix)}
    # The size of a head follows below.
    named = {key: name for key, name in names.items() if name and name != "head_dim"}
    values = {name: left.pop(key) for key, name in named.items() if key in left}
    for section in ("general", "tokenizer"):
        for key, name in renamed[section].items():
            if f"{section}.{key}" in keys:
                values[name] = keys[f"{section}.{key}"]
    # Only the text model of Gemma 3 is in GGUF.
    values["model_type"] = {"gemma3": "gemma3_text"}.get(architecture, architecture)
    kind = CONFIG_MAPPING[values["model_type"]]
    missing = [key for key in REQUIRED if key in named and named[key] not in values]
    if missing:
        raise UserError(f"{file} lacks {architecture}.{key}" for key in missing)
    heads = values["num_attention_heads"]
    width = values["hidden_size"]
    values.setdefault("num_key_value_heads", heads)
    values.setdefault("rope_theta", 10_000.0)
    values |= _heads(left, architecture, heads, width)
    if architecture in SCALED_BY_WIDTH:
        by_width = values["num_hidden_layers"] == SCALED_BY_WIDTH[architecture]
        values["query_pre_attn_scalar"] = width // heads if by_width else values["head_dim"]
    if "attention.sliding_window_pattern" in left and architecture == "gemma3":
        pattern = left.pop("attention.sliding_window_pattern")
        if isinstance(pattern, list):
            kinds = "full_attention", "sliding_attention"
            values["layer_types"] = [kinds[bool(each)] for each in pattern]
        else:
            values["sliding_window_pattern"] = pattern
    if architecture == "gemma3" and not values.get("sliding_window"):
        # llama.cpp then has no layer with a window, whatever pattern is stated.
        values.pop("sliding_window_pattern", None)
        values["layer_types"] = ["full_attention"] * values["num_hidden_layers"]
    for cap in CAPS.values():
        if values.get(cap) == 0:
            values[cap] = None
    values |= _rotation(left, architecture, values, factors, file)
    for key, neutral in NEUTRAL.items():
        if left.get(key) == neutral:
            del left[key]
    problems: list[str] = []
    for key, value in left.items():
        if key not in DESCRIBING:
            problems.append(
                f"{file} states {architecture}.{key} ({value}), for which transformers' "
                f"{kind.__name__} has no place; expected the model in safetensors"
            )
    if int(keys.get("split.count", 1)) > 1:
        problems.append(f"{file} is a part of a model (split.count); expected it in one file")
    if problems:
        raise UserError(problems)
    config = kind.from_dict(values)
    if f"{architecture}.vocab_size" not in keys:
        # Most files do not state the size of the vocabulary.
        config.vocab_size = int(header.fields["tokenizer.ggml.tokens"].parts[-1][0])
    config.tie_word_embeddings = "output.weight" not in tensors
    # If some biases are there, transformers has those of all matrices.
    for setting, part in (("attention_bias", "attn"), ("mlp_bias", "ffn")):
        biases = re.compile(rf"blk\.\d+\.{part}_\w+\.bias")
        if hasattr(config, setting) and any(map(biases.fullmatch, tensors)):
            setattr(config, setting, True)
    return config


def _heads(left: dict[str, Any], architecture: str, heads: int, width: int) -> dict[str, Any]:
    """Return what a header states of the sizes of heads, removing it from what is ``left``."""
    rotated = left.pop("rope.dimension_count", None)
    usual = rotated if architecture == "llama" and rotated else width // heads
    size = left.pop("attention.key_length", usual)
    if left.get("attention.value_length") == size:
        del left["attention.value_length"]
    if math.isclose(left.get("attention.scale", 0), size**-0.5, rel_tol=1e-6):
        del left["attention.scale"]
    # Types without a key of their own for it read it all the same.
    stated = architecture not in ("qwen2", "phi3") or size != width // heads
    values: dict[str, Any] = {"head_dim": size} if stated else {}
    if rotated not in (None, size):
        if architecture == "phi3":
            values["partial_rotary_factor"] = rotated / size
        else:
            left["rope.dimension_count"] = rotated
    return values


def _rotation(
    left: dict[str, Any],
    architecture: str,
    values: Mapping[str, Any],
    factors: Mapping[str, np.ndarray],
    file: str,
) -> dict[str, Any]:
    """Return what a header states of the rotation, removing it from what is ``left``.

    Raise UserError if transformers has no place for the factors of the rotation. llama.cpp always
    applies those of Llama, also beside another scaling.
    """
    as_in_llama3: dict[str, Any] = {}
    if architecture == "llama" and "rope_freqs.weight" in factors:
        as_in_llama3 = _as_in_llama3(factors["rope_freqs.weight"], values)
    original = left.get("rope.scaling.original_context_length", values["max_position_embeddings"])
    if architecture == "phi3" and {*FACTORS["phi3"]} <= {*factors}:
        long_name, short_name = FACTORS["phi3"]
        long = factors[long_name].tolist()
        short = factors[short_name].tolist()
        scaling = {"rope_type": "longrope", "long_factor": long, "short_factor": short}
        attention = left.pop("rope.scaling.attn_factor", None)
        if attention:
            scaling["attention_factor"] = attention
        if left.get("rope.scaling.type") == "longrope":
            del left["rope.scaling.type"]
        return {"rope_scaling": scaling, "original_max_position_embeddings": original}
    kind = left.get("rope.scaling.type", "linear")
    if kind not in SCALINGS[architecture]:
        return as_in_llama3
    left.pop("rope.scaling.type", None)
    factor = left.pop("rope.scale_linear", 1.0)
    factor = left.pop("rope.scaling.factor", factor) or 1.0
    if as_in_llama3 and (kind == "yarn" or factor != 1.0):
        raise UserError(
            f"{file} has the tensor rope_freqs.weight beside {architecture}.rope.scaling.type "
            f"({kind}), and transformers has no place for both; expected the model in safetensors"
        )
    if kind == "yarn":
        scaling = {
            "rope_type": kind,
            "factor": factor,
            "original_max_position_embeddings": original,
        }
        for key in ("beta_fast", "beta_slow"):
            beta = left.pop(f"rope.scaling.yarn_{key}", None)
            if beta:
                scaling[key] = beta
        return {"rope_scaling": scaling}
    if factor != 1.0:
        return {"rope_scaling": {"rope_type": kind, "factor": factor}}
    return as_in_llama3


def _as_in_llama3(divisors: np.ndarray, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scaling that divides the frequencies of the rotation by these numbers."""
    if (divisors == 1).all():
        return {}
    size = values["head_dim"]
    factor = round(float(divisors.max()), 4)
    wavelengths = 2 * np.pi * values["rope_theta"] ** (np.arange(0, size, 2) / size)
    low, high, length = LLAMA3.values()
    share = np.clip((length / wavelengths - low) / (high - low), 0, 1)
    expected = 1 / ((1 - share) / factor + share)
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        raise UserError(
            "the tensor rope_freqs.weight holds other factors than those of Llama 3.1 to 3.3, for "
            "which transformers has no place; expected the model in safetensors"
        )
    return {"rope_scaling": {"rope_type": "llama3", "factor": factor, **LLAMA3}}
