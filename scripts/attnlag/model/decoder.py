"""The blocks of a decoder, and the modules whose outputs are verified to be adjustments.

A decoder block adds the outputs of its attention and MLP sublayers to the residual stream, one
after the other or both at once. The module whose output is added depends on the architecture. The
layouts below are tried in order, and the configuration can declare another. A layout is taken if it
passes the check, which every run repeats: block input + attention adjustment + MLP adjustment must
equal the block's output.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnlag.errors import UserError, nearest
from attnlag.model import hooks, identity
from attnlag.model.hooks import BlockModules

# Number of tokens in the pass that tries a layout.
TOKENS = 12

# Names of token mixers in transformers' configurations; the blocks of hybrids differ.
MIXERS = (
    "self_attn|linear_attn|mamba|conv|attn|attention|self_attention|multi_head_attention"
    "|temporal_block|norm_attn_norm.attn|mixer|mlstm_layer"
)

# Names of classes of attention without a softmax over tokens.
OTHER_ATTENTION = re.compile("Linear|Delta|Lightning")

# Name under which a module of TransformerLens' bridge holds that of transformers in its place.
WRAPPED = "_original_component"

# Layouts to try, most likely first: pairs of paths from a block. The check decides, and finds the
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
class Decoder:
    """A model with the modules of its blocks."""

    whole: Any  # with a head or without
    name: str  # in the configuration, for messages
    blocks: list[BlockModules]
    layout: str  # that was found by trying, in words; empty for the usual one

    @property
    def model(self) -> Any:
        """The base model."""
        return getattr(self.whole, "base_model", self.whole)

    @property
    def called(self) -> str:
        """The name and type, for the beginning of messages."""
        return f"model {self.name}, of type '{self.model.config.model_type}'"

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def config(self) -> Any:
        """What the base model's config states of its text decoder."""
        return self.model.config.get_text_config()

    @property
    def mixers(self) -> dict[str, str]:
        """The class of the mixer of layers without attention, by layer."""
        mixers = enumerate(map(mixer_of, self.blocks))
        return {str(layer): mixer for layer, mixer in mixers if mixer != "attention"}

    @property
    def paths(self) -> str:
        """Paths of the modules of the first block, in words."""
        return paths_of(self.blocks[0])

    @property
    def remark(self) -> str:
        """The layout, and the layers with another mixer than attention, in words, if any."""
        layers_by_mixer: dict[str, list[str]] = {}
        for layer, mixer in self.mixers.items():
            layers_by_mixer.setdefault(mixer, []).append(layer)
        words = [self.layout] if self.layout else []
        for mixer, layers in layers_by_mixer.items():
            if len(layers) > 1:
                words.append(f"layers {', '.join(layers)} have {mixer} in place of attention")
            else:
                words.append(f"layer {layers[0]} has {mixer} in place of attention")
        return "; ".join(words)


@dataclass(frozen=True)
class Trial:
    """A layout of the blocks that was tried in a short pass."""

    blocks: list[BlockModules]  # with the factors that the pass has found
    layout: str  # in words
    # An entry for each block that ran in the pass; empty if the model could not run.
    evidence: list[identity.Evidence]
    failure: str | None  # why the layout is not taken, in words

    @property
    def success(self) -> str:
        """The layout that passes the check, in words."""
        first = self.blocks[0]
        times = f", times {first.scale:.7g}," if first.scale is not None else ""
        passes = "were tried and pass" if len(first.sublayers) > 1 else "was tried and passes"
        return f"{self.layout}{times} {passes} the check"


def decoder_of(
    model: Any, declared: Mapping[str, Any] | None = None, name: str = "NAME"
) -> Decoder:
    """Return a model, with a head or without, and the blocks that are found in it.

    Each layout whose modules exist is tried until one passes the check in a short pass. The run
    verifies it again. A factor that is not ``declared`` is found by the check.

    Declared modules are taken even if they fail: the run, whose `identity.check` refuses them,
    says by how much.

    Raise UserError if no layout passes the check, if a declared module is missing, or if the model
    has no embeddings of tokens.
    """
    whole = model
    model = getattr(model, "base_model", model)
    vocabulary_of(model, name)
    if declared and declared.get("scale") is not None:
        return Decoder(whole, name, _declared_blocks(model, declared, name), layout="")
    failures: list[str] = []
    for trial in trials(model, declared, name):
        if declared:
            return Decoder(whole, name, trial.blocks, layout="")
        if trial.failure is None:
            is_usual = not failures and trial.blocks[0].scale is None
            return Decoder(whole, name, trial.blocks, "" if is_usual else trial.success)
        failures.append(f"{trial.layout} ({trial.failure})")
    raise UserError(unknown(model, name, failures))


def trials(model: Any, declared: Mapping[str, Any] | None, name: str) -> Iterator[Trial]:
    """Yield the declared layout of a base model, or each whose modules it has, as it is tried."""
    if declared:
        yield tried(model, declared["blocks"], _declared_blocks(model, declared, name), name)
        return
    for path, blocks in candidates(model):
        yield tried(model, path, blocks, name)


