"""Run a tiny model of every type of transformers that generates text, and write which are verified.

Each model has random weights, passes through the checks of a run, and is compared with plain hooks
on the same modules, one sequence at a time. The result is the page benchmarks/architectures.md:

    python benchmarks/architectures.py [TYPE ...]

If types are given, only these are run, and their rows of the page are replaced.
"""

import argparse
import importlib.metadata
import logging
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tqdm import tqdm
from transformers import CONFIG_MAPPING, AttentionInterface, AttentionMaskInterface, AutoModel
from transformers.masking_utils import eager_mask
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from attnlag.errors import UserError
from attnlag.model.decoder import decoder_of
from attnlag.quantities import extraction, sources, tracing

# Every type with a causal language model, and every multimodal type that generates text.
TEXT = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
IMAGES = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

PAGE = Path(__file__).with_name("architectures.md")

# Tiny values of sizes, with their names in configurations.
SIZES = {
    name: value
    for value, names in {
        64: "hidden_size n_embd d_model word_embed_proj_dim",
        4: "num_hidden_layers n_layer n_layers num_layers decoder_layers "
        "num_attention_heads n_head n_heads num_heads decoder_attention_heads "
        "num_experts num_local_experts n_routed_experts moe_num_experts",
        2: "num_key_value_heads num_kv_heads "
        "num_experts_per_tok num_experts_per_token moe_k moe_topk",
        96: "intermediate_size ffn_dim n_inner ffn_hidden_size dff decoder_ffn_dim "
        "moe_intermediate_size intermediate_size_mlp shared_expert_intermediate_size "
        "expert_ffn_hidden_size shared_intermediate_size",
        1: "n_group topk_group num_expert_group",
        24: "q_lora_rank",
        16: "head_dim kv_lora_rank qk_nope_head_dim v_head_dim",
        8: "qk_rope_head_dim rotary_dim sliding_window",
        128: "max_position_embeddings n_positions",
        200: "vocab_size",
        0: "pad_token_id bos_token_id eos_token_id",
    }.items()
    for name in names.split()
}


def sections(lengths):
    """Return the parts of a head that rotate with a token's time, row and column."""
    default = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    return {"head_dim": 16, "rope_parameters": {**default, "mrope_section": lengths}}


# Further values that a type needs to be tiny or valid; None leaves a size unchanged.
ALSO = {
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "hunyuan_v1_dense": {"head_dim": 16},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_routed_experts": 4, "topk_method": "greedy"},
    "gemma4_text": {"vocab_size_per_layer_input": 200, "hidden_size_per_layer_input": 16},
    "gemma4": {"vocab_size_per_layer_input": 200, "hidden_size_per_layer_input": 16},
    "reformer": {"axial_pos_embds_dim": [32, 32], "axial_pos_shape": [8, 16], "is_decoder": True},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"] * 2},
    "hunyuan_v1_moe": {"head_dim": 16, "moe_topk": 2, "num_experts": 4},
    "ministral": {"head_dim": 16},
    "nemotron": {"head_dim": 16, "num_key_value_heads": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 1},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8}},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "num_local_experts": 0},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "step3p7": {"sliding_window": 8},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "moe", "mamba"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "paddleocr_vl"), sections([2, 3, 3])),
    **dict.fromkeys(("glm4v", "glm4v_moe", "glm46v", "glm_ocr", "glmga"), sections([2, 3, 3])),
}

# Sizes of the vision towers.
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
BESIDE: dict[str, dict[str, Any]] = {
    **{name: {"vision_config": TOWER} for name in IMAGES if name not in TEXT},
    "mistral3": {"vision_config": {"model_type": "pixtral", **TOWER}},
    "qwen2_vl": {"vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}},
    "gemma3": {"vision_config": {"model_type": "siglip_vision_model", **TOWER}},
    "llama4": {"vision_config": {**TOWER, "vision_output_dim": 32, "projector_input_dim": 32}},
    "qwen3_5": {"vision_config": {"depth": 2, "hidden_size": 32, "num_heads": 2}},
    "qwen3_5_moe": {"vision_config": {"depth": 2, "hidden_size": 32, "num_heads": 2}},
    "git": {"vision_config": TOWER},
    "got_ocr2": {"vision_config": TOWER},
    "mllama": {"vision_config": {**TOWER, "num_global_layers": 1}},
}

LENGTHS = (40, 29, 13, 37, 38)


def config_of(model_type):
    """Return the configuration of a tiny model."""
    kind: Any = CONFIG_MAPPING[model_type]
    try:
        whole = kind()
        text = whole.get_text_config()
    except Exception:  # The defaults of some types are invalid.
        whole, text, attributes = None, kind, {}
    if whole is not None:
        attributes = vars(text)
    names = {*attributes, *getattr(text, "attribute_map", {})}
    sizes = {
        key: value
        for key, value in SIZES.items()
        if key in names and (attributes.get(key, 1) is not None or key.endswith("token_id"))
    }
    if "qk_rope_head_dim" in sizes:
        # The sizes of latent attention depend on each other, so they and the heads are unchanged.
        latent = ("head_dim", "num_key_value_heads", "q_lora_rank", "kv_lora_rank", "v_head_dim")
        for key in (*latent, "qk_nope_head_dim", "qk_rope_head_dim"):
            sizes.pop(key, None)
        if "num_key_value_heads" in names:
            sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    sizes |= ALSO.get(model_type, {})
    if whole is None or text is whole:
        return kind(**sizes)
    return kind(text_config={**sizes, "model_type": text.model_type}, **BESIDE.get(model_type, {}))


class TooLarge(Exception):
    """The smallest model of a type is not tiny."""


def tiny_model(model_type):
    """Return a base model with large weights, whose adjustments are as large as the stream."""
    config = config_of(model_type)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModel.from_config(config).parameters())
    if parameters > 50e6:
        raise TooLarge(f"{parameters / 1e6:.0f} million parameters at the least")
    torch.manual_seed(0)
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            noise = torch.randn(weights.shape, generator=generator)
            # Changed in place; parameters other than matrices stay near their values.
            if weights.ndim > 1:
                weights.copy_(0.15 * noise)
            else:
                # A bias of zero would hide that a block adds it to what its modules give.
                weights.copy_(torch.where(weights == 0, 0.1 * noise, weights * (1 + 0.2 * noise)))
    return model


