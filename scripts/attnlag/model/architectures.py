"""The layouts of decoders: paths of the modules that add to the residual stream.

A decoder block adds the outputs of its attention and MLP sublayers to the residual stream, one
after the other or both at once. The module whose output is added depends on the architecture. The
layouts below are tried in order, and the configuration can declare another. A layout is taken if it
passes the proof, which every run repeats: block input + attention adjustment + MLP adjustment must
equal the block's output.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError, nearest

# What a block adds to the stream, in the order of most blocks.
SUBLAYERS = ("attention", "mlp")


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
    """One layer: the block, and the modules whose outputs are its adjustments."""

    block: torch.nn.Module
    # By name, in the order of ``SUBLAYERS``: the modules whose outputs add up to the adjustment.
    sublayers: dict[str, tuple[torch.nn.Module, ...]]
    # Factor by which the block multiplies these outputs before it adds them.
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


def blocks_at(
    model: torch.nn.Module,
    blocks: str,
    attention: str,
    mlp: str | None = None,
    scale: float | None = None,
) -> list[BlockModules]:
    """Return the blocks of a base model, first layer first; raise UserError if a module is missing.

    The paths are those of ``settings.ModulePaths``: to the list of blocks, and from a block to
    the modules. Alternatives are tried in their order.
    """
    listed = _submodule(model, blocks)
    if not isinstance(listed, torch.nn.ModuleList | torch.nn.Sequential):
        raise UserError(
            f"found '{blocks}' to be a {type(listed).__name__}, expected the list of the blocks"
        )
    paths = {"attention": attention, "mlp": mlp}
    return [
        BlockModules(
            block,
            {
                name: _modules(block, path, f"{blocks}.{layer}.")
                for name, path in paths.items()
                if path
            },
            scale,
        )
        for layer, block in enumerate(listed)
    ]


def candidates(model: Any) -> Iterator[tuple[str, list[BlockModules]]]:
    """Yield the layouts whose modules a model has: the path to its blocks, and these.

    The blocks are a list with one entry per layer; a multimodal model may have several such lists.
    """
    layers = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers:
            for attention, mlp in LAYOUTS:
                with suppress(UserError):
                    yield path, blocks_at(model, path, attention, mlp)


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


def how_to_declare(blocks: str = "PATH") -> str:
    """Return how a model's modules are declared, for messages."""
    return (
        f"its paths can be declared, as modules: {{blocks: {blocks}, attention: PATH, mlp: PATH}} "
        "(blocks from AutoModel's base model, the others from a block; architecture.txt shows the "
        "modules)"
    )


def unknown(model: Any, name: str, failures: Sequence[str]) -> str:
    """Return the message on a model that no layout fits; ``failures`` are the layouts tried."""
    problem = f"model {name}: found the type '{model.config.model_type}' ({type(model).__name__})"
    tried = "; ".join(failures) or f"{len(LAYOUTS)} layouts, whose modules it lacks"
    # The blocks are the longest list of modules.
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    path, blocks = max(lists, key=lambda item: len(item[1]), default=("PATH", []))
    if blocks:
        children = ", ".join(child for child, _ in blocks[0].named_children())
        problem += f" with {len(blocks)} blocks in '{path}', each of {children}"
    return f"{problem}; tried {tried}; {how_to_declare(path)}"
