"""Surprisal, rank and entropy of a model's predictions, from the input of its head.

With the logits z of the tokens that may follow, less the largest, s = Σ exp(z) and u = Σ z exp(z),
the surprisal of token t is log s - z_t, and the entropy is log s - u / s. The head is applied to
some tokens at a time, so memory grows with neither the text nor the vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from attnlag.corpus.catalogue import of_file
from attnlag.errors import UserError
from attnlag.model.detect_modules import Decoder
from attnlag.model.hooks import HEAD
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.computation import Computation, Seen
from attnlag.quantities.passes import Batch
from attnlag.storage.keys import KEY_FIELDS
from attnlag.storage.sequences import TokenSequence, keys_of

PREDICTED = tuple(of_file("surprisal"))
SCHEMA = pa.schema(
    [*KEY_FIELDS, *((name, entry.kind) for name, entry in of_file("surprisal").items())]
)

# Number of logits in memory at once; larger arrays take longer than the head saves on them.
LOGITS = 2**22
# Largest relative difference of logits from those of the model.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}

# Names in transformers' configurations of transformations of logits: a factor, a divisor, and the
# bound c of soft capping, c tanh(z / c).
FACTORS, DIVISORS = ("logit_scale", "lm_head_multiplier"), ("logits_scaling",)
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def outputs_of(head: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return the outputs of a head for inputs of it, without its hooks."""
    return functional.linear(hidden, head.weight, getattr(head, "bias", None))


def rows_at_once(head: Any) -> int:
    """Return the number of tokens whose outputs of a head are in memory at once."""
    return max(1, LOGITS // len(head.weight))


class Surprisal(Computation):
    """The predictions of a model at each token, from the inputs of its head."""

    shape = (len(PREDICTED),)

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

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits for inputs of the head, scaled and capped as the model states."""
        logits = outputs_of(self.head, hidden).float()
        logits = logits if self.scale == 1 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def prove(self, seen: Mapping[int, Seen], output: Any) -> None:
        """Compare logits with those that the model gives; it must run its head once."""
        of_head = seen.get(self.layers[0])
        if (times := of_head.times[HEAD] if of_head else 0) != 1:
            self._refuse(f"{times} passes of its head", "one")
        assert of_head
        with torch.inference_mode():
            logits = self.logits(of_head[HEAD].to(self.head.weight.device))
            of_model = output.logits[0].to(logits).double()
            gap, size = float((logits - of_model).norm()), float(of_model.norm())
        if not gap <= TOLERANCE[self.head.weight.dtype] * size:
            difference = f"logits that differ by {gap / size:.1e} of their size"
            self._refuse(difference, "those of its head applied to its input")

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise UserError(
            f"{self.called}, fails the proof of its predictions: found {found}, expected "
            f"{expected}; the quantities may leave surprisal out"
        )

    def layer(self, seen: Seen) -> torch.Tensor:
        return self.predict(seen[HEAD], seen.batch)

    @torch.inference_mode()
    def predict(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the predictions at the tokens of a batch, (tokens, ``PREDICTED``).

        ``hidden`` are the inputs of the head, (tokens, width), sequence after sequence. The
        surprisal and rank of a token, and the entropy before it, are NaN for the first token of a
        sequence.
        """
        hidden = hidden.to(self.head.weight.device)
        ids = batch.ids[torch.from_numpy(batch.real)].to(hidden.device)
        # The last token of a sequence does not predict the next sequence.
        targets = ids.roll(-1)
        parts = (each.split(rows_at_once(self.head)) for each in (hidden, targets))
        pieces = [self._of_rows(*part) for part in zip(*parts, strict=True)]
        surprisal, entropy, rank = map(torch.cat, zip(*pieces, strict=True))
        before = torch.stack([surprisal, entropy, rank], dim=1).roll(1, dims=0)
        before[batch.starts.to(hidden.device)] = torch.nan
        return torch.cat([before[:, :2], entropy[:, None], before[:, 2:]], dim=1)

    def _of_rows(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return surprisal and rank of a token for each row, and the entropy of the prediction."""
        logits = self.logits(hidden)
        rank = 1 + (logits > logits.gather(1, targets[:, None])).sum(-1, dtype=torch.int32)
        shifted = logits.sub_(logits.amax(-1, keepdim=True))
        target = shifted.gather(1, targets[:, None])[:, 0]
        exponentials = shifted.exp()
        total = exponentials.sum(-1, dtype=torch.float64)
        surprisal = total.log() - target.double()
        entropy = total.log() - torch.linalg.vecdot(exponentials, shifted).double() / total
        return surprisal.float(), entropy.float(), rank.float()

    def schema(self) -> pa.Schema:
        """Return the keys and ``PREDICTED``."""
        return SCHEMA

    def rows(self, run: Sequence[TokenSequence], values: Sequence[np.ndarray]) -> pa.Table:
        """Return the rows of its file, null where nothing is predicted."""
        predicted = (pa.array(column, from_pandas=True) for column in values[0].T)
        return pa.table([*keys_of(run), *predicted], SCHEMA.names).cast(SCHEMA)
