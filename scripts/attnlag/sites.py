"""Where a model adds to its residual stream: the sites that are measured, and their proof.

A decoder block adds the output of its attention sublayer and that of its MLP to the residual
stream: one after the other, or both at once. Which module gives the vector that is added depends
on the architecture; the table below says it for each family, and the configuration may say it for
any other. No entry is taken on trust: on the first batch of every run, block input + attention
adjustment + MLP adjustment must equal the block's output.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError, nearest

REGISTERING = threading.Lock()

# What a block adds, in the order of most blocks; a site is one of them, or both.
PARTS = ("attention", "mlp")
SITES = {"attention": ("attention",), "mlp": ("mlp",), "block": PARTS}


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

# The proof's bound on |input + attention + MLP - output| / |output|, per token. Rounding alone
# leaves a few units in the last place of the stream's precision.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@dataclass(frozen=True)
class Block:
    """One layer: the block, and the modules whose outputs are its two adjustments.

    ``scale`` is what the block multiplies both outputs by before it adds them.
    """

    block: torch.nn.Module
    attention: torch.nn.Module
    mlp: torch.nn.Module
    scale: float | None = None


def locate(
    model: torch.nn.Module, declared: Mapping[str, Any] | None = None, name: str = "NAME"
) -> list[Block]:
    """Return the blocks of a trunk, first layer first.

    Parameters
    ----------
    model : torch.nn.Module
        What ``AutoModel`` gives.
    declared : mapping or None
        ``blocks``, ``attention``, ``mlp`` and ``scale`` as in `Family`, for an architecture that
        the table does not have, or in place of what it has.
    name : str
        The model's name in the configuration, for the messages.

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
    where = f"models.{name}.sites: " if declared else f"model {name}, of type '{model_type}': "
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
        raise UserError(f"{where}{error}; {_how_to_declare(name)}") from None
    scale = family.scale
    if isinstance(scale, str):
        scale = float(getattr(model.config, scale))
    return [
        Block(block, attention, mlp, scale)
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


def _how_to_declare(
    name: str, blocks: str = "PATH", attention: str = "PATH", mlp: str = "PATH"
) -> str:
    return (
        f"the paths are declared in the configuration, as models.{name}.sites: "
        f"{{blocks: {blocks}, attention: {attention}, mlp: {mlp}}} (blocks from "
        "AutoModel's trunk, the others from a block; architecture.txt shows the modules)"
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
        return f"{found}; {tried}; {_how_to_declare(name)}"
    path, blocks = max(lists, key=lambda item: len(item[1]))
    children = ", ".join(child for child, _ in blocks[0].named_children())
    found += f" with {len(blocks)} blocks in '{path}', each of {children}"
    inside = {inner for inner, _ in blocks[0].named_modules()}
    # A layout of the same names is the best guess; whether it holds, the proof will say.
    alike = next((f for f in FAMILIES if {f.attention, f.mlp} <= inside), None)
    paths = (alike.attention, alike.mlp) if alike else ("PATH", "PATH")
    return f"{found}; {tried}; {_how_to_declare(name, path, *paths)}"


def first_tensor(output: Any) -> torch.Tensor:
    """Return a module's output itself where it comes in a tuple (with attention weights, say)."""
    return output[0] if isinstance(output, tuple) else output


def selector(mask: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    """Return a function that copies the rows of a module's output that are tokens, not padding.

    A copy, because what follows may write into the output: Falcon adds the one sublayer's to
    the other's in place. Sequences and tokens may be one dimension of it, as in OPT. Which rows
    they are is found once: a GPU would wait for the answer in every layer.
    """
    places = mask.flatten().nonzero().squeeze(1)
    on = {places.device: places}

    def real_tokens(output: Any) -> torch.Tensor:
        rows = first_tensor(output).reshape(mask.numel(), -1)
        if rows.device not in on:
            on[rows.device] = places.to(rows.device)
        return rows.index_select(0, on[rows.device])

    return real_tokens


@contextmanager
def watched(
    blocks: list[Block],
    mask: torch.Tensor,
    receive: Callable[[int, str, torch.Tensor], object],
    parts: Collection[str] = PARTS,
) -> Iterator[None]:
    """Call ``receive(layer, part, added)`` for what the sublayers add in a forward pass.

    Only in passes of the thread that enters this: those of others may run beside it.

    Parameters
    ----------
    blocks : list of Block
        From `locate`.
    mask : (sequences, tokens) bool tensor
        True for tokens, False for padding.
    receive : callable
        ``part`` is one of ``parts``; ``added`` is (tokens, width), in the order of the mask.
    parts : collection of str
        Those of ``PARTS`` that are watched; the others are not copied.
    """
    real_tokens = selector(mask)

    thread = threading.get_ident()

    def hook_of(layer: int, part: str, scale: float | None) -> Callable[..., None]:
        def hook(_: torch.nn.Module, __: object, output: object) -> None:
            if threading.get_ident() != thread:
                return
            added = real_tokens(output)
            receive(layer, part, added if scale is None else added * scale)

        return hook

    with ExitStack() as hooks:
        # Two hooks that are registered at once may get the same number, and one be lost.
        with REGISTERING:
            for layer, block in enumerate(blocks):
                for part in parts:
                    module = getattr(block, part)
                    handle = module.register_forward_hook(hook_of(layer, part, block.scale))
                    hooks.callback(handle.remove)
        yield


@dataclass
class Evidence:
    """What one layer's block did in a forward pass.

    Attributes
    ----------
    seen : tuple of str
        The parts that were seen between the block's input and its output.
    error : float
        The largest ||input + parts - output|| / ||output|| over the tokens.
    spoilt : int or None
        The first token whose numbers are not finite, in the order of the mask.
    """

    seen: tuple[str, ...]
    error: float
    spoilt: int | None = None


@contextmanager
def residual_identity(blocks: list[Block], mask: torch.Tensor) -> Iterator[list[Evidence]]:
    """Measure in one forward pass how well the adjustments explain each block.

    Parameters
    ----------
    blocks : list of Block
        From `locate`.
    mask : (sequences, tokens) bool tensor
        True for tokens, False for padding.

    Yields
    ------
    evidence : list of Evidence
        Empty at first; after a forward pass within the ``with`` block, one entry per layer.
    """
    real_tokens = selector(mask)
    evidence: list[Evidence] = []
    parts: list[tuple[str, torch.Tensor]] = []

    def begin(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream = args[0] if args else kwargs["hidden_states"]
        parts[:] = [("input", real_tokens(stream).float())]

    def add(_: int, part: str, added: torch.Tensor) -> None:
        parts.append((part, added.float()))

    def compare(_: torch.nn.Module, __: Any, output: Any) -> None:
        result = real_tokens(output).float()
        stream = parts[0][1].to(result.device)
        gap = stream - result
        for _part, added in parts[1:]:
            gap += added.to(result.device)
        # The larger of the two streams: a block may cancel most of what comes in.
        size = torch.maximum(stream.norm(dim=-1), result.norm(dim=-1))
        seen = tuple(part for part, _ in parts[1:])
        # A token that is zero, and that nothing is added to, has no gap.
        errors = gap.norm(dim=-1) / size.clamp_min(torch.finfo(size.dtype).tiny)
        spoilt = (~errors.isfinite()).nonzero()
        place = int(spoilt[0]) if len(spoilt) else None
        evidence.append(Evidence(seen, float(errors.max()), place))
        parts.clear()

    with ExitStack() as hooks:
        hooks.enter_context(watched(blocks, mask, add))
        for item in blocks:
            before = item.block.register_forward_pre_hook(begin, with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(item.block.register_forward_hook(compare).remove)
        yield evidence


def check_identity(
    evidence: list[Evidence],
    blocks: list[Block],
    *,
    dtype: torch.dtype,
    model_type: str,
    name: str = "NAME",
) -> float:
    """Return the largest error of `residual_identity`; refuse a model that fails the proof.

    Every block must have run once, and in it both of its parts once: without them the identity
    would say nothing about them.
    """
    bound = TOLERANCE[dtype]
    problems = []
    if len(evidence) != len(blocks):
        problems.append(f"{len(evidence)} of {len(blocks)} blocks ran")
    for layer, found in enumerate(evidence):
        if sorted(found.seen) != sorted(PARTS):
            seen = " and ".join(found.seen) or "neither of them"
            problems.append(f"layer {layer}: {seen} seen, not attention and mlp once each")
        elif not found.error <= bound:
            problems.append(f"layer {layer}: {found.error:.1e}")
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"model {name}, of type '{model_type}', fails the proof of its sites: block input + "
            "attention adjustment + MLP adjustment is not shown to be the block's output "
            f"({', '.join(problems[:3])}{more}; expected at most {bound:.0e}, relative); tried "
            f"{_tried(blocks)}; nothing was stored; another module may be declared "
            f"(models.{name}.sites), but a block that normalises the sum itself has no such modules"
        )
    return max(found.error for found in evidence)


def _tried(blocks: list[Block]) -> str:
    """Return the modules of the first block whose outputs were taken for what it adds."""
    names = {module: path for path, module in blocks[0].block.named_modules()}
    tried = " and ".join(names[module] for module in (blocks[0].attention, blocks[0].mlp))
    scale = blocks[0].scale
    return tried if scale is None else f"{tried}, times {scale:g}"
