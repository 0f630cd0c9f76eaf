"""Where a model adds to its residual stream: the sites that are measured, and their proof.

A decoder block adds the output of its attention sublayer, then that of its MLP, to the residual
stream. Which module gives the vector that is added depends on the architecture; the table below
says it for each family. No entry is taken on trust: on the first batch of every run, block
input + attention adjustment + MLP adjustment must equal the block's output.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError


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
    """

    model_types: tuple[str, ...]
    blocks: str
    attention: str
    mlp: str


FAMILIES = (
    Family(("gpt2",), "h", "attn", "mlp"),
    Family(("llama", "mistral", "qwen2", "qwen3", "smollm3"), "layers", "self_attn", "mlp"),
)

# The proof's bound on |input + attention + MLP - output| / |output|, per token. Rounding alone
# leaves a few units in the last place of the stream's precision.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@dataclass(frozen=True)
class Block:
    """One layer: the block, and the modules whose outputs are its two adjustments."""

    block: torch.nn.Module
    attention: torch.nn.Module
    mlp: torch.nn.Module


def locate(model: torch.nn.Module) -> list[Block]:
    """Return the blocks of a trunk, first layer first.

    Raises
    ------
    UserError
        If the architecture is in no family, or a module is not where its family has it.
    """
    model_type = model.config.model_type  # type: ignore[union-attr]
    family = next((f for f in FAMILIES if model_type in f.model_types), None)
    if family is None:
        known = ", ".join(name for f in FAMILIES for name in f.model_types)
        raise UserError(
            f"found a model of type '{model_type}' ({type(model).__name__}), whose sublayers "
            f"attnlag does not know; expected one of {known}"
        )
    try:
        return [
            Block(block, block.get_submodule(family.attention), block.get_submodule(family.mlp))
            for block in model.get_submodule(family.blocks)  # type: ignore[attr-defined]
        ]
    except AttributeError as error:
        raise UserError(
            f"found no such module in a model of type '{model_type}': {error}; tried "
            f"{family.blocks}.N.{family.attention} and {family.blocks}.N.{family.mlp}"
        ) from None


def first_tensor(output: Any) -> torch.Tensor:
    """Return a module's output itself where it comes in a tuple (with attention weights, say)."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def residual_identity(blocks: list[Block], mask: torch.Tensor) -> Iterator[list[float]]:
    """Measure in one forward pass how well the adjustments explain each block.

    Parameters
    ----------
    blocks : list of Block
        From ``locate``.
    mask : (sequences, tokens) bool tensor
        True for tokens, False for padding.

    Yields
    ------
    errors : list of float
        Empty at first; after a forward pass within the ``with`` block, one entry per layer: the
        largest ||input + attention + MLP - output|| / ||output|| over its tokens.
    """
    errors: list[float] = []
    parts: list[torch.Tensor] = []

    def begin(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream = args[0] if args else kwargs["hidden_states"]
        parts[:] = [stream[mask].float()]

    def add(_: torch.nn.Module, __: Any, output: Any) -> None:
        parts.append(first_tensor(output)[mask].float())

    def compare(_: torch.nn.Module, __: Any, output: Any) -> None:
        result = first_tensor(output)[mask].float()
        gap = sum(parts[1:], start=parts[0]) - result
        # The larger of the two streams: a block may cancel most of what comes in.
        size = torch.maximum(parts[0].norm(dim=-1), result.norm(dim=-1))
        errors.append(float((gap.norm(dim=-1) / size).max()))
        parts.clear()

    with ExitStack() as hooks:
        for item in blocks:
            before = item.block.register_forward_pre_hook(begin, with_kwargs=True)
            hooks.callback(before.remove)
            for module in (item.attention, item.mlp):
                hooks.callback(module.register_forward_hook(add).remove)
            hooks.callback(item.block.register_forward_hook(compare).remove)
        yield errors


def check_identity(errors: list[float], dtype: torch.dtype, model_type: str) -> float:
    """Return the largest error of ``residual_identity``; refuse a model that fails the proof."""
    bound = TOLERANCE[dtype]
    wrong = [layer for layer, error in enumerate(errors) if not error <= bound]
    if wrong or not errors:
        shown = ", ".join(f"layer {layer}: {errors[layer]:.1e}" for layer in wrong[:3])
        raise UserError(
            f"a model of type '{model_type}' fails the proof of its sites: block input + attention "
            f"adjustment + MLP adjustment differs from the block's output ({shown or 'no layer'}; "
            f"expected at most {bound:.0e}, relative); nothing was stored"
        )
    return max(errors)
