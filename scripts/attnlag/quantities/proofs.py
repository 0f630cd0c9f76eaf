"""Proofs that a model must pass before its numbers are stored.

A run begins with these proofs, in this order:

1. A pass over the first tokens of the longest sequence shows that the parts of every block add up
   to its output, that attention heads add up to the adjustment, that the head of the model gives
   its predictions, and whether passes write to the model. Fast paths are compared with it.
2. If the first tokens get the same numbers in the whole sequence and its batch, no token sees later
   ones. If not, or if there are no more tokens, two passes with the same first half decide.
3. Those of another sequence, run alone, show that other sequences in a batch have no influence.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from attnlag.errors import UserError, counted
from attnlag.model import hooks, onednn
from attnlag.model.architectures import PARTS, BlockModules
from attnlag.quantities.computation import Batch, Seen

# Number of tokens of a short pass.
TOKENS = 64

# Largest relative change of a token's adjustment when later tokens are replaced. It is zero for a
# decoder whose products have the same shapes in both passes, and at rounding level if experts get
# other numbers of tokens.
LEAK = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}

# Bound on the 99th percentile of differences between a sequence alone and in its batch; the median
# must be within the bound of the proof. Rounding depends on the shape of a batch and may route
# single tokens to other experts.
COMPANY = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.1}

# An array per layer for each quantity and site: a row for each token of a sequence.
Results = Mapping[tuple[str, str], Sequence[np.ndarray]]


class ShortPass(NamedTuple):
    """Results of one pass over the beginning of a sequence."""

    # By layer and part, (tokens, width) float32 tensors on the CPU: the vectors that it adds.
    vectors: dict[tuple[int, str], torch.Tensor]
    evidence: list[hooks.Evidence]  # on the parts of every block
    seen: dict[int, Seen]  # what else it has given, by layer
    plain: onednn.Plain  # reference for fast paths


@dataclass
class Proofs:
    """The proofs of one model."""

    model: torch.nn.Module
    blocks: list[BlockModules]
    name: str  # of the model in the configuration, for the messages
    run: Callable[[torch.Tensor], Any]  # runs the trunk over token ids, (sequences, tokens)

    @property
    def called(self) -> str:
        """The model's name and type, for the beginning of messages."""
        return f"model {self.name}, of type '{self.model.config.model_type}'"  # type: ignore[union-attr]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    @contextmanager
    def no_vectors_told(self) -> Iterator[None]:
        """Turn NotGiven into the UserError of a failed proof."""
        try:
            yield
        except hooks.NotGiven as output:
            raise UserError(
                f"{self.called}, fails the proof of its sites: found {output}; expected one vector "
                "a token, of the width of the stream, into each block, out of it, and from its "
                f"sublayers; tried {self.blocks[0].paths}; nothing was stored"
            ) from None

    def short_pass(
        self,
        ids: torch.Tensor,
        points: Iterable[str] = (),
        projections: Mapping[int, torch.nn.Module] | None = None,
        run: Callable[[torch.Tensor], Any] | None = None,
    ) -> ShortPass:
        """Run the model over the tokens of one sequence, (tokens,).

        The points besides the parts of blocks, and ``run``, which runs the whole model over the
        tokens, are those of quantities that are to be proved.
        """
        vectors: dict[tuple[int, str], torch.Tensor] = {}
        observed: dict[int, Seen] = {}
        batch = Batch([ids.numpy()], np.arange(len(ids)), torch.zeros(1, dtype=torch.int64))

        def keep(layer: int, point: str, rows: torch.Tensor) -> None:
            observed.setdefault(layer, Seen(layer, batch)).give(point, rows)
            if point in PARTS:
                vectors[layer, point] = rows.float().cpu()

        every = torch.ones(1, len(ids), dtype=torch.bool)
        with (
            self.no_vectors_told(),
            onednn.feeding(self.blocks) as fed,
            hooks.residual_identity(self.blocks, every) as evidence,
            hooks.watched(self.blocks, every, keep, {*PARTS, *points}, projections),
            torch.inference_mode(),
        ):
            if run is None:
                self.run(ids[None])
            else:
                run(ids)
        plain = onednn.Plain(onednn.norms_of(list(vectors.values())), fed)
        return ShortPass(vectors, evidence, observed, plain)

    def no_token_sees_later_ones(
        self, ids: torch.Tensor, short_pass: ShortPass | None = None
    ) -> None:
        """Raise UserError if the model is not a decoder, whose tokens see no later ones.

        All tokens in the second half of a sequence are replaced. A decoder gives the first half the
        same vectors, usually with equal bits, because the two passes have the same shape. The pass
        over the tokens themselves is made unless it is given.
        """
        half = len(ids) // 2
        if not half:
            return
        short_pass = short_pass or self.short_pass(ids)
        different = ids[ids != ids[0]]
        # A sequence that repeats one token offers no other; the ids 0 and 1 are always valid.
        other = different[0] if len(different) else (ids[0] == 0).to(ids.dtype)
        exchanged = torch.where(ids == ids[0], other, ids[0])
        exchanged[:half] = ids[:half]
        changed = self.short_pass(exchanged)
        worst = max(
            (
                relative_differences(after[:half].numpy(), before[:half].numpy()).max()
                for after, before in zip(
                    changed.vectors.values(), short_pass.vectors.values(), strict=True
                )
            ),
            default=0.0,
        )
        if worst > LEAK[self.dtype]:
            raise UserError(
                f"{self.called}, lets a token see the tokens after it: other ones there change its "
                f"adjustments by up to {worst:.0%}; expected a decoder"
            )

    def may_depend_on_later_ones(self, beside: Results, alone: Results) -> bool:
        """Return whether first tokens differ in their sequence and alone, beyond rounding."""
        return bool(differences(beside, alone).max() > LEAK[self.dtype])

    def parts_add_up(self, short_pass: ShortPass) -> float:
        """Return the largest error of the residual identity, or raise UserError."""
        return hooks.check_identity(short_pass.evidence, self.blocks, self.model, self.name)

    def company_changes_nothing(self, beside: Results, alone: Results) -> None:
        """Raise UserError if a sequence in its batch has other results than its beginning alone."""
        gaps = differences(beside, alone)
        usual, high = np.quantile(gaps, [0.5, 0.99])
        if not (usual <= hooks.TOLERANCE[self.dtype] and high <= COMPANY[self.dtype]):
            tokens = len(next(iter(alone.values()))[0])
            raise UserError(
                f"{self.called}, gives a sequence other adjustments beside others than alone (a "
                f"document of {counted(tokens, 'token')}: they differ by {gaps.max():.0%} at most, "
                f"{usual:.1e} at half of its tokens and layers); expected numbers that do not "
                "depend on what else is in a batch; nothing was stored"
            )


def differences(beside: Results, alone: Results) -> np.ndarray:
    """Return the relative differences of a sequence's first tokens alone and in its batch."""
    return np.concatenate(
        [
            relative_differences(measured[: len(expected)], expected)
            for key in alone
            for measured, expected in zip(beside[key], alone[key], strict=True)
        ]
    )


def relative_differences(measured: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the relative differences between the vectors or norms of tokens and others.

    Values that are not finite in both do not differ; in one only, they differ infinitely.
    """
    a, b = (np.float64(values).reshape(len(values), -1) for values in (measured, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.linalg.norm(b, axis=1), np.finfo(np.float32).tiny)
        gaps = np.linalg.norm(a - b, axis=1) / size
    neither_finite = ~np.isfinite(a).all(axis=1) & ~np.isfinite(b).all(axis=1)
    return np.where(neither_finite, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
