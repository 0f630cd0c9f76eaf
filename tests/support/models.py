"""Tiny models of every family, with random weights, and what hooks of our own see in them."""

from contextlib import ExitStack

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2LMHeadModel

from attnlag.model import hooks
from attnlag.model.decoder import decoder_of
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.extraction import Extractor

# What makes models small, under the names that their types have for it.
GPT = {"vocab_size": 200, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64}
FALCON = {"vocab_size": 200, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
NEW_FALCON = {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}
OPT = {**FALCON, "ffn_dim": 96, "max_position_embeddings": 64, "word_embed_proj_dim": 48}
LLAMA = {
    **{**FALCON, "intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 64},
    **{"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0},
}
HEADS = {**LLAMA, "head_dim": 12}
EXPERTS = {**LLAMA, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
EXPERTS |= {"moe_intermediate_size": 32}
# A quarter of each head is rotated, in pairs.
STABLELM = {**LLAMA, "hidden_size": 64}
BLOOM = {"vocab_size": 200, "hidden_size": 48, "n_layer": 3, "n_head": 4}
MPT = {"vocab_size": 200, "d_model": 48, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}
NEO = {"vocab_size": 200, "hidden_size": 48, "num_layers": 2, "num_heads": 4}
NEO |= {"attention_types": [[["global", "local"], 1]], "window_size": 8}
NEO |= {"max_position_embeddings": 64}


# The output projection of attention in some types, the module whose output is added, and the factor
# of that output: Conv1D with a bias, grouped queries, a bias, heads before a norm, a scale, and a
# projection that is the site itself.
PROJECTION = "self_attn.o_proj"
WRITTEN_BY = {
    "gpt2": ("attn.c_proj", "attn.c_proj", 1.0),
    "llama": (PROJECTION, PROJECTION, 1.0),
    "starcoder2": (PROJECTION, PROJECTION, 1.0),
    "gemma2": (PROJECTION, "post_attention_layernorm", 1.0),
    "olmo2": (PROJECTION, "post_attention_layernorm", 1.0),
    "granite": (PROJECTION, "self_attn", 0.22),
    "bloom": ("self_attention.dense", "self_attention.dense", 1.0),
}


def of_types(types, settings):
    """Return models that are called by their types."""
    return {model_type: (model_type, settings) for model_type in types.split()}


# A name for each model, its type and what makes it small.
MODELS = {
    **of_types("gpt2 gpt_bigcode", GPT),
    **of_types("gptj codegen", {**GPT, "rotary_dim": 4}),
    **of_types("phi phi3 llama qwen2 olmo olmo2 smollm3 starcoder2 cohere nemotron", LLAMA),
    **of_types("persimmon exaone4 ernie4_5 arcee apertus", LLAMA),
    **of_types("ministral qwen3 gemma cohere2 helium glm glm4 seed_oss hunyuan_v1_dense", HEADS),
    **of_types("mistral olmo3", {**LLAMA, "sliding_window": 8}),
    **of_types("gemma2 gemma3_text", {**HEADS, "sliding_window": 8}),
    **of_types("phimoe mixtral olmoe", EXPERTS),
    **of_types("qwen3_moe gpt_oss", {**EXPERTS, "head_dim": 12}),
    **of_types("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 32}),
    **of_types("granite", {**LLAMA, "residual_multiplier": 0.22}),
    **of_types("granitemoe", {**EXPERTS, "residual_multiplier": 0.22}),
    **of_types("gpt_neo", NEO) | of_types("bloom", BLOOM) | of_types("mpt", MPT),
    "gpt_neox parallel": ("gpt_neox", {**LLAMA, "use_parallel_residual": True}),
    "gpt_neox sequential": ("gpt_neox", {**LLAMA, "use_parallel_residual": False}),
    "opt": ("opt", OPT),
    "opt projected": ("opt", {**OPT, "word_embed_proj_dim": 32}),
    "falcon parallel": ("falcon", FALCON),
    "falcon sequential": ("falcon", {**FALCON, "parallel_attn": False}),
    "falcon alibi": ("falcon", {**FALCON, "parallel_attn": False, "alibi": True}),
    "falcon new": ("falcon", NEW_FALCON),
    "falcon new, one norm": ("falcon", {**NEW_FALCON, "num_ln_in_parallel_attn": 1}),
    "stablelm sequential": ("stablelm", STABLELM),
    "stablelm parallel": ("stablelm", {**STABLELM, "use_parallel_residual": True}),
}


def small_model(model_type, settings, kind=AutoModel, **options):
    """Return a model of large weights: what its layers add is of the stream's own size.

    It is a base model, or one with a head if the kind is AutoModelForCausalLM.
    """
    model = kind.from_config(AutoConfig.for_model(model_type, **settings), **options).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            noise = torch.randn(weights.shape, generator=generator)
            weights.copy_(0.2 * noise if weights.ndim > 1 else 1 + 0.3 * noise)
    return model


def extractor(model, *quantities, batch_tokens=64, modules=None, name="NAME", **options):
    """Return what measures quantities, by default norms, in batches of few tokens."""
    options |= {"batch_tokens": batch_tokens, "quantities": quantities or ("norms",)}
    return Extractor(decoder_of(model, modules, name), **options)


def measured(model, quantity="vectors", sites=tuple(SITES), sequences=None, **options):
    """Return what measured a quantity, and an array of each site, (layers, tokens, ...)."""
    found = extractor(model, quantity, sites=sites, **options)
    layers = found.measure(ragged() if sequences is None else sequences)
    return found, {site: np.stack(layers[quantity, site]) for site in sites}


def ragged(lengths=(20, 18, 9)):
    """Return sequences of tokens, two of them so alike in length that they share a batch."""
    generator = np.random.default_rng(0)
    return [generator.integers(1, 200, n).astype(np.int32) for n in lengths]


def hidden_states(model, sequence):
    """Return what transformers itself has before each block, (layers, tokens, width)."""
    with torch.inference_mode():
        ids = torch.tensor(sequence[None].astype(np.int64))
        states = model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
    return np.stack([state[0].numpy() for state in states[:-1]])


def outputs_of(model, modules, sequence=None):
    """Return the outputs of modules in a pass over one sequence, by hooks of our own."""
    outputs = []
    handles = [
        module.register_forward_hook(lambda _, __, out: outputs.append(hooks.first_tensor(out)))
        for module in modules
    ]
    sequence = ragged()[0] if sequence is None else sequence
    with torch.inference_mode():
        model(input_ids=torch.tensor(sequence[None].astype(np.int64)), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack([output.view(len(sequence), -1) for output in outputs]).float().numpy()


def adjustments(gpt2, ids, put=()):
    """Return all attention adjustments of a GPT-2, (layers, tokens, width), and its predictions.

    These are log probabilities. ``put`` has vectors, by layer and token, that take the place of
    single adjustments.
    """
    found = []

    def hook(_, __, output):
        value = output[0].clone()
        for (layer, token), vector in dict(put).items():
            if layer == len(found):
                value[0, token] = vector
        found.append(value[0])
        return (value, *output[1:])

    with torch.no_grad(), ExitStack() as handles:
        for block in gpt2.transformer.h:
            handles.enter_context(block.attn.register_forward_hook(hook))
        logits = gpt2(input_ids=torch.as_tensor(ids)[None]).logits[0]
    return torch.stack(found).double(), logits.double().log_softmax(-1)


def gpt2_of_large_weights():
    """Return a GPT-2 of four layers in float64, whose weights are larger than a fresh one's."""
    torch.manual_seed(3)
    config = GPT2Config(n_layer=4, n_embd=32, n_head=4, n_positions=64, vocab_size=100)
    model = GPT2LMHeadModel(config).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    return model.requires_grad_(False)
