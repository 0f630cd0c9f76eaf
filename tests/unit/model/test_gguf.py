"""The conversion of GGUF files, tensor by tensor, equals that of transformers' loader."""

import struct
from typing import Any

import gguf as gguf_package
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnlag.errors import UserError
from attnlag.model import gguf
from attnlag.model.fetching import fetch_model

# Letters, and what they merge to: the pairs of the second are in the order of their scores.
PIECES = ["<unk>", "<s>", "</s>", *"▁abcdefgh", "ab", "cd", "▁ab", "abcd", "▁abcd"]
WIDTH, INNER, HEADS, GROUPS, LAYERS = 64, 96, 4, 2, 2

# What each states beside the sizes that all have.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"rope_dimension_count": 16},
    "qwen2": {},
    "qwen3": {"key_length": 128, "value_length": 128},
    "phi3": {"rope_dimension_count": 16, "sliding_window": 32},
    "gemma2": {"key_length": 16, "value_length": 16, "sliding_window": 32},
    "gemma3": {"key_length": 16, "value_length": 16, "sliding_window": 32},
}


def written(
    path,
    architecture,
    *,
    tied=True,
    stored=GGMLQuantizationType.F32,
    leave_out="",
    widen="",
    stated=LAYERS,
):
    """Write a tiny model with random weights as llama.cpp would, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(stated)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    for name, value in ARCHITECTURES.get(architecture, {}).items():
        getattr(writer, f"add_{name}")(value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(PIECES)
    writer.add_token_scores([0.0] * 3 + [-float(n) for n in range(len(PIECES) - 3)])
    writer.add_token_types([2, 3, 3] + [1] * (len(PIECES) - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    random = np.random.default_rng(0)
    for name, shape in shapes_of(architecture, tied).items():
        if name == leave_out:
            continue
        if name == widen:
            shape = (*shape[:-1], 2 * shape[-1])
        values = random.standard_normal(shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            quantised = gguf_package.quants.quantize(values, stored)
            writer.add_tensor(name, quantised, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def shapes_of(architecture, tied):
    """Return the tensors of a file: a list of our own, as llama.cpp names them."""
    # transformers takes Qwen3 heads to be as wide as all that there are.
    head = 128 if architecture == "qwen3" else 16
    norms = ["attn_norm", "ffn_norm"]
    if architecture.startswith("gemma"):
        norms += ["post_attention_norm", "post_ffw_norm"]
    block: dict[str, tuple[int, ...]] = {f"{name}.weight": (WIDTH,) for name in norms}
    if architecture == "phi3":
        block["attn_qkv.weight"] = (head * (HEADS + 2 * GROUPS), WIDTH)
        block["ffn_up.weight"] = (2 * INNER, WIDTH)
    else:
        for part, count in {"q": HEADS, "k": GROUPS, "v": GROUPS}.items():
            block[f"attn_{part}.weight"] = (head * count, WIDTH)
            if architecture == "qwen2":
                block[f"attn_{part}.bias"] = (head * count,)
        block["ffn_up.weight"] = block["ffn_gate.weight"] = (INNER, WIDTH)
    if architecture in ("qwen3", "gemma3"):
        block["attn_q_norm.weight"] = block["attn_k_norm.weight"] = (head,)
    block["attn_output.weight"] = (WIDTH, head * HEADS)
    block["ffn_down.weight"] = (WIDTH, INNER)
    shapes = {"token_embd.weight": (len(PIECES), WIDTH), "output_norm.weight": (WIDTH,)}
    if not tied:
        shapes["output.weight"] = (len(PIECES), WIDTH)
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def converted(path, folder):
    folder.mkdir()
    gguf.convert_gguf(path, folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(("stored", "bits"), [("F32", None), ("Q4_1", 4), ("Q8_0", 8)])
def test_the_record_states_the_bits_of_quantised_weights(stored, bits, tmp_path):
    file = tmp_path / "alone" / "tiny.gguf"
    written(file, "llama", tied=False, stored=GGMLQuantizationType[stored])
    record = fetch_model("tiny", {"source": "path", "path": str(file)}, tmp_path / "models" / "t")
    found = {key: record[key] for key in ("quantization", "bits") if key in record}
    assert found == ({"quantization": stored, "bits": bits} if bits else {})


def files_of_transformers(path, folder):
    """Return the files that transformers' own loader gives."""
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
    path = written(tmp_path / "alone" / "tiny.gguf", architecture, tied=tied, stored=stored)
    found = converted(path, tmp_path / "direct")
    assert found == files_of_transformers(path, tmp_path / "loaded")
    model, loading = AutoModelForCausalLM.from_pretrained(
        tmp_path / "direct", output_loading_info=True
    )
    assert not any(loading.values())
    assert model.config.tie_word_embeddings == tied


ONE_TENSOR = r"lacks 1 tensor of the model: model\.layers\.1\.mlp\.down_proj\.weight"
SHAPE = r"tensor blk\.1\.ffn_up\.weight has the shape \(96, 128\), expected \(96, 64\)"


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("stablelm", {}, "found the architecture 'stablelm', expected one of llama, qwen2, "),
        ("llama", {"tied": False, "leave_out": "blk.1.ffn_down.weight"}, ONE_TENSOR),
        ("qwen2", {"widen": "blk.1.ffn_up.weight"}, SHAPE),
        *(
            ("llama", {"tied": False, "stated": layers}, rf"states {layers:,} layers? \(llama\.b")
            for layers in (0, 1, 3, 2_000_000_000)
        ),
    ],
)
def test_a_file_that_is_not_the_stated_model_is_refused(architecture, changes, message, tmp_path):
    path = written(tmp_path / "tiny.gguf", architecture, **changes)
    with pytest.raises(UserError, match=message):
        converted(path, tmp_path / "folder")


@pytest.mark.parametrize("moved", [1, 2, 7, 32, -32, 2**64 - 1])
def test_a_tensor_that_does_not_follow_the_one_before_is_refused(moved, tmp_path):
    """Its values would be bytes of its neighbours."""
    path = written(tmp_path / "tiny.gguf", "llama", tied=False)
    content, name = bytearray(path.read_bytes()), b"blk.0.attn_q.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8 + 4
    (offset,) = struct.unpack_from("<Q", content, at)
    found = (offset + moved) % 2**64
    struct.pack_into("<Q", content, at, found)
    path.write_bytes(content)
    said = rf"tensor blk\.0\.attn_q\.weight begins at byte {found:,} .* {offset:,}, the end"
    with pytest.raises(UserError, match=said):
        converted(path, tmp_path / "folder")


def test_a_truncated_file_is_refused(tmp_path):
    path = written(tmp_path / "tiny.gguf", "llama")
    content = path.read_bytes()
    for length in (20, 100, 400, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cannot convert tiny\.gguf"):
            gguf.convert_gguf(path, tmp_path)