def _declared_blocks(model: Any, declared: Mapping[str, Any], name: str) -> list[BlockModules]:
    """Return the blocks at declared paths; raise UserError if a module is missing."""
    try:
        return blocks_at(model, **declared)
    except UserError as error:
        where = f"model {name}, of type '{model.config.model_type}', modules declared"
        raise UserError(f"{where}: {error}; {how_to_declare()}") from None


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
    listed = submodule(model, blocks)
    if not isinstance(listed, torch.nn.ModuleList | torch.nn.Sequential):
        raise UserError(
            f"found '{blocks}' to be a {type(listed).__name__}, expected the list of the blocks"
        )
    found: list[BlockModules] = []
    for layer, block in enumerate(listed):
        above = f"{blocks}.{layer}."
        sublayers = {"attention": _modules(block, attention, above)}
        if mlp:
            sublayers["mlp"] = _modules(block, mlp, above)
        found.append(BlockModules(block, sublayers, scale))
    return found


def _modules(block: torch.nn.Module, paths: str, above: str) -> tuple[torch.nn.Module, ...]:
    """Return the modules of a sublayer of a block, those of the first alternative that it has."""
    for alternative in paths.split("|"):
        try:
            return tuple(submodule(block, path, above) for path in alternative.split("+"))
        except UserError as error:
            missing = error
    if "|" not in paths:
        raise missing
    beside = ", ".join(child for child, _ in block.named_children())
    raise UserError(
        f"found none of {paths.replace('|', ', ')} in '{above.removesuffix('.')}', expected one "
        f"of {beside or 'none'} of {type(block).__name__}"
    )


def submodule(module: torch.nn.Module, path: str, above: str = "") -> torch.nn.Module:
    """Return the module at a path, also inside those of a bridge.

    If it is missing, UserError names its siblings.
    """
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
        module = children[name]
        above = f"{above}{name}."
    return module


def tried(model: Any, path: str, blocks: list[BlockModules], name: str) -> Trial:
    """Try a layout of a base model; the trial has the factors that the check finds.

    ``path`` is that of the list of blocks.
    """
    mask = torch.ones(1, TOKENS, dtype=torch.bool)
    layout = f"{paths_of(blocks[0])} in '{path}'"
    # The second pass is with the factors that the first one finds.
    for _ in range(2):
        try:
            with torch.no_grad(), identity.residual_identity(blocks, mask) as result:
                run_short(model, name)
        # For example, an encoder beside the decoder needs tokens of its own.
        except hooks.FAILURES as error:
            message = str(error).strip().partition("\n")[0]
            failure = f"fails on a sequence of tokens with {type(error).__name__}: {message}"
            return Trial(blocks, layout, [], failure)
        if result.problem:
            return Trial(blocks, layout, [], f"found {result.problem}")
        problems = identity.problems_of(result.evidence, blocks, name)
        scales = [observation.scale for observation in result.evidence]
        if len(scales) != len(blocks) or not any(scales):
            break
        blocks = [replace(b, scale=s or b.scale) for b, s in zip(blocks, scales, strict=True)]
    return Trial(blocks, layout, result.evidence, problems[0] if problems else None)


def run_short(model: Any, name: str) -> None:
    """Run a base model over the ids 0, 1, …: a few tokens, of no text."""
    hooks.forward(model, torch.arange(TOKENS)[None] % vocabulary_of(model, name))


def paths_of(block: BlockModules) -> str:
    """Return the paths of a block's modules from the block, in words."""
    path_of = {module: path for path, module in block.block.named_modules()}
    paths = ("+".join(map(path_of.__getitem__, summed)) for summed in block.sublayers.values())
    return " and ".join(paths).replace(f"{WRAPPED}.", "")


def mixer_of(block: BlockModules) -> str:
    """Return the token mixer of a block: "attention", or the class of another mixer."""
    for path in MIXERS.split("|"):
        with suppress(UserError):
            name = type(submodule(block.block, path)).__name__
            softmax = path != "linear_attn" and not OTHER_ATTENTION.search(name)
            attention = "attn" in path or "attention" in path or name.endswith("Attention")
            return "attention" if attention and softmax else name
    return "attention"


def vocabulary_of(model: Any, name: str = "NAME") -> int:
    """Return the number of tokens that a base model has embeddings for.

    Raise UserError if it has none, like the decoder of an encoder-decoder model.
    """
    try:
        return len(model.get_input_embeddings().weight)
    # What transformers raises, by the type of the model.
    except (NotImplementedError, AttributeError):
        raise UserError(
            f"model {name}, of type '{model.config.model_type}': transformers finds no embeddings "
            f"of tokens in its {type(model).__name__}, expected a decoder that runs by itself"
        ) from None


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
    layouts = "; ".join(failures) or f"{len(LAYOUTS)} layouts, whose modules it lacks"
    # The blocks are the longest list of modules.
    lists: list[tuple[str, torch.nn.ModuleList]] = []
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module):
            lists.append((path, module))
    path, blocks = max(lists, key=lambda item: len(item[1]), default=("PATH", []))
    if blocks:
        children = ", ".join(child for child, _ in blocks[0].named_children())
        problem += f" with {len(blocks)} blocks in '{path}', each of {children}"
    return f"{problem}; tried {layouts}; {how_to_declare(path)}"