def sequences_of(model):
    generator = np.random.default_rng(0)
    most = len(model.get_input_embeddings().weight)
    return [generator.integers(1, most, n).astype(np.int32) for n in LENGTHS]


def plain_hooks(model, adjustments, sequence):
    """Return the outputs of each layer's modules for one sequence, and the inputs of blocks."""
    seen: dict[Any, Any] = {}

    def vectors(found):
        found = found[0] if isinstance(found, (tuple, list)) else found
        return found.detach().reshape(len(sequence), -1).double()

    def keep(_, __, output, *, key):
        # A sublayer may be the sum of the outputs of several modules.
        seen[key] = seen.get(key, 0) + vectors(output)

    def enter(_, args, kwargs, *, key):
        seen[key] = vectors(args[0] if args else kwargs["hidden_states"])

    handles = []
    for layer, block in enumerate(adjustments.decoder.blocks):
        before = partial(enter, key=(layer, "in"))
        handles.append(block.block.register_forward_pre_hook(before, with_kwargs=True))
        for sublayer, modules in (*block.sublayers.items(), ("out", [block.block])):
            hook = partial(keep, key=(layer, sublayer))
            handles += [module.register_forward_hook(hook) for module in modules]
    with torch.inference_mode():
        model(input_ids=torch.tensor(sequence[None].astype(np.int64)), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def differs_from_plain_hooks(model, adjustments, layers, sequences):
    """Return the largest relative difference from plain hooks, one sequence at a time.

    It covers each vector, and the sum of a block's input and vectors against its output.
    """
    worst, start = 0.0, 0
    for sequence in sequences:
        seen = plain_hooks(model, adjustments, sequence)
        rows = slice(start, start + len(sequence))
        start += len(sequence)
        for layer, block in enumerate(adjustments.decoder.blocks):
            total = seen[layer, "in"]
            for sublayer in block.sublayers:
                plain = seen[layer, sublayer] * (block.scale or 1)
                total = total + plain
                found = torch.from_numpy(layers["vectors", sublayer][layer][rows]).double()
                gap = (found - plain).norm(dim=-1) / plain.norm(dim=-1).clamp_min(1e-30)
                worst = max(worst, float(gap.max()))
            out = seen[layer, "out"]
            size = torch.maximum(out.norm(dim=-1), seen[layer, "in"].norm(dim=-1))
            worst = max(worst, float(((total - out).norm(dim=-1) / size).max()))
    return worst


def outputs_of_projection(decoder, ids, number, layer, ablated=None):
    """Return what the output projection of a layer makes, with the value of one token ablated."""
    model, outputs = decoder.model, []
    inside = set(decoder.blocks[number].block.modules())

    def attend(module, query, key, value, *args, **options):
        if ablated is not None and module in inside:
            value = value.clone()
            value[:, :, ablated] = 0
        eager = sys.modules[type(module).__module__].eager_attention_forward
        return eager(module, query, key, value, *args, **options)

    AttentionInterface.register("ablated", attend)
    AttentionMaskInterface.register("ablated", eager_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation("ablated")
    keep = layer.projection.register_forward_hook(lambda _, __, output: outputs.append(output))
    with keep, torch.inference_mode():
        model(input_ids=ids, use_cache=False)
    model.set_attn_implementation(before)
    rows = outputs[0].reshape(ids.shape[1], -1).double()
    return rows if layer.gain is None else rows * layer.gain


def differs_from_ablation(decoder, sequence):
    """Return how far shares are from what ablating the value of a token changes, at most.

    The output of attention without the value of token j lacks what j writes to each token. If no
    layer has shares, the difference is infinite.
    """
    tracer = tracing.Tracer(decoder, ["attention"])
    tracer.trace({("a", 0): sequence})
    found = tracer.tables()["sources", "attention"].to_pandas()
    ids = torch.tensor(sequence[None].astype(np.int64))
    assert tracer.sources is not None
    worst = 0.0 if tracer.layers else float("inf")
    for number in tracer.layers:
        layer = tracer.sources.heads[number]
        rows = found[found["layer"] == number]
        plain = outputs_of_projection(decoder, ids, number, layer)
        for token in (0, len(sequence) // 2):
            written = plain - outputs_of_projection(decoder, ids, number, layer, ablated=token)
            shares = (written * plain).sum(-1) / plain.square().sum(-1)
            for share, tokens, values in zip(
                shares.tolist(), rows["strongest"], rows["strongest_shares"], strict=True
            ):
                gaps = np.abs(values[tokens == token] - share)
                worst = max([worst, *gaps])
    return worst


def row_of(model_type):
    """Return the row of the page for one type: type, verdict, and the reason or ``hybrids``."""
    if model_type not in CONFIG_MAPPING:
        return model_type, "refused", "transformers has no configuration of this type"
    try:
        model = tiny_model(model_type)
    except TooLarge:
        return model_type, "not run", "too large"
    except Exception:
        return model_type, "not run", "no tiny model"
    sequences = sequences_of(model)
    try:
        decoder = decoder_of(model)
        sites = [site for site in ("attention", "mlp") if site in decoder.blocks[0].sublayers]
        adjustments = extraction.Extractor(
            decoder, sites=sites, batch_tokens=4096, quantities=["vectors"]
        )
        layers = adjustments.measure(sequences)
    except UserError as error:
        return model_type, "refused", reason_of(str(error))
    except Exception:
        return model_type, "not run", "the tiny model fails"
    worst = differs_from_plain_hooks(model, adjustments, layers, sequences)
    if not worst < 1e-4:
        return model_type, "WRONG", f"off by {worst:.1e} from plain hooks"
    if decoder.config.model_type in sources.GATED_TYPES:
        worst = differs_from_ablation(decoder, sequences[2])
        if not worst < 1e-4:
            return model_type, "WRONG", f"shares off by {worst:.1e} from ablation"
    return model_type, "verified", "hybrids" if decoder.mixers else ""


def reason_of(error):
    """Return in a few words why a model is refused."""
    if "lets a token see" in error:
        return "a token sees those after it"
    if "gives a sequence other" in error:
        return "its numbers depend on what else is in a batch"
    if "fails on a sequence of tokens" in error:
        return "needs more than tokens"
    if "; tried " in error:
        return "no known layout"
    return error[:160]


HEADER = """# Which architectures run

For every type with a causal language model in transformers {version}, and every type that reads
images and writes text, a tiny model with random weights went through the checks of a run, without
images: the check of its sites, the exchange of later tokens, and sequences computed alone and in
batches. Every verified type agrees with plain hooks on the same modules, one sequence at a time, to
10⁻⁴ of each vector. Where attention is gated, [shares](../docs/beyond_the_norm.md#sources) agree
with ablation of values to 10⁻⁴. `make architectures` writes this page.

- *verified*: one of the [known layouts](../docs/families.md#known-architectures) passes the check.
- *refused*: no layout passes. [Declared](../docs/families.md#in-the-configuration) modules may.
- *not run*: a tiny model cannot be guessed, or needs other libraries. A run tries it all the same.

{counts}

| outcome | types |
|---|---|
"""
VERDICTS = ("verified", "refused", "not run")


def page_of(rows):
    """Return the page with these rows, of which those of one verdict and reason share a line."""
    lines: dict[tuple[Any, ...], list[str]] = {}
    for model_type, *found in rows:
        lines.setdefault(tuple(found), []).append(model_type)
    counts = [f"{sum(row[1] == verdict for row in rows)} {verdict}" for verdict in VERDICTS]
    head = HEADER.format(
        version=importlib.metadata.version("transformers"),
        counts=f"{len(rows)} types: {', '.join(counts)}.",
    )
    ordered = sorted(lines, key=lambda found: (VERDICTS.index(found[0]), -len(lines[found])))
    return head + "".join(
        f"| {', '.join(filter(None, found))} | {', '.join(sorted(lines[found]))} |\n"
        for found in ordered
    )


def rows_of(page):
    """Return the rows of a page."""
    lines = (line[2:-2].split(" | ") for line in page.splitlines() if line.startswith("| "))
    return [
        (model_type, *outcome.partition(", ")[::2])
        for outcome, types in lines
        if outcome.startswith(VERDICTS)
        for model_type in types.split(", ")
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("types", nargs="*", help="types to run (default: all)")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    # More threads sum in an order that depends on the length of a batch, and large weights amplify
    # that rounding.
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    types = args.types or sorted({*TEXT, *IMAGES})
    rows = [row_of(model_type) for model_type in tqdm(types, disable=not sys.stderr.isatty())]
    if wrong := [row for row in rows if row[1] == "WRONG"]:
        sys.exit("\n".join(map(str, wrong)))
    written = rows_of(PAGE.read_text(encoding="utf-8"))
    others = [row for row in written if args.types and row[0] not in args.types]
    PAGE.write_text(page_of([*others, *rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
