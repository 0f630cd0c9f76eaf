"""The modules that add to a model's residual stream, and their proof.

A decoder block adds the outputs of its attention and MLP sublayers to the residual stream, one
after the other or both at once. The module whose output is added depends on the architecture. The
layouts below are tried in order, and the configuration can declare another. A layout is taken if it
passes the proof, which every run repeats: block input + attention adjustment + MLP adjustment must
equal the block's output.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError, nearest

# What a block adds to the stream, in the order of most blocks.
SUBLAYERS = ("attention", "mlp")


@dataclass(frozen=True)
class Layout:
    """Module paths of one kind of architecture."""

    # Path from the base model (the model that ``AutoModel`` returns) to the list of blocks.
    blocks: str
    # attention, mlp: path from a block to the module whose output is added to the residual stream,
    # after the output projection and after a normalisation, if there is one. If blocks differ, the
    # path lists alternatives, as in ``self_attn|mamba``; the first that a block has is used. If the
    # block adds the sum of two modules, they are joined, as in ``experts+shared``. ``mlp`` is None
    # if blocks have a single mixer and no MLP.
    attention: str
    mlp: str | None = None
    # Factor by which the block multiplies these outputs before it adds them.
    scale: float | None = None


# Names of token mixers in transformers' configurations; the blocks of hybrids differ.
MIXERS = (
    "self_attn|linear_attn|mamba|conv|attn|attention|self_attention|multi_head_attention"
    "|temporal_block|norm_attn_norm.attn|mixer|mlstm_layer"
)

# Names of classes of attention without a softmax over tokens.
OTHER_ATTENTION = re.compile("Linear|Delta|Lightning")

# Name under which a module of TransformerLens' bridge holds that of transformers in its place.
WRAPPED = "_original_component"

# Layouts to try, most likely first: pairs of paths from a block. The proof decides, and finds the
# factor of both outputs, if there is one. Dropout or a cast between a module and the addition has
# no effect at inference, and neither does the order of sublayers, which may be parallel.
LAYOUTS = (
    # The outputs of the sublayers; hybrids have other mixers in some blocks. The MLP may be sparse,
    # or no module, but its last matrix is (OPT).
    (MIXERS, "mlp|feed_forward|block_sparse_moe|ffn|fc2|mlp_block"),
    # The outputs after a normalisation.
    ("post_attention_layernorm", "post_feedforward_layernorm"),
    ("post_attention_layernorm", "post_mlp_layernorm"),
    ("post_self_attn_layernorm", "post_mlp_layernorm"),
    ("post_operator_norm", "post_ffn_norm"),
    ("post_norm1", "post_norm2"),
    ("linear_attn|post_attention_layernorm", "post_feedforward_layernorm|mlp"),
    # The last matrix of sublayers that return the stream with their own part added.
    ("self_attention.dense", "mlp.dense_4h_to_h"),
    ("attention.output.dense", "output.dense"),
    (MIXERS, "ffn.down_proj"),
    # The sum of experts and of an MLP that all tokens share.
    (MIXERS, "block_sparse_moe+shared_mlp"),
    (MIXERS, "shared_mlp"),
    # Convolutions that follow the sublayers.
    ("attn_sconv", "mlp_sconv"),
    # A single mixer without an MLP.
    ("mixer", None),
)


@dataclass(frozen=True)
class BlockModules:
    """One layer: the block, and the modules whose outputs are its adjustments.

    ``sublayers`` maps each name, in the order of ``SUBLAYERS``, to the modules whose outputs add up
    to its adjustment; a block with a single mixer has no MLP. The block multiplies all of them by
    ``scale`` before it adds them.
    """

    block: torch.nn.Module
    sublayers: dict[str, tuple[torch.nn.Module, ...]]
    scale: float | None = None

    @property
    def paths(self) -> str:
        """Paths of the modules from the block, in words."""
        path_of = {module: path for path, module in self.block.named_modules()}
        paths = ("+".join(map(path_of.__getitem__, summed)) for summed in self.sublayers.values())
        return " and ".join(paths).replace(f"{WRAPPED}.", "")

    @property
    def kind(self) -> str:
        """The token mixer: "attention", or the class of another mixer."""
        for path in MIXERS.split("|"):
            with suppress(UserError):
                name = type(_submodule(self.block, path)).__name__
                softmax = path != "linear_attn" and not OTHER_ATTENTION.search(name)
                attention = "attn" in path or "attention" in path or name.endswith("Attention")
                return "attention" if attention and softmax else name
        return "attention"


def declared_blocks(
    model: torch.nn.Module, declared: Mapping[str, Any], name: str = "NAME"
) -> list[BlockModules]:
    """Return the blocks of a base model, first layer first, by declared paths.

    The keys are as in `Layout`. Raise UserError if a module is missing.
    """
    try:
        return blocks_by(model, Layout(**declared))
    except UserError as error:
        model_type = str(model.config.model_type)  # type: ignore[union-attr]
        where = f"model {name}, of type '{model_type}', modules declared"
        raise UserError(f"{where}: {error}; {_how_to_declare()}") from None


def blocks_by(model: torch.nn.Module, layout: Layout) -> list[BlockModules]:
    """Return the blocks of a base model by the paths of a layout; a missing module is an error."""
    blocks = _submodule(model, layout.blocks)
    if not isinstance(blocks, torch.nn.ModuleList | torch.nn.Sequential):
        raise UserError(
            f"found '{layout.blocks}' to be a {type(blocks).__name__}, expected the list of the "
            "blocks"
        )
    layers = []
    for layer, block in enumerate(blocks):
        above = f"{layout.blocks}.{layer}."
        sublayers = {
            sublayer: _modules(block, paths, above)
            for sublayer, paths in zip(SUBLAYERS, (layout.attention, layout.mlp), strict=True)
            if paths is not None
        }
        layers.append(BlockModules(block, sublayers, layout.scale))
    return layers


def candidates(model: torch.nn.Module) -> Iterator[tuple[str, list[BlockModules]]]:
    """Yield the layouts whose modules a model has: the path to its blocks, and these.

    The blocks are a list with one entry per layer; a multimodal model may have several such lists.
    """
    text = model.config.get_text_config()  # type: ignore[union-attr,operator]
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) != text.num_hidden_layers:
            continue
        for attention, mlp in LAYOUTS:
            with suppress(UserError):
                yield path, blocks_by(model, Layout(path, attention, mlp))


def _modules(block: torch.nn.Module, paths: str, above: str) -> tuple[torch.nn.Module, ...]:
    """Return the modules of a sublayer of a block, those of the first alternative that it has."""
    for alternative in paths.split("|"):
        try:
            return tuple(_submodule(block, path, above) for path in alternative.split("+"))
        except UserError as error:
            missing = error
    if "|" not in paths:
        raise missing
    beside = ", ".join(child for child, _ in block.named_children())
    raise UserError(
        f"found none of {paths.replace('|', ', ')} in '{above.removesuffix('.')}', expected one "
        f"of {beside or 'none'} of {type(block).__name__}"
    )


def _submodule(module: torch.nn.Module, path: str, above: str = "") -> torch.nn.Module:
    """Return the module at a path; if it is missing, the error names its siblings."""
    for name in path.split("."):
        children = dict(module.named_children())
        if WRAPPED in children:
            children = dict(children.pop(WRAPPED).named_children()) | children
        if name not in children:
            raise UserError(
                f"found no module '{above}{name}', expected one of "
                f"{', '.join(children) or 'none'} of {type(module).__name__}"
                f"{nearest(name, children)}"
            )
        module, above = children[name], f"{above}{name}."
    return module


def _how_to_declare(blocks: str = "PATH") -> str:
    return (
        f"its paths can be declared, as modules: {{blocks: {blocks}, attention: PATH, mlp: PATH}} "
        "(blocks from AutoModel's base model, the others from a block; architecture.txt shows the "
        "modules)"
    )


def unknown(model: torch.nn.Module, name: str, failures: Sequence[str] = ()) -> str:
    """Return the message on a model that no layout fits; ``failures`` are the layouts tried."""
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    problem = f"model {name}: found the type '{model_type}' ({type(model).__name__})"
    tried = "tried " + ("; ".join(failures) or f"{len(LAYOUTS)} layouts, whose modules it lacks")
    # The blocks are the longest list of modules.
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    if not lists:
        return f"{problem}; {tried}; {_how_to_declare()}"
    path, blocks = max(lists, key=lambda item: len(item[1]))
    children = ", ".join(child for child, _ in blocks[0].named_children())
    problem += f" with {len(blocks)} blocks in '{path}', each of {children}"
    return f"{problem}; {tried}; {_how_to_declare(path)}"
