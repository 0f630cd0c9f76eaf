"""Surprisal, rank and entropy of a model's predictions, from the input of its head.

The head is applied to one part of the vocabulary at a time. The running values are the largest
logit m, s = Σ exp(z - m) and u = Σ exp(z - m)(z - m). The log-sum-exp is then m + log s, the
surprisal of token t is m + log s - z_t, and the entropy is log s - u / s. Memory grows with the
tokens and the size of a part, not with the vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from attnlag.corpus.catalogue import of_file
from attnlag.errors import UserError
from attnlag.model import hooks
from attnlag.quantities import columns, layout
from attnlag.quantities.computation import Batch, Computation
from attnlag.storage.keys import KEY_FIELDS
from attnlag.storage.sequences import TokenSequence

PREDICTED = tuple(of_file("surprisal"))
SCHEMA = pa.schema(
    [*KEY_FIELDS, *((name, entry.kind) for name, entry in of_file("surprisal").items())]
)

# Numbers of tokens of the vocabulary and of the text whose logits are in memory at once.
PART, ROWS = 8192, 1024
# Largest relative difference of logits from those of the model.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}

# Names in transformers' configurations of transformations of logits: a factor, a divisor, and the
# bound c of soft capping, c tanh(z / c).
FACTORS, DIVISORS = ("logit_scale", "lm_head_multiplier"), ("logits_scaling",)
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


class Predictions:
    """The head of a model, applied to its own input one part of the vocabulary at a time.

    Raise UserError if the model has no head; ``name`` is that of the configuration, for the
    messages.
    """

    def __init__(self, model: Any, name: str):
        self.model = model
        self.name = name
        self.head: Any = self.model.get_output_embeddings()
        if self.head is None or getattr(self.head, "weight", None) is None:
            raise UserError(
                f"model {name}, of type '{self.model.config.model_type}': found no head that "
                "predicts tokens, expected a model with one, or no surprisal among the quantities"
            )
        config = self.model.config.get_text_config()

        def value_of(names: Sequence[str], default: Any) -> Any:
            values = (getattr(config, name, None) for name in names)
            return next((float(value) for value in values if value), default)

        self.scale = value_of(FACTORS, 1.0) / value_of(DIVISORS, 1.0)
        self.cap: float | None = value_of(CAPS, None)

    def _parts(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the logits over each part of the vocabulary, with its first token."""
        weight, bias = self.head.weight, getattr(self.head, "bias", None)
        for start in range(0, len(weight), PART):
            part = slice(start, start + PART)
            logits = functional.linear(hidden, weight[part], None if bias is None else bias[part])
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

    def prove(self, ids: torch.Tensor) -> None:
        """Compare the logits with those that the model gives for a short sequence, in one pass.

        Raise UserError if they differ, or if the model does not run its head exactly once.
        """
        refused = (
            f"model {self.name}, of type '{self.model.config.model_type}', fails the proof of its "
            "predictions: found {}, expected {}; the quantities may leave surprisal out"
        )
        with torch.inference_mode():
            with self._inputs_of_head() as states:
                expected = hooks.forward(self.model, ids[None]).logits[0].float()
            if len(states) != 1:
                raise UserError(refused.format(f"{len(states)} passes of its head", "one"))
            gap = size = 0.0
            for start, logits in self._parts(states[0][0]):
                of_model = expected[:, start : start + PART].to(logits.device)
                gap += float((logits - of_model).double().square().sum())
                size += float(of_model.double().square().sum())
        if not gap**0.5 <= TOLERANCE[self.head.weight.dtype] * size**0.5:
            difference = f"logits that differ by {gap**0.5 / size**0.5:.1e} of their size"
            alike = "those of its head applied to its input"
            raise UserError(refused.format(difference, alike))

    @contextmanager
    def _inputs_of_head(self, *, stop: bool = False) -> Iterator[list[torch.Tensor]]:
        """Yield the inputs of the head in passes of this thread, which it may stop."""
        states: list[torch.Tensor] = []

        def keep(_: object, args: tuple[Any, ...]) -> None:
            states.append(args[0].to(self.head.weight.device))
            if stop:
                raise hooks.AllSeen

        with hooks.attached([(self.head.register_forward_pre_hook, keep, {})]):
            yield states

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Run the model up to its head and return what this gets, (sequences, tokens, width)."""
        with self._inputs_of_head(stop=True) as states, suppress(hooks.AllSeen):
            hooks.forward(self.model, ids)
        return states[0]

    @torch.inference_mode()
    def predict(self, hidden: torch.Tensor, sequences: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Return the predictions at the tokens of some sequences: ``PREDICTED``, each (tokens,).

        ``hidden`` are the inputs of the head, (tokens, width), sequence after sequence. The
        surprisal and rank of a token, and the entropy before it, are NaN for the first token of a
        sequence.
        """
        ids = torch.from_numpy(np.concatenate(sequences).astype(np.int64)).to(hidden.device)
        # The last token of a sequence does not predict the next sequence.
        targets = ids.roll(-1)
        pieces = [
            self._of_rows(hidden[first : first + ROWS], targets[first : first + ROWS])
            for first in range(0, len(ids), ROWS)
        ]
        surprisal, entropy, rank = map(torch.cat, zip(*pieces, strict=True))
        lengths = np.array([len(sequence) for sequence in sequences])
        firsts = torch.from_numpy(np.cumsum(lengths) - lengths).to(hidden.device)
        before = [values.roll(1) for values in (surprisal, entropy, rank)]
        for values in before:
            values[firsts] = torch.nan
        return [before[0], before[1], entropy, before[2]]

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


def table(keys: pa.Table, values: Sequence[np.ndarray]) -> pa.Table:
    """Return the rows of the file of predictions: keys and ``PREDICTED``, null for NaN."""
    arrays = [keys[field.name] for field in KEY_FIELDS]
    arrays += [pa.array(of_tokens, from_pandas=True) for of_tokens in values]
    return pa.table(arrays, SCHEMA.names).cast(SCHEMA)


class Surprisal(Computation):
    """The predictions of a model at each token, from passes through its head's input."""

    needs_head = True

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.predictions = Predictions(arguments[-1].whole, arguments[-1].name)
        # Its values are of no layer: an array for each column.
        self.layers = range(-len(PREDICTED), 0)
        self.shape = ()

    def end(self, hidden: Any, batch: Batch) -> list[torch.Tensor]:
        """Return the columns of ``PREDICTED``."""
        return self.predictions.predict(hidden, batch.sequences)

    def schema(self, stored: str = "float32") -> pa.Schema:
        """Return the keys and ``PREDICTED``."""
        return SCHEMA

    def rows(
        self, run: Sequence[TokenSequence], values: Sequence[np.ndarray], stored: str = "float32"
    ) -> pa.Table:
        """Return the rows of its file, given the array of each column."""
        return table(pa.table(layout.keys_of(run), columns.KEYS), values)
