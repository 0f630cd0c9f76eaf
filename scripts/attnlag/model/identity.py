"""The check that a block adds to the stream what its sublayers give, and nothing else.

`residual_identity` measures the error of each block in a pass; in float32 that is `_error` alone,
and what runs a block again is for half precision. The error is measured twice. When a model is
loaded, `decoder.decoder_of` takes no layout that exceeds `BOUND`. In the first pass of a shard,
`Decoder.check_identity` refuses a model that does, declared modules included.
"""

import copy
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch.utils import _pytree

from attnlag.errors import UserError
from attnlag.model import hooks
from attnlag.model.hooks import OUTPUT, STREAM, SUBLAYERS, BlockModules

# Bound of the check on |input + attention + MLP - output| per token in float32, relative to the
# larger of |input| and |output|. Rounding leaves a few units in the last place.
BOUND = 1e-5

# In these precisions rounding exceeds the bound. There an order of the additions must give the
# output of a block bit for bit, or the block, run again in float32, must keep to the bound.
HALF = (torch.bfloat16, torch.float16)

# The factor of adjustments is a number that the block holds, if one is this close to the estimate.
NEAR = 0.05

# Bounds on relative differences between other sums that are computed in two ways.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@dataclass
class Evidence:
    """Observations of one layer's block in a forward pass."""

    sublayers: tuple[str, ...]  # those observed between the block's input and its output
    # The largest ||input + adjustments - output|| / max(||input||, ||output||) over the tokens; NaN
    # if values are not finite. In half precision it is 0 if these, added in one order, give the
    # output bit for bit, and beyond `BOUND` that of the block run again in float32.
    error: float
    # Factor of the adjustments with which the identity holds, if it holds with none but this.
    scale: float | None = None


@dataclass
class IdentityResult:
    """What `residual_identity` knows after the pass within it."""

    evidence: list[Evidence] = field(default_factory=list)  # an entry per layer
    # What was found in place of vectors that add up; the pass ended there.
    problem: str = ""


@contextmanager
def residual_identity(blocks: list[BlockModules], mask: torch.Tensor) -> Iterator[IdentityResult]:
    """Measure the error of the residual identity of each block in one forward pass.

    ``mask`` is (sequences, tokens), False for padding. The result is complete when the context is
    left.
    """
    result = IdentityResult()
    evidence = result.evidence
    values: list[tuple[str, torch.Tensor]] = []  # of the block that runs, its input first
    doubtful: dict[int, Any] = {}  # arguments of blocks by layer
    tokens = hooks.RealTokens(mask)
    points = (STREAM, *SUBLAYERS, OUTPUT)

    def receive(layer: int, point: str, value: torch.Tensor) -> None:
        vectors = blocks[layer].as_added(point, tokens.vectors(value))
        if point == STREAM:
            values.clear()
        if point != OUTPUT:
            values.append((point, vectors))
            return
        found = _evidence_of_block(blocks[layer], values, vectors)
        if found.error > BOUND and found.scale is None and vectors.dtype in HALF:
            doubtful[len(evidence)] = arguments[0]
        evidence.append(found)

    with _kept_arguments(blocks) as arguments, hooks.tap(blocks, points, receive) as tapped:
        yield result
    result.problem = tapped.problem
    for layer, given in doubtful.items():
        again = _in_float32(blocks[layer], mask, given)
        if again:
            evidence[layer] = again[0]
        if not evidence[layer].error <= BOUND and evidence[layer].scale is None:
            # The model is refused, whatever the other blocks would give.
            break


def _evidence_of_block(
    block: BlockModules, values: list[tuple[str, torch.Tensor]], result: torch.Tensor
) -> Evidence:
    """Compare the output of a block with its input and what its sublayers add.

    ``values`` are its input and then these, by point; all are (tokens, width). Other widths end the
    pass.
    """
    for name, each in values[1:]:
        if each.shape != result.shape:
            hooks.end_pass(
                f"vectors of {each.shape[1]} from {name} in a stream of {result.shape[1]}"
            )
    sublayers = tuple(name for name, _ in values[1:])
    stream, *added = [each.to(result.device) for _, each in values]
    error = _error(stream, added, result)
    scale = None
    if error > BOUND:
        scale = _factor(block.block, stream, added, result)
    return Evidence(sublayers, error, scale)


