"""Checks that a model must pass before its numbers are stored.

The first run of sequences begins with these checks:

1. A pass over the first tokens of its longest sequence shows that the sublayers of each block add
   up to its output, that attention heads add up to the adjustment, that the head of the model gives
   its predictions, and whether passes write to the model.
2. If the first tokens get the same numbers in the whole sequence and its batch, no token sees later
   ones. If not, or if there are no more tokens, two passes with the same first half decide.
3. Those of another sequence, run alone, show that other sequences in a batch have no influence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlag.errors import UserError, counted
from attnlag.model import identity
from attnlag.model.decoder import Decoder
from attnlag.quantities.batches import Batch, batch_of
from attnlag.quantities.catalogue import Values
from attnlag.quantities.layer_pass import CheckedPass

# Number of tokens of a short pass.
TOKENS = 64

# Largest relative change of a token's adjustment when later tokens are replaced or left out. It is
# zero for a decoder whose products have the same shapes in both passes, and at rounding level where
# their shapes differ or experts get other numbers of tokens.
CAUSALITY_TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.bfloat16: 0.1,
    torch.float16: 0.02,
}

# Bound on the 99th percentile of differences between a sequence alone and in its batch; the median
# must be within `identity.TOLERANCE`. Rounding depends on the shape of a batch and may route
# single tokens to other experts.
BATCH_TOLERANCE = {
    torch.float64: 1e-3,
    torch.float32: 1e-3,
    torch.bfloat16: 0.5,
    torch.float16: 0.1,
}


def no_token_sees_later_ones(
    decoder: Decoder, first_pass: CheckedPass, again: Callable[[Batch], CheckedPass]
) -> None:
    """Raise UserError if the model is not a decoder, whose tokens see no later ones.

    All tokens in the second half of a sequence are replaced. A decoder gives the first half the
    same vectors, usually with equal bits, because the two passes have the same shape.
    """
    (ids,) = first_pass.passed.batch.ids
    half = len(ids) // 2
    if not half:
        return
    different = ids[ids != ids[0]]
    # A sequence that repeats one token offers no other; the ids 0 and 1 are always valid.
    other = different[0] if len(different) else (ids[0] == 0).to(ids.dtype)
    exchanged = torch.where(ids == ids[0], other, ids[0])
    exchanged[:half] = ids[:half]
    changed = again(batch_of(exchanged.numpy()))
    largest = 0.0
    for measured, expected in zip(changed.vectors, first_pass.vectors, strict=True):
        gaps = relative_differences(measured[:half].numpy(), expected[:half].numpy())
        largest = max(largest, gaps.max())
    if largest > CAUSALITY_TOLERANCE[decoder.dtype]:
        raise UserError(
            f"{decoder.called}, lets a token see the tokens after it: other ones there "
            f"change its adjustments by up to {largest:.0%}; expected a decoder"
        )


@dataclass(frozen=True)
class MeasuredRun:
    """A run of sequences that were measured together."""

    sequences: Sequence[np.ndarray]  # token ids, (tokens,)
    batches: Sequence[Batch]  # the longest sequences first
    values: Values  # vectors or norms of the tokens of all sequences, in their order

    @property
    def longest(self) -> int:
        """The index of the longest sequence."""
        return int(self.batches[0].indices[0])

    def values_of(self, index: int) -> Values:
        """Return the values of the tokens of one sequence."""
        start = sum(map(len, self.sequences[:index]))
        rows = slice(start, start + len(self.sequences[index]))
        return {key: [array[rows] for array in arrays] for key, arrays in self.values.items()}


def compare_with_checked_pass(
    decoder: Decoder,
    run: MeasuredRun,
    alone: Values,
    first_tokens: Batch,
    checked_pass: Callable[[Batch], CheckedPass],
) -> None:
    """Compare the longest sequence of a run with its first tokens alone.

    ``alone`` are the values of the checked pass over these. All must be within
    `CAUSALITY_TOLERANCE`, or no later token may change them.

    Raise UserError if the model is not a decoder.
    """
    gaps = differences(run.values_of(run.longest), alone)
    if gaps.max() > CAUSALITY_TOLERANCE[decoder.dtype]:
        # Both passes are new ones: since the checked pass, weights may have been packed.
        no_token_sees_later_ones(decoder, checked_pass(first_tokens), checked_pass)


def compare_with_sequences_alone(
    decoder: Decoder,
    run: MeasuredRun,
    alone_of_longest: Values,
    alone_of: Callable[[np.ndarray], Values],
) -> None:
    """Compare the first and the last sequence that share a batch with their first tokens alone.

    ``alone_of(ids)`` runs a pass over one sequence. Raise UserError as `batch_invariance` does.
    """
    shared: list[int] = []
    for batch in run.batches:
        if len(batch.indices) > 1:
            shared += list(batch.indices)
    for index in dict.fromkeys([*shared[:1], *shared[-1:]]):
        if index == run.longest:
            alone = alone_of_longest
        else:
            alone = alone_of(run.sequences[index][:TOKENS])
        batch_invariance(decoder, run.values_of(index), alone)


def batch_invariance(decoder: Decoder, in_batch: Values, alone: Values) -> None:
    """Raise UserError if a sequence in its batch has other results than its beginning alone."""
    gaps = differences(in_batch, alone)
    usual, high = np.quantile(gaps, [0.5, 0.99])
    if not (usual <= identity.TOLERANCE[decoder.dtype] and high <= BATCH_TOLERANCE[decoder.dtype]):
        tokens = len(next(iter(alone.values()))[0])
        raise UserError(
            f"{decoder.called}, gives a sequence other adjustments beside others than alone "
            f"(the first {counted(tokens, 'token')} of a document: they differ by {gaps.max():.0%} "
            f"at most, {usual:.1e} at half of these tokens and layers); expected numbers that do "
            "not depend on what else is in a batch; nothing was stored"
        )


def differences(in_batch: Values, alone: Values) -> np.ndarray:
    """Return relative differences of a sequence's first tokens in its batch from those alone.

    They are (tokens × layers,), of all quantities and sites in turn.
    """
    gaps: list[np.ndarray] = []
    for key in alone:
        for measured, expected in zip(in_batch[key], alone[key], strict=True):
            gaps.append(relative_differences(measured[: len(expected)], expected))
    return np.concatenate(gaps)


def relative_differences(measured: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the relative differences between the vectors or norms of tokens and others, (tokens,).

    Values that are not finite in both do not differ; in one only, they differ infinitely.
    """
    a = np.float64(measured).reshape(len(measured), -1)
    b = np.float64(expected).reshape(len(expected), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.linalg.norm(b, axis=1), np.finfo(np.float32).tiny)
        gaps = np.linalg.norm(a - b, axis=1) / size
    neither_finite = ~np.isfinite(a).all(axis=1) & ~np.isfinite(b).all(axis=1)
    return np.where(neither_finite, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
