"""The check that a block adds to the stream what its sublayers give, and nothing else.

    block input + what attention adds + what the MLP adds = block output

`residual_identity` observes a pass, `relative_error` compares both sides in each block, and `check`
refuses a model. A sum does not show which part is which: that the attention is not the MLP is known
from the layout, or from who declares modules. The check runs twice: when a model is loaded, where
`decoder.decoder_of` takes no layout that fails, and in the first pass of a shard
(`layer_pass.checked_pass`), for declared modules too. What half precision needs besides is in
`half_precision`; float32 skips it. Where products are packed for a CPU, this comes after the check,
and `onednn.pack_weights` compares norms before and after.
"""

import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch

from attnlag.errors import UserError
from attnlag.model import half_precision, hooks
from attnlag.model.hooks import OUTPUT, STREAM, SUBLAYERS, BlockModules

# Bound on `relative_error` in float32. Rounding leaves a few units in the last place.
BOUND = 1e-5

# The factor of adjustments is a number that the block holds, if one is this close to the estimate.
NEAR = 0.05

# Bounds on relative differences between other numbers that are computed in two ways.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@dataclass
class Evidence:
    """Observations of a block that has run in a forward pass."""

    layer: int
    sublayers: tuple[str, ...]  # those observed between the block's input and its output
    # As of `relative_error`; in half precision 0 if the sum is the output bit for bit.
    error: float
    # Factor of the adjustments with which the identity holds, where it fails without one: for
    # `decoder`, which looks for the modules.
    scale: float | None = None
    # The largest error with which the identity holds.
    bound: float = BOUND

    @property
    def holds(self) -> bool:
        """Whether the identity holds; not where numbers are not finite."""
        return self.error <= self.bound


@dataclass
class IdentityResult:
    """What `residual_identity` knows after the pass within it."""

    # An entry for each time that a block has run, in the order of the pass.
    evidence: list[Evidence] = field(default_factory=list)
    # What was found in place of vectors that add up; the pass ended there.
    problem: str = ""


@contextmanager
def residual_identity(blocks: list[BlockModules], mask: torch.Tensor) -> Iterator[IdentityResult]:
    """Measure the error of the residual identity of each block in one forward pass.

    ``mask`` is (sequences, tokens), False for padding. The result is complete when the context is
    left; `check` judges its evidence.
    """
    result = IdentityResult()
    values: list[tuple[str, torch.Tensor]] = []  # of the block that runs, its input first
    tokens = hooks.RealTokens(mask)

    def receive(layer: int, point: str, value: torch.Tensor) -> None:
        vectors = blocks[layer].as_added(point, tokens.vectors(value))
        if point == STREAM:
            values.clear()
        if point == OUTPUT:
            result.evidence.append(_evidence_of_block(layer, blocks[layer], values, vectors))
        else:
            values.append((point, vectors))

    with (
        # This does nothing in float32.
        half_precision.blocks_run_again(blocks, mask, result.evidence, residual_identity),
        hooks.tap(blocks, (STREAM, *SUBLAYERS, OUTPUT), receive) as tapped,
    ):
        yield result
    result.problem = tapped.problem


def _evidence_of_block(
    layer: int, block: BlockModules, values: list[tuple[str, torch.Tensor]], result: torch.Tensor
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
    bound = half_precision.BOUND if result.dtype in half_precision.DTYPES else BOUND
    error = relative_error(stream, added, result)
    scale = None
    if error > bound:
        scale = _factor(block.block, stream, added, result, bound)
    return Evidence(layer, sublayers, error, scale, bound)


def relative_error(
    stream: torch.Tensor, added: Sequence[torch.Tensor], result: torch.Tensor
) -> float:
    """Return the largest ||input + adjustments - output|| / max(||input||, ||output||) of tokens.

    ``stream`` is the input of a block, ``added`` what each sublayer adds, and ``result`` the output
    of the block, all (tokens, width). Not a number if norms of the input or the output are not
    finite, and so within no bound. In half precision 0 if the sum is the output bit for bit.
    """
    # Relative to the larger of both streams, because a block may cancel most of its input. A zero
    # vector to which nothing is added has no error.
    gap = reduce(operator.add, (each.float() for each in added), stream.float() - result.float())
    size = torch.maximum(stream.float().norm(dim=-1), result.float().norm(dim=-1))
    # The square of a finite number may be infinite.
    if not size.isfinite().all():
        return math.nan
    error = float((gap.norm(dim=-1) / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
    # Never in float32.
    if not math.isnan(error) and half_precision.adds_up(stream, added, result):
        return 0.0
    return error


def check(evidence: list[Evidence], decoder: Any) -> float:
    """Return the largest error of the blocks of a `decoder.Decoder` in a pass.

    Raise UserError if the identity does not hold in a block, or a block or sublayer has not run
    once.
    """
    problems = problems_of(evidence, decoder.blocks, decoder.name)
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        expected = f"at most {BOUND:.0e}, relative"
        if any(each.bound < BOUND and not each.holds for each in evidence):
            expected += "; equal bits where a block cannot run in float32"
        raise UserError(
            f"{decoder.called}, fails the check of its sites: block input + attention adjustment "
            "+ MLP adjustment is not shown to be the block's output "
            f"({', '.join(problems[:3])}{more}; expected {expected}); tried {decoder.paths}; "
            "nothing was stored; other modules can be declared, but a block that normalises the "
            "sum itself has none"
        )
    return max(observation.error for observation in evidence)


def problems_of(evidence: list[Evidence], blocks: list[BlockModules], name: str) -> list[str]:
    """Return why the observations of a pass do not pass the check, in a few words per layer.

    Every block must have run once, and each sublayer once within it. Raise UserError if values of
    the model of this name are not finite.
    """
    for observation in evidence:
        if math.isnan(observation.error):
            advice = ""
            if next(blocks[0].block.parameters()).dtype == torch.float16:
                advice = "; float32 and bfloat16 have the range for more"
            raise UserError(
                f"model {name}: found numbers that are infinite or not a number, expected finite "
                f"ones: first in layer {observation.layer}{advice}"
            )
    problems = []
    runs = Counter(observation.layer for observation in evidence)
    if len(runs) < len(blocks):
        problems.append(f"{len(runs)} of {len(blocks)} blocks ran")
    for layer, times in runs.items():
        if times > 1:
            problems.append(f"layer {layer}: ran {times} times")
    for observation in evidence:
        layer = observation.layer
        expected = blocks[layer].sublayers
        if sorted(observation.sublayers) != sorted(expected):
            found = " and ".join(observation.sublayers) or "neither of them"
            problems.append(f"layer {layer}: {found} seen, not {' and '.join(expected)} once each")
        elif not observation.holds:
            problems.append(f"layer {layer}: {observation.error:.1e}")
    return problems


def _factor(
    block: torch.nn.Module,
    stream: torch.Tensor,
    added: Sequence[torch.Tensor],
    result: torch.Tensor,
    bound: float,
) -> float | None:
    """Return the factor of what is added with which the identity holds; None if there is none.

    It changes no error: where a model is loaded, it becomes the scale of the block.
    """
    if not added:
        return None
    total = reduce(operator.add, (each.double() for each in added))
    estimate = float((total * (result.double() - stream.double())).sum() / total.square().sum())
    candidates: list[float] = []
    for value in vars(block).values():
        if isinstance(value, float) and abs(value - estimate) <= NEAR * abs(estimate):
            candidates.append(value)
    for scale in (*candidates, float(f"{estimate:.7g}")):
        if relative_error(stream, [each * scale for each in added], result) <= bound:
            return scale
    return None