@contextmanager
def _kept_arguments(blocks: list[BlockModules]) -> Iterator[list[Any]]:
    """Keep the arguments of the block that ran last in a list of one, in float32."""
    arguments: list[Any] = []

    def keep(_: torch.nn.Module, *inputs: Any) -> None:
        arguments[:] = [_pytree.tree_map(_float32_of, inputs)]

    before: list[hooks.Hook] = []
    for block in blocks:
        before.append((block.block.register_forward_pre_hook, keep, {"with_kwargs": True}))
    with hooks.attached(before):
        yield arguments


def _in_float32(block: BlockModules, mask: torch.Tensor, given: Any) -> list[Evidence]:
    """Return the evidence of a block that runs again in float32; none if it cannot.

    ``given`` are its arguments, with and without names.
    """
    args, kwargs = given
    twin = copy.deepcopy(block)
    twin.block.float()
    try:
        with residual_identity([twin], mask) as result, torch.inference_mode():
            twin.block(*args, **kwargs)
    except hooks.FAILURES:
        return []
    return result.evidence


def _float32_of(value: Any) -> Any:
    """Return a copy of floating-point numbers in float32, and anything else as it is."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        # A block may write into what it is given.
        return value.to(torch.float32, copy=True)
    return value


def _error(stream: torch.Tensor, added: Sequence[torch.Tensor], result: torch.Tensor) -> float:
    """Return the error of the identity, as in `Evidence`; vectors are (tokens, width)."""
    # Relative to the larger of both streams, because a block may cancel most of its input. A zero
    # vector to which nothing is added has no error.
    gap = reduce(operator.add, (each.float() for each in added), stream.float() - result.float())
    size = torch.maximum(stream.float().norm(dim=-1), result.float().norm(dim=-1))
    error = float((gap.norm(dim=-1) / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
    if result.dtype not in HALF or math.isnan(error) or not added:
        return error
    one_by_one = reduce(operator.add, added, stream)
    at_once = stream + reduce(operator.add, added)
    for total in (one_by_one, at_once):
        if torch.equal(total.to(result.dtype), result):
            return 0.0
    return error


def _factor(
    block: torch.nn.Module,
    stream: torch.Tensor,
    added: Sequence[torch.Tensor],
    result: torch.Tensor,
) -> float | None:
    """Return the factor of what is added with which the identity holds; None if there is none."""
    if not added:
        return None
    total = reduce(operator.add, (each.double() for each in added))
    estimate = float((total * (result.double() - stream.double())).sum() / total.square().sum())
    candidates: list[float] = []
    for value in vars(block).values():
        if isinstance(value, float) and abs(value - estimate) <= NEAR * abs(estimate):
            candidates.append(value)
    for scale in (*candidates, float(f"{estimate:.7g}")):
        if _error(stream, [each * scale for each in added], result) <= BOUND:
            return scale
    return None


def problems_of(evidence: list[Evidence], blocks: list[BlockModules], name: str) -> list[str]:
    """Return why the observations of a pass do not pass the check, in a few words per layer.

    Every block must have run once, and each sublayer once within it. Raise UserError if values of
    the model of this name are not finite.
    """
    for layer, observation in enumerate(evidence):
        if math.isnan(observation.error):
            advice = ""
            if next(blocks[0].block.parameters()).dtype == torch.float16:
                advice = "; float32 and bfloat16 have the range for more"
            raise UserError(
                f"model {name}: found numbers that are infinite or not a number, expected finite "
                f"ones: first in layer {layer}{advice}"
            )
    problems = []
    if len(evidence) != len(blocks):
        problems.append(f"{len(evidence)} of {len(blocks)} blocks ran")
    for layer, observation in enumerate(evidence):
        expected = blocks[layer].sublayers if layer < len(blocks) else SUBLAYERS
        if sorted(observation.sublayers) != sorted(expected):
            found = " and ".join(observation.sublayers) or "neither of them"
            problems.append(f"layer {layer}: {found} seen, not {' and '.join(expected)} once each")
        elif not observation.error <= BOUND:
            problems.append(f"layer {layer}: {observation.error:.1e}")
    return problems
