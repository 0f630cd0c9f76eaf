"""Surprisal, rank and entropy of a model's predictions, from the input of its head.

The head is applied to some rows at a time, whose logits z over the vocabulary are in memory at
once. With m the largest, s = Σ exp(z - m) and u = Σ exp(z - m)(z - m), the surprisal of token t is
m + log s - z_t, and the entropy log s - u / s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import torch
from torch.nn import functional

from attnlag.corpus.catalogue import properties_in
from attnlag.errors import UserError
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import STREAM
from attnlag.quantities.batches import Batch
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.computation import Check, Computation
from attnlag.quantities.layer_pass import BatchPass, LayerPass

PREDICTED = tuple(properties_in("surprisal"))

# Number of logits in memory at once: 32 MB in float32.
LOGITS_AT_ONCE = 2**23

# Largest relative difference of logits from those of the model.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}

# Names in transformers' configurations of transformations of logits: a factor, a divisor, and the
# bound c of soft capping, c tanh(z / c).
FACTORS = ("logit_scale", "lm_head_multiplier")
DIVISORS = ("logits_scaling",)
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def head_of(decoder: Decoder) -> Any:
    """Return the head of a model, a linear map from vectors of the stream to logits, or a reason.

    The reason is text: that it has none, or one whose weights are not (vocabulary, width).
    """
    head = decoder.whole.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if weight is None:
        return "no head that predicts tokens"
    widths = {int(decoder.config.hidden_size), decoder.model.get_input_embeddings().weight.shape[1]}
    if weight.ndim != 2 or weight.shape[1] not in widths:
        shape = " × ".join(map(str, weight.shape))
        width = " or ".join(map(str, sorted(widths)))
        return f"a head of {shape}, which takes no vectors of width {width}"
    return head


def check_predicted(head: Any, ids: torch.Tensor, called: str) -> None:
    """Raise UserError if a text has tokens that a head does not predict; ids are of any shape."""
    largest = int(ids.max())
    if largest >= len(head.weight):
        raise UserError(
            f"{called}: found token {largest} in a text, but its head predicts "
            f"{len(head.weight):,} tokens; expected a head for all of them"
        )


def logits_by_rows(head: Any, hidden: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the outputs of a head, (rows, vocabulary), for some rows of its inputs at a time."""
    weight = head.weight
    bias = getattr(head, "bias", None)
    count = max(1, LOGITS_AT_ONCE // len(weight))
    for start in range(0, len(hidden), count):
        rows = slice(start, start + count)
        yield rows, functional.linear(hidden[rows], weight, bias)


def _stated(config: Any, names: Sequence[str]) -> float | None:
    """Return the first value under some names in a config that is neither missing nor zero."""
    for name in names:
        value = getattr(config, name, None)
        if value:
            return float(value)
    return None


class Surprisal(Computation):
    """The predictions of a model at each token, from the inputs of its head."""

    shape = (len(PREDICTED),)
    fields = tuple(pa.field(name, entry.kind) for name, entry in properties_in("surprisal").items())

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        self.head: Any = head_of(decoder)
        if isinstance(self.head, str):
            raise UserError(
                f"{self.called}: found {self.head}, expected a model with one that predicts "
                "tokens, or no surprisal among the quantities"
            )
        self.layers = [len(decoder.blocks)]
        self.modules = {(self.layers[0], STREAM): self.head}
        config = decoder.whole.config.get_text_config()

        self.scale = (_stated(config, FACTORS) or 1.0) / (_stated(config, DIVISORS) or 1.0)
        self.cap = _stated(config, CAPS)

    def _as_stated(self, logits: torch.Tensor) -> torch.Tensor:
        """Scale and cap logits as stated in the model's config."""
        logits = logits if self.scale == 1 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def check(self, passed: BatchPass) -> Check:
        """Compare logits with those that the model gives; it must run its head once."""
        number = self.layers[0]
        times = passed.counts[number, STREAM]
        if times != 1:
            self._refuse(f"{times} passes of its head", "one")
        (stream,) = [layer.stream for layer in passed.layers if layer.layer == number]
        assert stream is not None  # it was given once
        gap = 0.0
        size = 0.0
        hidden = stream.to(self.head.weight.device)
        with torch.inference_mode():
            for rows, outputs in logits_by_rows(self.head, hidden):
                expected = passed.output.logits[0, rows].float().to(outputs.device)
                gap += float((self._as_stated(outputs.float()) - expected).double().square().sum())
                size += float(expected.double().square().sum())
        if not gap**0.5 <= TOLERANCE[self.head.weight.dtype] * size**0.5:
            difference = f"logits that differ by {gap**0.5 / size**0.5:.1e} of their size"
            self._refuse(difference, "those of its head applied to its input")
        return Check(ok=True, error=gap**0.5 / size**0.5 if size else 0.0)

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise UserError(
            f"{self.called}, fails the check of its predictions: found {found}, expected "
            f"{expected}; the quantities may leave surprisal out"
        )

    def of(self, layer: LayerPass) -> torch.Tensor:
        assert layer.stream is not None  # it is needed
        return self.predict(layer.stream, layer.batch)

    @torch.inference_mode()
    def predict(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the predictions at the tokens of a batch, (tokens, ``PREDICTED``).

        ``hidden`` are the inputs of the head, (tokens, width), sequence after sequence. The
        surprisal and rank of a token, and the entropy before it, are NaN for the first token of a
        sequence.
        """
        hidden = hidden.to(self.head.weight.device)
        ids = batch.ids[batch.mask].to(hidden.device)
        check_predicted(self.head, ids, self.called)
        # The last token of a sequence does not predict the next sequence.
        targets = ids.roll(-1)
        surprisals: list[torch.Tensor] = []
        entropies: list[torch.Tensor] = []
        ranks: list[torch.Tensor] = []
        for rows, outputs in logits_by_rows(self.head, hidden):
            logits = self._as_stated(outputs.float())
            surprisal, entropy, rank = self._numbers(logits, targets[rows])
            surprisals.append(surprisal)
            entropies.append(entropy)
            ranks.append(rank)
        entropy = torch.cat(entropies)
        before = torch.stack([torch.cat(surprisals), entropy, torch.cat(ranks)], dim=1)
        before = before.roll(1, dims=0)
        before[batch.starts.to(hidden.device)] = torch.nan
        return torch.cat([before[:, :2], entropy[:, None], before[:, 2:]], dim=1)

    def _numbers(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return surprisal and rank of a token for each row, and the entropy of the prediction."""
        target = logits.gather(1, targets[:, None])
        rank = (logits > target).sum(-1) + 1
        largest = logits.max(-1).values
        shifted = logits - largest[:, None]
        exponentials = shifted.exp()
        total = exponentials.sum(-1, dtype=torch.float64)
        weighted = torch.linalg.vecdot(exponentials, shifted).double()
        surprisal = largest.double() + total.log() - target[:, 0].double()
        entropy = total.log() - weighted / total
        return surprisal.float(), entropy.float(), rank.float()
