"""What adjustments say: their direct effect on the logits of some words, given the last norm.

The input of the head is h = (x ∘ γ) / σ + β, where x is the stream after the last block, less its
mean in a LayerNorm, and σ is a number per token, treated as given. The logits W h + b are then
linear in x, which is the sum of the embedding and of all that sublayers add: an adjustment a adds
d_w = ⟨W_w - W̄, z⟩ / σ, z = a ∘ γ (a less its mean in a LayerNorm), to the logit of word w, centred
over the vocabulary. In units of its standard deviation over the vocabulary, σ and any factor of the
logits cancel: d_w = ⟨W_w - W̄, z⟩ / √(z'Cz), where C is the covariance of the rows of W over the
vocabulary. A soft cap bends the sum of all effects, so effects are on logits before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.model.decoder import Decoder
from attnlag.model.hooks import PROJECTED, STREAM
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.computation import Check, Computation
from attnlag.quantities.layer_pass import BatchPass, LayerPass
from attnlag.quantities.surprisal import check_predicted, head_of, logits_by_rows
from attnlag.quantities.traced_tables import TARGETS

# Number of words of the vocabulary that are summed up at once.
WORDS_AT_ONCE = 8192

# Bound on the error of the sum of all effects, relative to the size of the centred logits.
LOGITS_BOUND = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class LinearNorm:
    """The last norm as z / σ + β, with z = x ∘ γ, or (x less its mean) ∘ γ."""

    bias: torch.Tensor  # β, (width,) float64
    gain: torch.Tensor  # γ, (width,) float64
    centred: bool  # whether the mean is removed, as in a LayerNorm

    def z(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return z of vectors, (tokens, width): the input of the head that they give, up to σ."""
        if self.centred:
            vectors = vectors - vectors.mean(-1, keepdim=True)
        return vectors * self.gain.to(vectors)


