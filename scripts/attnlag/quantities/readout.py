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
from dataclasses import dataclass
from typing import Any

import torch

from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import PROJECTED, STREAM, SUBLAYERS
from attnlag.quantities.catalogue import Computation, Quantity
from attnlag.quantities.layer_pass import LayerPass
from attnlag.quantities.surprisal import check_predicted, head_of, logits_by_rows
from attnlag.quantities.traced_tables import TARGETS

# Number of words of the vocabulary that are summed up at once.
WORDS_AT_ONCE = 8192

# Bound on the error of the sum of all effects, relative to the size of the centred logits.
LOGITS_BOUND = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class HeadPass:
    """What a pass over one sequence gives around the head of the model."""

    # The sum of the embedding and of all that sublayers add, (tokens, width) float64.
    stream: torch.Tensor
    hidden: torch.Tensor  # what enters the head, (tokens, width)
    logits: torch.Tensor  # what leaves it, (tokens, vocabulary)
    norm: torch.nn.Module  # the last norm, whose output enters the head


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
    # The effects and biases together give the model's centred logits up to this error, relative.
    error: float

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
    """The effects of a site's adjustments on the logits of some words of one sequence."""

    shape = (2 * len(TARGETS),)

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        layers: list[int] = []
        for number, block in enumerate(decoder.blocks):
            if block.sublayers.keys() >= self.needs:
                layers.append(number)
        self.layers = layers
        # How effects are computed, and the words of the sequence.
        self.readout: Readout | None = None
        self.rows: list[torch.Tensor] = []

    def begin_sequence(self, readout: Readout, rows: list[torch.Tensor]) -> None:
        """Prepare for the layers of the next sequence, given its `Readout.target_rows`."""
        self.readout = readout
        self.rows = rows

    @torch.inference_mode()
    def of(self, layer: LayerPass) -> torch.Tensor:
        assert self.readout is not None  # a sequence has begun
        return self.readout.effects(self.vectors(layer), self.rows)


def readout_of(decoder: Decoder, ids: torch.Tensor) -> Readout | str:
    """Return the last norm and the head of a model, checked on the tokens of a sequence, (tokens,).

    A reason is returned in its place if there is no head, or no LayerNorm or RMSNorm between the
    last block and the head, or if the sum of all effects is not the model's logits.
    """
    head = head_of(decoder)
    if isinstance(head, str):
        return head
    passed = _pass_with_head(decoder, head, ids)
    if isinstance(passed, str):
        return passed
    weight = head.weight
    norm = _linear_norm(passed.norm, weight)
    mean, covariance = _moments(weight)
    with torch.inference_mode():
        error = _error(head, norm, mean, passed)
    if not error <= LOGITS_BOUND[weight.dtype]:
        return f"the effects of all sublayers add up to the logits only within {error:.1e}"
    return Readout(head, decoder.called, norm, mean, covariance, error)


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


def _pass_with_head(decoder: Decoder, head: torch.nn.Module, ids: torch.Tensor) -> HeadPass | str:
    """Return what a pass gives around the head and which norm is the last, or a reason."""
    inside: set[int] = set()
    for block in decoder.blocks:
        inside.update(map(id, block.block.modules()))
    norms: list[torch.nn.Module] = []
    for module in decoder.whole.modules():
        if id(module) not in inside and "norm" in type(module).__name__.lower():
            norms.append(module)
    modules: dict[tuple[int, str], torch.nn.Module] = {(0, STREAM): head}
    for place, module in enumerate([head, *norms]):
        modules[place, PROJECTED] = module
    outputs: defaultdict[tuple[int, str], list[torch.Tensor]] = defaultdict(list)
    added: list[torch.Tensor] = []

    def keep_outer(place: int, point: str, value: torch.Tensor) -> None:
        outputs[place, point].append(value)

    def keep_added(layer: int, point: str, value: torch.Tensor) -> None:
        if point != STREAM or layer == 0:
            rows = decoder.blocks[layer].as_added(point, value.reshape(len(ids), -1))
            added.append(rows.to(torch.float64, copy=True).cpu())

    with (
        hooks.tap((), (), keep_outer, modules),
        hooks.tap(decoder.blocks, (*SUBLAYERS, STREAM), keep_added) as tapped,
        torch.inference_mode(),
    ):
        hooks.forward(decoder.whole, ids[None])
    if tapped.problem:
        return tapped.problem
    times = len(outputs[0, STREAM])
    if times != 1:
        return f"the model runs its head {times} times, expected once"
    (hidden,) = outputs[0, STREAM]
    logits = outputs[0, PROJECTED][0]
    for place, norm in enumerate(norms, start=1):
        for output in outputs[place, PROJECTED]:
            if torch.equal(output, hidden):
                stream = sum(added[1:], added[0])
                return HeadPass(stream, hidden[0], logits[0], norm)
    return "no norm between the last block and the head is found"


def _error(head: Any, norm: LinearNorm, mean: torch.Tensor, passed: HeadPass) -> float:
    """Return the error of the sum of all effects and biases, relative to the centred logits."""
    device = head.weight.device
    z = norm.z(passed.stream.to(device))
    beyond = passed.hidden.to(device).double() - norm.bias
    inverse = (z * beyond).sum(-1) / z.square().sum(-1)
    offset = getattr(head, "bias", None)
    middle: Any = 0.0 if offset is None else offset.double().mean()
    centre = passed.logits.double().mean(-1, keepdim=True)
    gap = 0.0
    size = 0.0
    for start in range(0, len(head.weight), WORDS_AT_ONCE):
        part = slice(start, start + WORDS_AT_ONCE)
        rows = head.weight[part].double() - mean
        total = (z * inverse[:, None] + norm.bias) @ rows.T
        if offset is not None:
            total += offset[part].double() - middle
        expected = passed.logits[:, part].double() - centre
        gap += float((total - expected).square().sum())
        size += float(expected.square().sum())
    return (gap / size) ** 0.5
