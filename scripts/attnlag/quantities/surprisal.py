"""Surprisal, rank and entropy of a model's predictions, from the input of its head.

The head is applied to one part of the vocabulary at a time. The running values are the largest
logit m, s = Σ exp(z - m) and u = Σ exp(z - m)(z - m). The log-sum-exp is then m + log s, the
surprisal of token t is m + log s - z_t, and the entropy is log s - u / s. Memory grows with the
tokens and the size of a part, not with the vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import torch
from torch.nn import functional

from attnlag.corpus.catalogue import of_file
from attnlag.errors import UserError
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEAD, Seen
from attnlag.quantities.catalogue import Computation, Quantity
from attnlag.quantities.passes import Batch

PREDICTED = tuple(of_file("surprisal"))

# Numbers of tokens of the vocabulary and of the text whose logits are in memory at once.
PART, ROWS = 8192, 1024
# Largest relative difference of logits from those of the model.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}

# Names in transformers' configurations of transformations of logits: a factor, a divisor, and the
# bound c of soft capping, c tanh(z / c).
FACTORS, DIVISORS = ("logit_scale", "lm_head_multiplier"), ("logits_scaling",)
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def outputs_in_parts(head: Any, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the outputs of a head over each part of the vocabulary, with its first token."""
    weight, bias = head.weight, getattr(head, "bias", None)
    for start in range(0, len(weight), PART):
        part = slice(start, start + PART)
        yield start, functional.linear(hidden, weight[part], None if bias is None else bias[part])


class Surprisal(Computation):
    """The predictions of a model at each token, from the inputs of its head."""

    shape = (len(PREDICTED),)
    fields = tuple(pa.field(name, entry.kind) for name, entry in of_file("surprisal").items())

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        self.head: Any = decoder.whole.get_output_embeddings()
        if getattr(self.head, "weight", None) is None:
            raise UserError(
                f"{self.called}: found no head that predicts tokens, expected a model with one, "
                "or no surprisal among the quantities"
            )
        self.layers = [len(decoder.blocks)]
        self.points, self.modules = {HEAD}, {(self.layers[0], HEAD): self.head}
        config = decoder.whole.config.get_text_config()

        def value_of(names: Sequence[str], default: Any) -> Any:
            values = (getattr(config, name, None) for name in names)
            return next((float(value) for value in values if value), default)

        self.scale = value_of(FACTORS, 1.0) / value_of(DIVISORS, 1.0)
        self.cap: float | None = value_of(CAPS, None)

    def _parts(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the logits over each part of the vocabulary, with its first token."""
        for start, logits in outputs_in_parts(self.head, hidden):
            yield start, self._as_stated(logits.float())

    def _of_targets(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the logit of one token for each row, with the rounding of the head."""
        weight, bias = self.head.weight[targets], getattr(self.head, "bias", None)
        logits = (hidden.float() * weight.float()).sum(-1)
        if bias is not None:
            logits = logits + bias[targets].float()
        return self._as_stated(logits.to(hidden.dtype).float())

    def _as_stated(self, logits: torch.Tensor) -> torch.Tensor:
        """Scale and cap logits as stated in the model's config."""
        logits = logits if self.scale == 1 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def prove(self, seen: Mapping[int, Seen], output: Any) -> None:
        """Compare logits with those that the model gives; it must run its head once."""
        of_head = seen.get(self.layers[0])
        if (times := of_head.times[HEAD] if of_head else 0) != 1:
            self._refuse(f"{times} passes of its head", "one")
        assert of_head
        gap = size = 0.0
        with torch.inference_mode():
            for start, logits in self._parts(of_head[HEAD].to(self.head.weight.device)):
                of_model = output.logits[0, :, start : start + PART].float().to(logits.device)
                gap += float((logits - of_model).double().square().sum())
                size += float(of_model.double().square().sum())
        if not gap**0.5 <= TOLERANCE[self.head.weight.dtype] * size**0.5:
            difference = f"logits that differ by {gap**0.5 / size**0.5:.1e} of their size"
            self._refuse(difference, "those of its head applied to its input")

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise UserError(
            f"{self.called}, fails the proof of its predictions: found {found}, expected "
            f"{expected}; the quantities may leave surprisal out"
        )

    def layer(self, seen: Seen, batch: Batch) -> torch.Tensor:
        return self.predict(seen[HEAD], batch)

    @torch.inference_mode()
    def predict(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the predictions at the tokens of a batch, (tokens, ``PREDICTED``).

        ``hidden`` are the inputs of the head, (tokens, width), sequence after sequence. The
        surprisal and rank of a token, and the entropy before it, are NaN for the first token of a
        sequence.
        """
        hidden = hidden.to(self.head.weight.device)
        ids = batch.ids[batch.mask].to(hidden.device)
        # The last token of a sequence does not predict the next sequence.
        targets = ids.roll(-1)
        pieces = [
            self._of_rows(hidden[first : first + ROWS], targets[first : first + ROWS])
            for first in range(0, len(ids), ROWS)
        ]
        surprisal, entropy, rank = map(torch.cat, zip(*pieces, strict=True))
        before = torch.stack([surprisal, entropy, rank], dim=1).roll(1, dims=0)
        before[batch.starts.to(hidden.device)] = torch.nan
        return torch.cat([before[:, :2], entropy[:, None], before[:, 2:]], dim=1)

    def _of_rows(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return surprisal and rank of a token for each row, and the entropy of the prediction."""
        target = self._of_targets(hidden, targets)
        largest = torch.full_like(target, -torch.inf)
        total, weighted = torch.zeros_like(target, dtype=torch.float64), 0.0
        above, summed = torch.zeros_like(targets), torch.empty_like(target)
        rows = torch.arange(len(targets), device=hidden.device)
        for start, logits in self._parts(hidden):
            greater = logits > target[:, None]
            # The logit of the token itself may be rounded differently.
            inside = (targets >= start) & (targets < start + logits.shape[1])
            place = rows[inside], targets[inside] - start
            greater[place] = False
            # For the surprisal, the logit must be the one that is in the sum.
            summed[inside] = logits[place]
            above += greater.sum(-1)
            now = torch.maximum(largest, logits.max(-1).values)
            moved = (largest - now).double()
            moved = torch.where(total > 0, moved, 0.0)
            shifted = logits.sub_(now[:, None])
            exponentials = shifted.exp()
            of_part = torch.linalg.vecdot(exponentials, shifted).double()
            weighted = moved.exp() * (weighted + moved * total) + of_part
            total = moved.exp() * total + exponentials.sum(-1, dtype=torch.float64)
            largest = now
        surprisal = largest.double() + total.log() - summed.double()
        entropy = total.log() - weighted / total
        return surprisal.float(), entropy.float(), (above + 1).float()
