"""What adjustments say: their direct effect on the logits of some words, given the last norm.

The input of the head is h = (x ∘ γ) / σ + β, where x is the stream after the last block, less its
mean in a LayerNorm, and σ is a number per token, treated as given. The logits W h + b are then
linear in x, which is the sum of the embedding and of all that sublayers add: an adjustment a adds
d_w = ⟨W_w - W̄, z⟩ / σ, z = a ∘ γ (a less its mean in a LayerNorm), to the logit of word w, centred
over the vocabulary. In units of its standard deviation over the vocabulary, σ and any factor of the
logits cancel: d_w = ⟨W_w - W̄, z⟩ / √(z'Cz), where C is the covariance of the rows of W over the
vocabulary. A soft cap bends the sum of all effects, so effects are on logits before it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEAD, PROJECTED, SUBLAYERS, NotGiven
from attnlag.quantities.surprisal import check_predicted, head_of, logits_by_rows
from attnlag.quantities.traced_tables import TARGETS

# Number of words of the vocabulary that are summed up at once.
PART = 8192

# Bound on the error of the sum of all effects, relative to the size of the centred logits.
LOGITS_BOUND = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class Readout:
    """The last norm and the head of a model, as a linear map of what sublayers add.

    It is verified on the tokens of a sequence, (tokens,). Raise NotGiven if there is no head, or no
    LayerNorm or RMSNorm between the last block and the head, or if the sum of all effects is not
    the model's logits.
    """

    def __init__(self, decoder: Decoder, ids: torch.Tensor):
        self.head: Any = head_of(decoder)
        self.called = decoder.called
        weight = self.head.weight
        self.dtype = torch.promote_types(weight.dtype, torch.float32)
        stream, hidden, logits, norm = self._observed(decoder, ids)
        # A norm of ones is zero if the mean is removed, and one of zeros is its bias.
        like = next(norm.parameters(), weight)
        probes = like.new_tensor([[0.0], [1.0]]).expand(2, weight.shape[1]).clone()
        signs = torch.ones_like(probes[:1])
        signs[:, 1::2] = -1
        with torch.inference_mode():
            self.bias, from_ones, signed = (
                norm(torch.cat([probes, signs])).double().to(weight.device)
            )
        self.centred = bool((from_ones - self.bias).norm() < 0.1 * (signed - self.bias).norm())
        signs = signs[0].double().to(weight.device)
        self.gain = (signed - self.bias) / (signs - signs.mean() if self.centred else signs)
        count = len(weight)
        self.mean: torch.Tensor = weight.new_zeros(weight.shape[1], dtype=torch.float64)
        covariance = torch.zeros(2 * weight.shape[1:], dtype=torch.float64, device=weight.device)
        for start in range(0, count, PART):
            rows = weight[start : start + PART].detach().to(self.dtype)
            self.mean += rows.sum(0, dtype=torch.float64)
            covariance += rows.T @ rows
        self.mean /= count
        covariance = covariance / count - torch.outer(self.mean, self.mean)
        self.covariance = covariance.to(self.dtype)
        with torch.inference_mode():
            # The effects and biases together give the model's centred logits up to this error.
            self.error = self._error(stream, hidden, logits)
        if not self.error <= LOGITS_BOUND[weight.dtype]:
            raise NotGiven(
                f"the effects of all sublayers add up to the logits only within {self.error:.1e}"
            )

    def _observed(
        self, decoder: Decoder, ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.nn.Module]:
        """Return the sum of embedding and sublayers, input and output of the head, and the norm."""
        inside = {id(module) for block in decoder.blocks for module in block.block.modules()}
        outer = [module for module in decoder.whole.modules() if id(module) not in inside]
        norms = [module for module in outer if "norm" in type(module).__name__.lower()]
        modules = {(place, PROJECTED): module for place, module in enumerate([self.head, *norms])}
        given: defaultdict[tuple[int, str], list[torch.Tensor]] = defaultdict(list)
        mask = torch.ones(1, len(ids), dtype=torch.bool)
        with (
            hooks.tap(
                (),
                (),
                lambda place, point, value: given[place, point].append(value),
                {**modules, (0, HEAD): self.head},
            ),
            hooks.observed(decoder.blocks, mask, (*SUBLAYERS, hooks.STREAM)) as layers,
        ):
            hooks.forward(decoder.whole, ids[None])
        if (times := len(given[0, HEAD])) != 1:
            raise NotGiven(f"the model runs its head {times} times, expected once")
        hidden, logits = given[0, HEAD][0], given.pop((0, PROJECTED))[0]
        total = [
            rows.double().cpu()
            for layer, seen in layers.items()
            for point, rows in seen.items()
            if point != hooks.STREAM or layer == 0
        ]
        for (place, point), outputs in given.items():
            if point == PROJECTED and any(torch.equal(output, hidden) for output in outputs):
                return sum(total[1:], total[0]), hidden[0], logits[0], norms[place - 1]
        raise NotGiven("no norm between the last block and the head is found")

    def _error(self, stream: torch.Tensor, hidden: torch.Tensor, logits: torch.Tensor) -> float:
        """Return the error of the sum of all effects and biases, for the check."""
        device = self.head.weight.device
        z, hidden = self.z_of(stream.to(device)), hidden.to(device).double()
        beyond = hidden - self.bias
        inverse = (z * beyond).sum(-1) / z.square().sum(-1)
        offset = getattr(self.head, "bias", None)
        gap = size = 0.0
        centre = logits.double().mean(-1, keepdim=True)
        middle = 0.0 if offset is None else offset.double().mean()
        for start in range(0, len(self.head.weight), PART):
            part = slice(start, start + PART)
            rows = self.head.weight[part].double() - self.mean
            total = (z * inverse[:, None] + self.bias) @ rows.T
            if offset is not None:
                total += offset[part].double() - middle
            expected = logits[:, part].double() - centre
            gap += float((total - expected).square().sum())
            size += float(expected.square().sum())
        return (gap / size) ** 0.5

    def z_of(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return z of vectors, (tokens, width): the input of the head that they give, up to σ."""
        if self.centred:
            vectors = vectors - vectors.mean(-1, keepdim=True)
        return vectors * self.gain.to(vectors)

    def top1(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the word with the largest logit for each input of the head, (tokens,)."""
        words = [logits.argmax(-1) for _, logits in logits_by_rows(self.head, hidden)]
        return torch.cat(words)

    @torch.inference_mode()
    def effects(
        self, layers: Sequence[torch.Tensor], ids: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        """Return the effects of vectors in one sequence, (layers, tokens, 2 targets).

        They are on the `TARGETS` of each token, then on those of the token half a sequence away;
        the last token has no next one: NaN. The vectors of each layer and the inputs of the head
        are (tokens, width).
        """
        device = self.head.weight.device
        ids = ids.to(device)
        check_predicted(self.head, ids, self.called)
        words = torch.stack([ids, ids.roll(-1), self.top1(hidden.to(device))])
        words = torch.cat([words, words.roll(len(ids) // 2, dims=1)])
        weight: torch.Tensor = self.head.weight
        rows = [(weight[targets].double() - self.mean).to(self.dtype) for targets in words]
        by_layer = []
        for vectors in layers:
            z = self.z_of(vectors.to(device, self.dtype))
            spread = ((z @ self.covariance) * z).sum(-1).sqrt()
            by_layer.append(torch.stack([(row * z).sum(-1) / spread for row in rows], dim=1))
        effects = torch.stack(by_layer)
        place = TARGETS.index("next")
        effects[:, -1, place] = torch.nan
        effects[:, (len(ids) // 2 - 1) % len(ids), place + len(TARGETS)] = torch.nan
        return effects
