"""What a model must show before its numbers count.

A run begins with these proofs, in this order:

1. Two short passes, alike up to their middle: no token sees those after it. The first of them also
   shows that attention heads add up to the adjustment and that the head of the model gives its
   predictions, and it is what fast paths are compared with.
2. The first batch: the parts of every block add up to its output.
3. Sequences of the first buffer, each alone: what is computed beside one changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from attnlag.adjustments import heads
from attnlag.adjustments.heads import LayerHeads
from attnlag.adjustments.surprisal import Predictions
from attnlag.errors import UserError, counted
from attnlag.model import hooks, onednn
from attnlag.model.architectures import BlockModules

# Tokens of a short pass.
TOKENS = 64

# What a token's adjustment may change by, relative to its size, when the tokens after it are
# exchanged. A decoder whose products have the same shape in both passes changes by nothing; where
# experts get other numbers of tokens, by rounding.
LEAK = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}

# What 99 of 100 adjustments may differ by between a sequence alone and in its batch; half of them
# hold to the bound of the proof. Rounding differs with the shape of a batch, and may lead single
# tokens to other experts.
COMPANY = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.1}


class ShortPass(NamedTuple):
    """What one pass over the beginning of a sequence gives to the proofs.

    Attributes
    ----------
    vectors : list of (tokens, width) tensors
        What both parts of every layer add, float32 on the CPU.
    at_heads : list of pairs
        What the output projection of each layer got and gave, None where it was not called, and
        what attention adds.
    plain : onednn.Plain
        What fast paths are compared with.
    """

    vectors: list[torch.Tensor]
    at_heads: list[tuple[Any, torch.Tensor]]
    plain: onednn.Plain


@dataclass
class Proofs:
    """The proofs of one model.

    Attributes
    ----------
    model : torch.nn.Module
        A trunk.
    blocks : list of BlockModules
        Its blocks.
    name : str
        The model's name in the configuration, for the messages.
    run : callable
        Function that runs the trunk over token ids, (sequences, tokens).
    """

    model: torch.nn.Module
    blocks: list[BlockModules]
    name: str
    run: Callable[[torch.Tensor], Any]

    @property
    def called(self) -> str:
        """The model's name and type, as messages begin."""
        return f"model {self.name}, of type '{self.model.config.model_type}'"  # type: ignore[union-attr]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    @contextmanager
    def no_vectors_told(self) -> Iterator[None]:
        """Tell of modules that give no vectors of the stream as of other wrong ones."""
        try:
            yield
        except hooks.NoVectors as found:
            raise UserError(
                f"{self.called}, fails the proof of its sites: found {found}; expected one vector "
                "a token, of the width of the stream, into each block, out of it, and from its "
                f"sublayers; tried {self.blocks[0].paths}; nothing was stored"
            ) from None

    def short_pass(
        self,
        ids: torch.Tensor,
        layers: Sequence[LayerHeads] = (),
        predictions: Predictions | None = None,
    ) -> ShortPass:
        """Run the model over the tokens of one sequence.

        Parameters
        ----------
        ids : (tokens,) int tensor
        layers : sequence of LayerHeads
            The heads that are to be proved.
        predictions : Predictions or None
            Given, the whole model is run, and its predictions are proved.
        """
        vectors: list[torch.Tensor] = []
        at_heads: list[tuple[Any, torch.Tensor]] = []

        def keep(layer: int, part: str, added: torch.Tensor) -> None:
            vectors.append(added.float().cpu())
            if layers and part == "attention":
                # A module that is declared as attention may be none.
                at_heads.append((seen.get(layer), added))

        every = torch.ones(1, len(ids), dtype=torch.bool)
        with (
            self.no_vectors_told(),
            heads.watched(layers, every) as seen,
            onednn.feeding(self.blocks) as fed,
            hooks.watched(self.blocks, every, keep),
            torch.inference_mode(),
        ):
            if predictions is None:
                self.run(ids[None])
            else:
                predictions.prove(ids)
        return ShortPass(vectors, at_heads, onednn.Plain(onednn.norms_of(vectors), fed))

    def no_token_sees_later_ones(self, ids: torch.Tensor, found: ShortPass) -> None:
        """Refuse a model that is no decoder: its tokens would see padding, and what they predict.

        The second half of a sequence is exchanged for other tokens, all of them: a decoder gives
        the first half the same vectors, in most cases to the last bit, since the two passes have
        the same shape.

        Parameters
        ----------
        ids : (tokens,) int tensor
        found : ShortPass
            That over these tokens.
        """
        half = len(ids) // 2
        if not half:
            return
        others = ids[ids != ids[0]]
        # A sequence that repeats one token has none; the first two are in every vocabulary.
        other = others[0] if len(others) else (ids[0] == 0).to(ids.dtype)
        exchanged = torch.where(ids == ids[0], other, ids[0])
        exchanged[:half] = ids[:half]
        changed = self.short_pass(exchanged)
        worst = max(
            (
                relative_differences(after[:half].numpy(), before[:half].numpy()).max()
                for after, before in zip(changed.vectors, found.vectors, strict=True)
            ),
            default=0.0,
        )
        if worst > LEAK[self.dtype]:
            raise UserError(
                f"{self.called}, lets a token see the tokens after it: other ones there change its "
                f"adjustments by up to {worst:.0%}; expected a decoder"
            )

    def heads_add_up(self, layers: Sequence[LayerHeads], found: ShortPass) -> str:
        """Return in words how well heads and bias make up the adjustment.

        Raises
        ------
        heads.NoHeads
            They do not.
        """
        for layer, (seen, _) in enumerate(found.at_heads):
            if seen is None:
                raise heads.NoHeads(f"layer {layer} adds what its output projection has not made")
        with torch.inference_mode():
            error = heads.prove(layers, found.at_heads, hooks.TOLERANCE[self.dtype])
        return f"heads + bias = adjustment within {error:.1e}"

    def parts_add_up(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[Any, float]:
        """Run a batch with the residual identity measured; refuse a model where it does not hold.

        Parameters
        ----------
        ids, mask : (sequences, tokens) tensors
            The mask is False for padding.

        Returns
        -------
        output
            What the trunk gives.
        error : float
            The largest |input + parts - output|, relative.
        """
        with self.no_vectors_told(), hooks.residual_identity(self.blocks, mask) as evidence:
            output = self.run(ids)
        error = hooks.check_identity(
            evidence,
            self.blocks,
            dtype=self.dtype,
            model_type=str(self.model.config.model_type),  # type: ignore[union-attr]
            name=self.name,
        )
        return output, error

    def company_changes_nothing(
        self,
        beside: Mapping[str, Sequence[np.ndarray]],
        alone: Mapping[str, Sequence[np.ndarray]],
    ) -> None:
        """Refuse a model whose numbers depend on the sequences that are computed beside one.

        Parameters
        ----------
        beside, alone : mapping of str to arrays
            What was found for one sequence in its batch and by itself, for each site an array per
            layer.
        """
        gaps = np.concatenate(
            [
                relative_differences(found, expected)
                for site in alone
                for found, expected in zip(beside[site], alone[site], strict=True)
            ]
        )
        usual, high = np.quantile(gaps, [0.5, 0.99])
        if not (usual <= hooks.TOLERANCE[self.dtype] and high <= COMPANY[self.dtype]):
            tokens = len(next(iter(alone.values()))[0])
            raise UserError(
                f"{self.called}, gives a sequence other adjustments beside others than alone (a "
                f"document of {counted(tokens, 'token')}: they differ by {gaps.max():.0%} at most, "
                f"{usual:.1e} at half of its tokens and layers); expected numbers that do not "
                "depend on what else is in a batch; nothing was stored"
            )


def relative_differences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return how far the vectors or norms of tokens are from others, relative to their size.

    What is not finite in both is no difference, and in one an infinite one.
    """
    width = 1 if found.ndim == 1 else found.shape[1]
    a, b = (values.reshape(-1, width).astype(np.float64) for values in (found, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.linalg.norm(b, axis=1), np.finfo(np.float32).tiny)
        gaps = np.linalg.norm(a - b, axis=1) / size
    both = ~np.isfinite(a).all(axis=1) & ~np.isfinite(b).all(axis=1)
    return np.where(both, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
