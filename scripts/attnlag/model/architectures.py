"""Where a model adds to its residual stream: the sites that are measured, and their proof.

A decoder block adds the output of its attention sublayer and that of its MLP to the residual
stream: one after the other, or both at once. Which module gives the vector that is added depends
on the architecture; the table below says it for each family, and for any other it can be declared.
No entry is taken on trust: on the first batch of every run, block input + attention
adjustment + MLP adjustment must equal the block's output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError, nearest

# What a block adds, in the order of most blocks.
PARTS = ("attention", "mlp")


@dataclass(frozen=True)
class Family:
    """Module paths of one kind of architecture.

    Attributes
    ----------
    model_types : tuple of str
        The ``model_type`` of the transformers configurations that are built so.
    blocks : str
        Path from the trunk (what ``AutoModel`` gives) to the list of blocks.
    attention, mlp : str
        Path from a block to the module whose output is added to the residual stream: after
        the output projection, and after a norm where the model has one there.
    scale : str, float or None
        What the block multiplies these outputs by before it adds them: a number, or the name
        of a value of the model's configuration.
    """

    model_types: tuple[str, ...]
    blocks: str
    attention: str
    mlp: str
    scale: str | float | None = None


# Where dropout or a cast lies between a module and the addition, it is none at inference.
FAMILIES = (
    # The block adds what its sublayers return. GPT-J and CodeGen add both at once.
    Family(("gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen"), "h", "attn", "mlp"),
    # One after the other or both at once, as `use_parallel_residual` says: the sum is the same.
    Family(("gpt_neox",), "layers", "attention", "mlp"),
    # Parallel in one form or the other, or sequential.
    Family(("falcon",), "h", "self_attention", "mlp"),
    # Norms before the sublayers, or inside attention; Cohere, Phi and some StableLM models add
    # both at once; in Mixtral, OLMoE, PhiMoE and the Qwen MoE models, mlp is the sparse one.
    Family(
        (
            *("llama", "mistral", "ministral", "mixtral", "qwen2", "qwen3", "qwen2_moe"),
            *("qwen3_moe", "gemma", "olmo", "olmoe", "smollm3", "stablelm", "starcoder2"),
            *("cohere", "cohere2", "phi", "phi3", "phimoe", "nemotron", "persimmon", "helium"),
            *("glm", "gpt_oss", "ernie4_5", "seed_oss", "arcee", "apertus", "hunyuan_v1_dense"),
        ),
        "layers",
        "self_attn",
        "mlp",
    ),
    # The same, and both are scaled on their way to the stream.
    Family(("granite",), "layers", "self_attn", "mlp", scale="residual_multiplier"),
    Family(("granitemoe",), "layers", "self_attn", "block_sparse_moe", scale="residual_multiplier"),
    # What is added is the normalised output of the sublayer.
    Family(
        ("gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4"),
        "layers",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
    ),
    Family(("glm4",), "layers", "post_self_attn_layernorm", "post_mlp_layernorm"),
    # The MLP is no module of its own: its last matrix is.
    Family(("opt",), "decoder.layers", "self_attn", "fc2"),
    # The sublayers get the stream and return it with their own part in it, which their last
    # matrix gives: both in BLOOM, the MLP alone in MPT.
    Family(("bloom",), "h", "self_attention.dense", "mlp.dense_4h_to_h"),
    Family(("mpt",), "blocks", "attn", "ffn.down_proj"),
)


@dataclass(frozen=True)
class BlockModules:
    """One layer: the block, and the modules whose outputs are its two adjustments.

    ``scale`` is what the block multiplies both outputs by before it adds them.
    """

    block: torch.nn.Module
    attention: torch.nn.Module
    mlp: torch.nn.Module
    scale: float | None = None


def locate(
    model: torch.nn.Module, declared: Mapping[str, Any] | None = None, name: str = "NAME"
) -> list[BlockModules]:
    """Return the blocks of a trunk, first layer first.

    Parameters
    ----------
    model : torch.nn.Module
        What ``AutoModel`` gives.
    declared : mapping or None
        ``blocks``, ``attention``, ``mlp`` and ``scale`` as in `Family`, for an architecture that
        the table does not have, or in place of what it has.
    name : str
        The model's name, for the messages.

    Raises
    ------
    UserError
        If nothing is declared and the architecture is in no family, or a module is not where
        it should be.
    """
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    if declared:
        family: Family | None = Family((model_type,), **declared)
    else:
        family = next((f for f in FAMILIES if model_type in f.model_types), None)
    if family is None:
        raise UserError(_unknown(model, model_type, name))
    where = f"model {name}, of type '{model_type}'" + (", modules declared" if declared else "")
    try:
        blocks = _submodule(model, family.blocks)
        if not isinstance(blocks, torch.nn.ModuleList | torch.nn.Sequential):
            raise UserError(
                f"found '{family.blocks}' to be a {type(blocks).__name__}, expected the list of "
                "the blocks"
            )
        parts = [
            [
                _submodule(block, path, f"{family.blocks}.{layer}.")
                for path in (family.attention, family.mlp)
            ]
            for layer, block in enumerate(blocks)
        ]
    except UserError as error:
        raise UserError(f"{where}: {error}; {_how_to_declare()}") from None
    scale = family.scale
    if isinstance(scale, str):
        scale = float(getattr(model.config, scale))
    return [
        BlockModules(block, attention, mlp, scale)
        for block, (attention, mlp) in zip(blocks, parts, strict=True)
    ]


def _submodule(module: torch.nn.Module, path: str, above: str = "") -> torch.nn.Module:
    """Return the module at a path; a missing one is an error that names those beside it."""
    for depth, part in enumerate(path.split(".")):
        children = dict(module.named_children())
        if part not in children:
            walked = above + "".join(f"{step}." for step in path.split(".")[:depth])
            raise UserError(
                f"found no module '{walked}{part}', expected one of "
                f"{', '.join(children) or 'none'} of {type(module).__name__}"
                f"{nearest(part, children)}"
            )
        module = children[part]
    return module


def _how_to_declare(blocks: str = "PATH", attention: str = "PATH", mlp: str = "PATH") -> str:
    return (
        f"its paths can be declared, as modules: {{blocks: {blocks}, attention: {attention}, "
        f"mlp: {mlp}}} (blocks from AutoModel's trunk, the others from a block; architecture.txt "
        "shows the modules)"
    )


def _unknown(model: torch.nn.Module, model_type: str, name: str) -> str:
    """Return what is to be said of an architecture that is in no family, in one line."""
    known = sorted(known for family in FAMILIES for known in family.model_types)
    found = f"model {name}: found the type '{model_type}' ({type(model).__name__})"
    tried = f"tried the {len(known)} types that attnlag knows: {', '.join(known)}"
    # The longest list of modules is that of the blocks.
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    if not lists:
        return f"{found}; {tried}; {_how_to_declare()}"
    path, blocks = max(lists, key=lambda item: len(item[1]))
    children = ", ".join(child for child, _ in blocks[0].named_children())
    found += f" with {len(blocks)} blocks in '{path}', each of {children}"
    inside = {inner for inner, _ in blocks[0].named_modules()}
    # A layout of the same names is the best guess; whether it holds, the proof will say.
    alike = next((f for f in FAMILIES if {f.attention, f.mlp} <= inside), None)
    paths = (alike.attention, alike.mlp) if alike else ("PATH", "PATH")
    return f"{found}; {tried}; {_how_to_declare(path, *paths)}"
