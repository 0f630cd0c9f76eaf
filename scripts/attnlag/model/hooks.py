"""Forward hooks that observe adjustments, and the proof that a block adds nothing else."""

import math
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.errors import UserError
from attnlag.model.architectures import PARTS, BlockModules

REGISTERING = threading.Lock()

# Name under which `watched` gives the vectors that a block receives, besides its parts.
STREAM = "stream"

# Bound of the proof on |input + attention + MLP - output| / |output| per token. Rounding leaves a
# few units in the last place of the stream's precision.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


class NoVectors(Exception):
    """A module returned something other than one vector per token; the message says what."""


def first_tensor(output: Any) -> torch.Tensor:
    """Return the first of a module's outputs, if it has several, such as attention weights."""
    return output[0] if isinstance(output, tuple | list) else output


def stream_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the residual stream among the arguments of a block."""
    return args[0] if args else kwargs.get("hidden_states")


def selector(mask: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    """Return a function that copies the rows of a module's output that are tokens, not padding.

    The rows are copied because later operations may overwrite the output: Falcon adds the output
    of one sublayer to that of the other in place. Sequences and tokens may share one dimension, as
    in OPT. The row indices are computed once, because a GPU would otherwise synchronise in every
    layer.
    """
    places = mask.flatten().nonzero().squeeze(1)
    on = {places.device: places}

    def real_tokens(output: Any) -> torch.Tensor:
        found = first_tensor(output)
        if not isinstance(found, torch.Tensor):
            raise NoVectors(f"a {type(found).__name__}")
        if found.ndim not in (2, 3) or found.shape[:-1].numel() != mask.numel():
            shape = " × ".join(map(str, found.shape)) or "()"
            raise NoVectors(f"a tensor of {shape} for {' × '.join(map(str, mask.shape))} tokens")
        rows = found.reshape(mask.numel(), -1)
        if rows.device not in on:
            on[rows.device] = places.to(rows.device)
        return rows.index_select(0, on[rows.device])

    return real_tokens


@contextmanager
def watched(
    blocks: list[BlockModules],
    mask: torch.Tensor,
    receive: Callable[[int, str, torch.Tensor], object],
    parts: Collection[str] = PARTS,
) -> Iterator[None]:
    """Call ``receive(layer, part, vectors)`` with the outputs of sublayers in a forward pass.

    Only passes of the thread that enters this context are observed; others may run in parallel.

    Parameters
    ----------
    blocks : list of BlockModules
        From `locate`.
    mask : (sequences, tokens) bool tensor
        True for tokens, False for padding.
    receive : callable
        ``part`` is one of ``parts``; ``vectors`` is (tokens, width), in the order of the mask.
    parts : collection of str
        The observed ones of ``PARTS``, and ``STREAM`` for the input of each block; others are not
        copied.
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

    def stream_hook_of(layer: int) -> Callable[..., None]:
        # Passes of other threads may call this hook while it is being registered or removed, when
        # torch does not pass the keywords.
        def hook(_: object, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if threading.get_ident() == thread:
                receive(layer, STREAM, real_tokens(stream_of(args, kwargs or {})))

        return hook

    with ExitStack() as hooks:
        # Two hooks registered concurrently may get the same id, and one would be lost.
        with REGISTERING:
            for layer, block in enumerate(blocks):
                if STREAM in parts:
                    before = block.block.register_forward_pre_hook(
                        stream_hook_of(layer), with_kwargs=True
                    )
                    hooks.callback(before.remove)
                for part, module in block.parts.items():
                    if part not in parts:
                        continue
                    handle = module.register_forward_hook(hook_of(layer, part, block.scale))
                    hooks.callback(handle.remove)
        yield


@dataclass
class Evidence:
    """Observations of one layer's block in a forward pass.

    Attributes
    ----------
    seen : tuple of str
        The parts observed between the block's input and its output.
    error : float
        The largest ||input + parts - output|| / ||output|| over the tokens; NaN if values are not
        finite.
    """

    seen: tuple[str, ...]
    error: float


@contextmanager
def residual_identity(blocks: list[BlockModules], mask: torch.Tensor) -> Iterator[list[Evidence]]:
    """Measure the error of the residual identity of each block in one forward pass.

    Parameters
    ----------
    blocks : list of BlockModules
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
        parts[:] = [("input", real_tokens(stream_of(args, kwargs)).float())]

    def add(_: int, part: str, added: torch.Tensor) -> None:
        parts.append((part, added.float()))

    def compare(_: torch.nn.Module, __: Any, output: Any) -> None:
        result = real_tokens(output).float()
        width = result.shape[1]
        stream = parts[0][1].to(result.device)
        gap = stream - result
        for part, added in parts[1:]:
            if added.shape != gap.shape:
                raise NoVectors(f"vectors of {added.shape[1]} from {part} in a stream of {width}")
            gap += added.to(result.device)
        # Relative to the larger of both streams, because a block may cancel most of its input.
        size = torch.maximum(stream.norm(dim=-1), result.norm(dim=-1))
        seen = tuple(part for part, _ in parts[1:])
        # A zero vector to which nothing is added has no error.
        errors = gap.norm(dim=-1) / size.clamp_min(torch.finfo(size.dtype).tiny)
        evidence.append(Evidence(seen, float(errors.max())))
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
    blocks: list[BlockModules],
    *,
    dtype: torch.dtype,
    model_type: str,
    name: str = "NAME",
) -> float:
    """Return the largest error of `residual_identity`; raise UserError if the proof fails.

    Every block must have run once, and each of its parts once within it. Otherwise the identity
    says nothing about them.
    """
    bound = TOLERANCE[dtype]
    for layer, found in enumerate(evidence):
        if math.isnan(found.error):
            advice = "; float32 and bfloat16 have the range for more" * (dtype == torch.float16)
            raise UserError(
                f"model {name}: found numbers that are infinite or not a number, expected finite "
                f"ones: first in layer {layer}{advice}"
            )
    problems = problems_of(evidence, blocks, bound)
    if problems:
        tried = blocks[0].paths
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"model {name}, of type '{model_type}', fails the proof of its sites: block input + "
            "attention adjustment + MLP adjustment is not shown to be the block's output "
            f"({', '.join(problems[:3])}{more}; expected at most {bound:.0e}, relative); tried "
            f"{tried}; nothing was stored; other modules can be declared, but a block "
            "that normalises the sum itself has none"
        )
    return max(found.error for found in evidence)


def problems_of(evidence: list[Evidence], blocks: list[BlockModules], bound: float) -> list[str]:
    """Return why the observations of a pass are not a proof, in a few words per layer."""
    problems = []
    if len(evidence) != len(blocks):
        problems.append(f"{len(evidence)} of {len(blocks)} blocks ran")
    for layer, found in enumerate(evidence):
        expected = blocks[layer].parts if layer < len(blocks) else PARTS
        if sorted(found.seen) != sorted(expected):
            seen = " and ".join(found.seen) or "neither of them"
            problems.append(f"layer {layer}: {seen} seen, not {' and '.join(expected)} once each")
        elif not found.error <= bound:
            problems.append(f"layer {layer}: {found.error:.1e}")
    return problems
