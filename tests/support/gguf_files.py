"""Models in GGUF files, written as llama.cpp's converter would."""

from typing import Any

import gguf as gguf_package
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from transformers import AutoConfig, AutoModelForCausalLM

# Letters, and what they merge to: the pairs of the second are in the order of their scores.
PIECES = ["<unk>", "<s>", "</s>", *"▁abcdefgh", "ab", "cd", "▁ab", "abcd", "▁abcd"]
WIDTH, INNER, HEADS, GROUPS, LAYERS = 64, 96, 4, 2, 2
SIZES = {
    **{"vocab_size": len(PIECES), "hidden_size": WIDTH, "intermediate_size": INNER},
    **{"num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "num_hidden_layers": LAYERS},
    **{"max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "pad_token_id": 0},
    **{"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False},
}


def small_model(architecture: str, settings: dict[str, Any]) -> Any:
    """Return a tiny causal model with random weights."""
    torch.manual_seed(0)
    kind = {"gemma3": "gemma3_text"}.get(architecture, architecture)
    config = AutoConfig.for_model(kind, **{**SIZES, **settings})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.3 * torch.randn(weights.shape))
    return model


def as_gguf(
    path,
    architecture,
    model=None,
    keys=(),
    tensors=(),
    *,
    called="",
    stored=GGMLQuantizationType.F32,
    leave_out="",
    widen="",
    add_space_prefix=None,
):
    """Write a model, or a tiny one with random weights, and return its path.

    ``keys`` and ``tensors`` are further ones of the file, ``called`` is another architecture than
    the model's, and ``widen`` is a tensor that is twice as wide.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model = model or small_model(architecture, {})
    config, called = model.config, called or architecture
    writer = GGUFWriter(path, called)
    values = {
        **{"context_length": 4096, "embedding_length": WIDTH, "feed_forward_length": INNER},
        **{"block_count": config.num_hidden_layers, "rope.freq_base": 1e4},
        **{"attention.head_count": HEADS, "attention.head_count_kv": GROUPS},
        **{"attention.layer_norm_rms_epsilon": 1e-6, **dict(keys)},
    }
    for key, value in values.items():
        kind = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}
        getattr(writer, f"add_{kind[type(value)]}")(f"{called}.{key}", value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(PIECES)
    writer.add_token_scores([0.0] * 3 + [-float(n) for n in range(len(PIECES) - 3)])
    writer.add_token_types([2, 3, 3] + [1] * (len(PIECES) - 3))
    if add_space_prefix is not None:
        writer.add_add_space_prefix(add_space_prefix)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    (number,) = (n for n, name in gguf_package.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf_package.get_tensor_name_map(number, config.num_hidden_layers)
    for name, weights in model.state_dict().items():
        module, _, suffix = name.rpartition(".")
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = weights.numpy()
        if architecture == "llama" and module.endswith(("q_proj", "k_proj")):
            heads = HEADS if module.endswith("q_proj") else GROUPS
            split = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
            array = split.swapaxes(1, 2).reshape(array.shape)
        if architecture.startswith("gemma") and module.endswith("norm"):
            array = array + 1
        stated = f"{names.get_name(module)}.{suffix}"
        array = np.hstack([array] * 2) if stated == widen else np.ascontiguousarray(array)
        if array.ndim == 1:
            writer.add_tensor(stated, array)
        elif stated != leave_out:
            array = gguf_package.quants.quantize(array, stored)
            writer.add_tensor(stated, array, raw_dtype=stored)
    for name, array in dict(tensors).items():
        writer.add_tensor(name if name.endswith(".bias") else f"{name}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
