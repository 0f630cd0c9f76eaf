"""The modules that add to a model's residual stream, and their proof.

A decoder block adds the output of its attention sublayer and that of its MLP to the residual
stream: one after the other, or both at once. Which module gives the vector that is added depends on
the architecture; the table below names it for each family, and the configuration can declare it for
any other. Every run proves its entry: on the first batch of every run, block input + attention
adjustment + MLP adjustment must equal the block's output.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
        the output projection, and after a norm where the model has one there. Where blocks
        differ, alternatives, ``self_attn|mamba``: of each block, the first that it has. Where a
        block has one mixer and nothing else, ``mlp`` is None.
    scale : str, float or None
        What the block multiplies these outputs by before it adds them: a number, or the name
        of a value of the model's configuration.
    """

    model_types: tuple[str, ...]
    blocks: str
    attention: str
    mlp: str | None
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


# What mixes the tokens of a block, by the names of the architectures. Blocks of hybrids differ.
MIXERS = (
    "self_attn|linear_attn|mamba|conv|attn|attention|self_attention|multi_head_attention"
    "|temporal_block|norm_attn_norm.attn|mixer"
)

# Attention without a softmax over tokens, by the names of its classes.
OTHER_ATTENTION = re.compile("Linear|Delta|Lightning")

# How a type that is in no family is tried, likeliest first: pairs of paths from a block. What the
# block multiplies both by is taken from the configuration, if it has such a value.
LAYOUTS = (
    # The outputs of the sublayers themselves; hybrids have another mixer in some of their blocks.
    (MIXERS, "mlp|feed_forward|block_sparse_moe|ffn|fc2|mlp_block"),
    # Their outputs after a norm.
    ("post_attention_layernorm", "post_feedforward_layernorm"),
    ("post_attention_layernorm", "post_mlp_layernorm"),
    ("post_self_attn_layernorm", "post_mlp_layernorm"),
    ("post_operator_norm", "post_ffn_norm"),
    ("post_norm1", "post_norm2"),
    ("linear_attn|post_attention_layernorm", "post_feedforward_layernorm|mlp"),
    # The last matrix of sublayers that return the stream with their own part in it.
    ("self_attention.dense", "mlp.dense_4h_to_h"),
    ("attention.output.dense", "output.dense"),
    ("self_attn", "shared_mlp"),
    ("mamba|self_attn", "shared_mlp"),
    # One mixer and nothing else.
    ("mixer", None),
)
SCALE = "residual_multiplier"


@dataclass(frozen=True)
class BlockModules:
    """One layer: the block, and the modules whose outputs are its adjustments.

    ``scale`` is what the block multiplies all outputs by before it adds them; ``mlp`` is None
    where attention, or what stands in its place, is all that the block adds.
    """

    block: torch.nn.Module
    attention: torch.nn.Module
    mlp: torch.nn.Module | None
    scale: float | None = None

    @property
    def parts(self) -> dict[str, torch.nn.Module]:
        """Modules by the name of their part, in the order of ``PARTS``."""
        attention: dict[str, torch.nn.Module] = {"attention": self.attention}
        return attention if self.mlp is None else attention | {"mlp": self.mlp}

    @property
    def paths(self) -> str:
        """Paths of the modules from the block, in words."""
        path_of = {module: path for path, module in self.block.named_modules()}
        return " and ".join(path_of[module] for module in self.parts.values())

    @property
    def kind(self) -> str:
        """What mixes the tokens: "attention", or the class of what stands in its place."""
        for path in MIXERS.split("|"):
            with suppress(UserError):
                name = type(_submodule(self.block, path)).__name__
                other = path == "linear_attn" or OTHER_ATTENTION.search(name)
                known = "attn" in path or "attention" in path or name.endswith("Attention")
                return "attention" if known and not other else name
        return "attention"


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
        raise UserError(unknown(model, name))
    where = f"model {name}, of type '{model_type}'" + (", modules declared" if declared else "")
    try:
        return blocks_by(model, family)
    except UserError as error:
        raise UserError(f"{where}: {error}; {_how_to_declare()}") from None


def blocks_by(model: torch.nn.Module, family: Family) -> list[BlockModules]:
    """Return the blocks of a trunk as a family has them; a missing module is an error."""
    blocks = _submodule(model, family.blocks)
    if not isinstance(blocks, torch.nn.ModuleList | torch.nn.Sequential):
        raise UserError(
            f"found '{family.blocks}' to be a {type(blocks).__name__}, expected the list of the "
            "blocks"
        )
    scale = family.scale
    if isinstance(scale, str):
        scale = float(getattr(model.config.get_text_config(), scale))  # type: ignore[union-attr,operator]
    found = []
    for layer, block in enumerate(blocks):
        above = f"{family.blocks}.{layer}."
        mlp = None if family.mlp is None else _submodule(block, family.mlp, above)
        found.append(BlockModules(block, _submodule(block, family.attention, above), mlp, scale))
    return found


def candidates(model: torch.nn.Module) -> Iterator[Family]:
    """Yield the families that a model of an unknown type may be one of: all modules are there.

    Its blocks are a list as long as it has layers; a model that sees images, too, may have
    several such lists.
    """
    text = model.config.get_text_config()  # type: ignore[union-attr,operator]
    scale = SCALE if getattr(text, SCALE, None) is not None else None
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) != text.num_hidden_layers:
            continue
        for attention, mlp in LAYOUTS:
            family = Family((text.model_type,), path, attention, mlp, scale)
            with suppress(UserError):
                blocks_by(model, family)
                yield family


def _submodule(module: torch.nn.Module, path: str, above: str = "") -> torch.nn.Module:
    """Return the module at a path; a missing one is an error that names those beside it.

    If the path lists alternatives, the first that exists is returned.
    """
    if "|" in path:
        for alternative in path.split("|"):
            with suppress(UserError):
                return _submodule(module, alternative, above)
        beside = ", ".join(child for child, _ in module.named_children())
        raise UserError(
            f"found none of {path.replace('|', ', ')} in '{above.removesuffix('.')}', expected one "
            f"of {beside or 'none'} of {type(module).__name__}"
        )
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


def is_known(model: torch.nn.Module) -> bool:
    """Tell whether the table has the type of a model."""
    model_type = model.config.model_type  # type: ignore[union-attr]
    return any(model_type in family.model_types for family in FAMILIES)


def unknown(model: torch.nn.Module, name: str, failures: Sequence[str] = ()) -> str:
    """Return what is to be said of a model that is in no family and was tried in vain.

    Parameters
    ----------
    model : torch.nn.Module
    name : str
        The model's name.
    failures : sequence of str
        The layouts that were tried, and how each failed.
    """
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    found = f"model {name}: found the type '{model_type}' ({type(model).__name__})"
    tried = "tried " + ("; ".join(failures) or f"{len(LAYOUTS)} layouts, whose modules it lacks")
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
    paths = (alike.attention, alike.mlp or "null") if alike else ("PATH", "PATH")
    return f"{found}; {tried}; {_how_to_declare(path, *paths)}"