@dataclass(frozen=True)
class Readout:
    """The last norm and the head of a model, as a linear map of what sublayers add.

    It computes direct logit attribution.
    """

    head: Any  # with weights W, (vocabulary, width)
    called: str  # the model, for messages
    norm: LinearNorm
    mean: torch.Tensor  # W̄, of the rows of W, (width,) float64
    covariance: torch.Tensor  # C, of these rows, (width, width)

    def top1(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the word with the largest logit for each input of the head, (tokens,)."""
        words = [logits.argmax(-1) for _, logits in logits_by_rows(self.head, hidden)]
        return torch.cat(words)

    def target_rows(self, ids: torch.Tensor, hidden: torch.Tensor) -> list[torch.Tensor]:
        """Return W_w - W̄ of the words that effects in one sequence are on, (tokens, width) each.

        Parameters
        ----------
        ids : torch.Tensor
            The tokens, (tokens,).
        hidden : torch.Tensor
            The inputs of the head, (tokens, width).

        Returns
        -------
        list of torch.Tensor
            For the `TARGETS` of each token, then for those of the token half a sequence away.

        Raises
        ------
        UserError
            If the head does not predict one of the tokens.
        """
        device = self.head.weight.device
        ids = ids.to(device)
        check_predicted(self.head, ids, self.called)
        words = torch.stack([ids, ids.roll(-1), self.top1(hidden.to(device))])
        words = torch.cat([words, words.roll(len(ids) // 2, dims=1)])
        weight: torch.Tensor = self.head.weight
        dtype = self.covariance.dtype
        return [(weight[targets].double() - self.mean).to(dtype) for targets in words]

    def effects(self, vectors: torch.Tensor, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the effects of vectors in one sequence, (tokens, targets).

        Parameters
        ----------
        vectors : torch.Tensor
            What a site adds in one layer, (tokens, width).
        rows : sequence of torch.Tensor
            Those of `target_rows`.

        Returns
        -------
        torch.Tensor
            Effects in standard deviations over the vocabulary. The last token has no next one: NaN.
        """
        tokens = len(vectors)
        z = self.norm.z(vectors.to(self.head.weight.device, self.covariance.dtype))
        spread = ((z @ self.covariance) * z).sum(-1).sqrt()
        effects = torch.stack([(row * z).sum(-1) / spread for row in rows], dim=1)
        next_word = TARGETS.index("next")
        effects[-1, next_word] = torch.nan
        effects[(tokens // 2 - 1) % tokens, next_word + len(TARGETS)] = torch.nan
        return effects


class ReadoutEffects(Computation):
    """The effects of a site's adjustments on the logits of some words of one sequence.

    Attributes
    ----------
    head : torch.nn.Module or str
        The head of the model, or why there is none to read out.
    readout : Readout or None
        How effects are computed, at any site, once the check has found it.
    """

    shape = (2 * len(TARGETS),)

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        blocks = decoder.blocks
        self.layers = [
            number for number, block in enumerate(blocks) if block.sublayers.keys() >= self.needs
        ]
        self.blocks = len(blocks)
        self.head: Any = head_of(decoder)
        self.norms: list[torch.nn.Module] = []
        if not isinstance(self.head, str):
            self.modules = {(self.blocks, STREAM): self.head, (self.blocks, PROJECTED): self.head}
            self.norms = _norms_of_the_stream(decoder, self.head.weight.shape[1])
        self.readout: Readout | None = None
        # The words of the sequence, see `Readout.target_rows`.
        self.rows: list[torch.Tensor] = []

    def check(self, passed: BatchPass) -> Check:
        """Find the last norm, with which the effects of all sublayers add up to the logits.

        The pass over one sequence has what enters the first block, what all sublayers add, and the
        input and the output of the head, whose rows are the tokens.
        """
        if isinstance(self.head, str):
            return Check(ok=False, reason=self.head)
        if passed.problem:
            return Check(ok=False, reason=passed.problem)
        times = passed.counts[self.blocks, STREAM]
        if times != 1:
            return Check(ok=False, reason=f"the model runs its head {times} times, expected once")
        if not self.norms:
            return Check(ok=False, reason="no norm outside the blocks is found")
        mean, covariance = _moments(self.head.weight)
        errors: list[float] = []
        for module in self.norms:
            norm = _linear_norm(module, self.head.weight)
            error = _error(self.head, norm, mean, passed)
            if error <= LOGITS_BOUND[self.head.weight.dtype]:
                self.readout = Readout(self.head, self.called, norm, mean, covariance)
                return Check(ok=True, error=error)
            errors.append(error)
        least = min(errors)
        reason = f"the effects of all sublayers add up to the logits only within {least:.1e}"
        return Check(ok=False, error=least, reason=reason)

    def begin_sequence(self, readout: Readout, rows: list[torch.Tensor]) -> None:
        """Prepare for the layers of the next sequence, given its `Readout.target_rows`, as there.

        The readout that the check of one site has found serves all sites.
        """
        self.readout = readout
        self.rows = rows

    @torch.inference_mode()
    def of(self, layer: LayerPass) -> torch.Tensor:
        assert self.readout is not None  # a sequence has begun
        return self.readout.effects(layer.vectors(self.site), self.rows)


def _norms_of_the_stream(decoder: Decoder, width: int) -> list[torch.nn.Module]:
    """Return the norms outside blocks that can have vectors of a width, the last module first."""
    inside: set[int] = set()
    for block in decoder.blocks:
        inside.update(map(id, block.block.modules()))
    norms: list[torch.nn.Module] = []
    for module in decoder.whole.modules():
        if id(module) in inside or "norm" not in type(module).__name__.lower():
            continue
        # Norms of a part of a vector have fewer weights, and some norms have none.
        if all(parameter.shape == (width,) for parameter in module.parameters()):
            norms.append(module)
    return norms[::-1]


def _linear_norm(norm: torch.nn.Module, weight: torch.Tensor) -> LinearNorm:
    """Return a norm as a linear map, found by what it gives for three vectors."""
    # A norm of ones is zero if the mean is removed, and one of zeros is its bias.
    like = next(norm.parameters(), weight)
    probes = like.new_tensor([[0.0], [1.0]]).expand(2, weight.shape[1]).clone()
    signs = torch.ones_like(probes[:1])
    signs[:, 1::2] = -1
    with torch.inference_mode():
        bias, from_ones, signed = norm(torch.cat([probes, signs])).double().to(weight.device)
    centred = bool((from_ones - bias).norm() < 0.1 * (signed - bias).norm())
    signs = signs[0].double().to(weight.device)
    if centred:
        signs = signs - signs.mean()
    return LinearNorm(bias, (signed - bias) / signs, centred)


def _moments(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of the rows of weights in float64, and their covariance in float32."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    count, width = weight.shape
    total = weight.new_zeros(width, dtype=torch.float64)
    products = torch.zeros(width, width, dtype=torch.float64, device=weight.device)
    for start in range(0, count, WORDS_AT_ONCE):
        rows = weight[start : start + WORDS_AT_ONCE].detach().to(dtype)
        total += rows.sum(0, dtype=torch.float64)
        products += rows.T @ rows
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    return mean, covariance.to(dtype)


def _around_the_head(passed: BatchPass) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what a pass over one sequence gives before and after the last norm and the head.

    These are the sum of the embedding and of all that sublayers add, (tokens, width) float64 on the
    CPU, what enters the head, (tokens, width), and what leaves it, (tokens, vocabulary).
    """
    *layers, head = passed.layers
    assert layers[0].stream is not None  # the check needs all of these
    assert head.stream is not None
    assert head.projected is not None
    stream = layers[0].stream.double().cpu()
    for layer in layers:
        for added in layer.added.values():
            stream = stream + added.double().cpu()
    return stream, head.stream, head.projected


@torch.inference_mode()
def _error(head: Any, norm: LinearNorm, mean: torch.Tensor, passed: BatchPass) -> float:
    """Return the error of the sum of all effects and biases, relative to the centred logits."""
    stream, hidden, logits = _around_the_head(passed)
    device = head.weight.device
    z = norm.z(stream.to(device))
    beyond = hidden.to(device).double() - norm.bias
    inverse = (z * beyond).sum(-1) / z.square().sum(-1)
    offset = getattr(head, "bias", None)
    middle: Any = 0.0 if offset is None else offset.double().mean()
    centre = logits.to(device).double().mean(-1, keepdim=True)
    gap = 0.0
    size = 0.0
    for start in range(0, len(head.weight), WORDS_AT_ONCE):
        part = slice(start, start + WORDS_AT_ONCE)
        rows = head.weight[part].double() - mean
        total = (z * inverse[:, None] + norm.bias) @ rows.T
        if offset is not None:
            total += offset[part].double() - middle
        expected = logits[:, part].to(device).double() - centre
        gap += float((total - expected).square().sum())
        size += float(expected.square().sum())
    return (gap / size) ** 0.5
