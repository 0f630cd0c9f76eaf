"""The parts of an attention adjustment that each earlier token writes.

With the notation of `heads`, an adjustment is a_t = Σ_j c_tj + b_t, where c_tj = c Σ_h α^h_tj v^h_j
W_h g is what token j writes to token t through its values v and the weights α of attention, and b_t
is the bias. The share of token j is s_tj = ⟨c_tj, a_t⟩ / |a_t|². Shares are exact and signed, and
those of all tokens and the bias add up to 1. With u^h_t = (a_t ∘ g) W_h', ⟨c^h_tj, a_t⟩ is α^h_tj
(v^h_j · u^h_t), so no vector of the width of the stream is formed for a pair of tokens. The
factor c cancels. If a gate γ_t multiplies Σ_j α^h_tj v^h_j channel by channel before the
projection, v^h_j ∘ γ^h_t takes the place of v^h_j; like c, the gate is given, whatever it depends
on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from attnlag.model import identity
from attnlag.model.attention import AttentionPass
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEADS
from attnlag.quantities import heads
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.computation import Check, Computation
from attnlag.quantities.heads import LayerHeads
from attnlag.quantities.layer_pass import BatchPass, LayerPass
from attnlag.quantities.traced_tables import PREVIOUS, SOURCE_CLASSES, STRONGEST

# Types in which nothing but a gate that depends on no value lies between attention and its output
# projection, as ablation shows, see benchmarks/architectures.py. In others, nothing may lie there.
GATED_TYPES = (
    "afmoe",
    "axk2",
    "laguna",
    "lfm3",
    "muse_glimmer_text",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_next",
    "step3p5",
)

# Bound on the errors of shares.
SHARES_BOUND = 1e-5


@dataclass(frozen=True)
class HeadValues:
    """The values and weights of attention in one sequence, by head."""

    values: torch.Tensor  # (heads, tokens, inputs)
    weights: torch.Tensor  # (heads, tokens, tokens)
    # What multiplies the sum over values, (tokens, heads, inputs); None where nothing does.
    gate: torch.Tensor | None = None


@dataclass(frozen=True)
class Written:
    """What each token of a sequence writes to each later one, summed up by token."""

    shares: torch.Tensor  # (tokens, classes): of the adjustment, by `SOURCE_CLASSES`
    attention: torch.Tensor  # (tokens, classes): mean weight over heads
    bias: torch.Tensor  # (tokens,): share of the bias
    effective: torch.Tensor  # (tokens,): effective number of sources
    strongest: torch.Tensor  # (tokens, up to `STRONGEST`): positions of the largest shares
    strongest_shares: torch.Tensor  # (tokens, up to `STRONGEST`)
    # Norms of what a token writes to itself and of what earlier ones write, over the adjustment's.
    to_self: torch.Tensor  # (tokens,)
    from_before: torch.Tensor  # (tokens,)
    added: torch.Tensor  # (tokens, width): the adjustment up to c
    to_first: torch.Tensor  # (tokens, heads): attention to the first token


@dataclass(frozen=True)
class LayerSources:
    """The sources of a layer's adjustments in one sequence."""

    # Whether what tokens write makes up the adjustment.
    check: Check
    # By column of the table of sources, see `traced_tables`, tokens first; empty if the check
    # fails.
    columns: Mapping[str, torch.Tensor]
    to_first: torch.Tensor | None = None  # (tokens, heads): attention to the first token


ATTENTION_COLUMNS = [f"attention_{name}" for name in SOURCE_CLASSES]


class Sources(Computation):
    """The tokens that write the adjustments of attention, in the layers that have heads."""

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        self.heads, self.without = heads.located(decoder.blocks, decoder.config)
        self.layers = list(self.heads)
        for number, layer in self.heads.items():
            self.modules[number, HEADS] = layer.projection
        self.gated = decoder.config.model_type in GATED_TYPES
        self.bound = identity.TOLERANCE[decoder.dtype]

    def check(self, passed: BatchPass) -> Check:
        """Compare shares with those of the vectors that tokens write in a pass over one sequence.

        ``without`` then says why layers were taken from ``layers``.
        """
        errors: list[float] = []
        reasons: list[str] = []
        layers: list[int] = []
        for layer in passed.layers:
            if layer.layer not in self.layers:
                continue
            check = self._check_vectors(layer)
            if check.ok:
                layers.append(layer.layer)
                errors.append(check.error)
            else:
                reasons.append(check.reason)
        self.layers = layers
        self.without = [*self.without, *reasons]
        if not layers:
            return Check(ok=False, reason=self.without[0])
        return Check(ok=True, error=max(errors), reason="; ".join(reasons[:1]))

    def of(self, layer: LayerPass) -> LayerSources:
        """Return the sources of a layer in one sequence, or why it has none.

        What tokens write and the bias must make up the adjustment.
        """
        attended = self._attended(layer)
        if isinstance(attended, str):
            return LayerSources(Check(ok=False, reason=attended), {})
        written = self._written(layer.layer, attended)
        check = self._check_sums(layer, written, _sums_error(written))
        if not check.ok:
            return LayerSources(check, {})
        size = layer.added["attention"].double().norm(dim=-1)
        columns = {
            **dict(zip(SOURCE_CLASSES, written.shares.T, strict=True)),
            **dict(zip(ATTENTION_COLUMNS, written.attention.T, strict=True)),
            "bias": written.bias,
            "effective": written.effective,
            "norm": size,
            "self_norm": size * written.to_self.to(size.device),
            "shared_norm": size * written.from_before.to(size.device),
            "strongest": written.strongest,
            "strongest_shares": written.strongest_shares,
        }
        return LayerSources(check, columns, written.to_first)

    def _attended(self, layer: LayerPass) -> HeadValues | str:
        """Return the values and weights of a layer in one sequence, or why there are none."""
        number = layer.layer
        if layer.attention is None:
            return f"layer {number} computes attention by itself"
        if layer.heads is None:
            return f"layer {number} adds what its output projection has not made"
        attended = values_by_head(self.heads[number], layer.attention)
        if isinstance(attended, str):
            return f"in layer {number}, {attended}"
        if self.gated:
            return with_gate(attended, layer.attention, layer.heads)
        return attended

    def _written(self, number: int, attended: HeadValues) -> Written:
        """Return what tokens write in a layer."""
        layer_heads = self.heads[number]
        projection = layer_heads.weights.to(attended.values.device)
        return written_by_token(attended, projection, layer_heads.bias)

    def _check_vectors(self, layer: LayerPass) -> Check:
        """Check the shares of a layer by the vectors that tokens write, which are built."""
        attended = self._attended(layer)
        if isinstance(attended, str):
            return Check(ok=False, reason=attended)
        written = self._written(layer.layer, attended)
        projection = self.heads[layer.layer].weights.to(attended.values.device)
        error = max(_sums_error(written), _vectors_error(attended, projection, written))
        return self._check_sums(layer, written, error)

    def _check_sums(self, layer: LayerPass, written: Written, error: float) -> Check:
        """Check that what tokens write adds up to the adjustment, given the error of shares."""
        number = layer.layer
        added = layer.added["attention"].double()
        gap = _gap(self.heads[number], added, written.added.to(added.device))
        if gap <= self.bound and error <= SHARES_BOUND:
            return Check(ok=True, error=error)
        reason = (
            f"in layer {number}, what tokens write adds up to the adjustment only within "
            f"{gap:.1e}, and shares to 1 within {error:.1e}"
        )
        return Check(ok=False, error=error, reason=reason)


def values_by_head(layer: LayerHeads, attention: AttentionPass) -> HeadValues | str:
    """Return the values and weights of one sequence, by head, of groups of queries too.

    Some attention multiplies the weighted sum of a head by a number, such as what a learned sink
    leaves; the weights then include it. If these are not the values and weights of the layer's
    heads, a reason is returned.
    """
    value = attention.values
    weights = attention.weights
    shape = None if weights is None else tuple(weights.shape)
    tokens = value.shape[2]
    if shape != (1, layer.count, tokens, tokens) or layer.count % value.shape[1]:
        return (
            f"attention gives weights of shape {shape} and values of shape {tuple(value.shape)}, "
            f"expected weights for each pair of tokens and {layer.count} heads"
        )
    if weights.triu(1).any():
        return "attention gives weights of tokens after a token's own"
    values = value[0].repeat_interleave(layer.count // value.shape[1], dim=0)
    if values.shape[2] * layer.count != layer.inputs:
        return (
            f"heads have {values.shape[2]} values, and {layer.inputs} inputs of their "
            f"projection are not {layer.count} times as many"
        )
    weights = weights[0]
    output = attention.output.reshape(tokens, layer.count, -1).transpose(0, 1)
    summed = weights @ values
    bound = identity.TOLERANCE[output.dtype] * output.float().norm()
    if not (summed - output).float().norm() <= bound:
        factor = (summed * output).float().sum(-1) / summed.float().square().sum(-1)
        weights = weights * factor[..., None].to(weights.dtype)
        if not (weights @ values - output).float().norm() <= bound:
            return "attention gives more than the sum of its values"
    return HeadValues(values, weights)


def with_gate(
    attended: HeadValues, attention: AttentionPass, projected: torch.Tensor
) -> HeadValues:
    """Return the same with the gate between attention and the output projection.

    ``projected`` are the inputs of the projection, (tokens, inputs).
    """
    count, tokens, _ = attended.values.shape
    output = attention.output.reshape(tokens, count, -1)
    # The quotient is as exact as numbers of this precision, however small they are.
    gate = torch.where(output == 0, 0, projected.reshape(output.shape) / output)
    return HeadValues(attended.values, attended.weights, gate)


def classes_of(tokens: int) -> torch.Tensor:
    """Return the place in `SOURCE_CLASSES` of each source of each token, (tokens, sources)."""
    places = torch.arange(tokens)
    distance = (places[:, None] - places).clamp(0, PREVIOUS + 1)
    classes = distance + 1
    classes[:, :1] = 0
    return classes


def written_by_token(attended: HeadValues, projection: torch.Tensor, bias: torch.Tensor) -> Written:
    """Return what each token of a sequence writes to each later one, summed up by token.

    The output projection W g is (heads × inputs, width), its bias b g (width,), both float64, as
    all numbers here are, because shares may be small differences.
    """
    count, tokens, _ = attended.values.shape
    values = attended.values.double()
    weights = attended.weights
    gate = attended.gate
    device = values.device
    bias = bias.to(device)
    gathered = torch.stack([weights[h].double() @ values[h] for h in range(count)], dim=1)
    own = (weights.diagonal(dim1=1, dim2=2).double()[..., None] * values).transpose(0, 1)
    if gate is not None:
        gathered = gathered * gate
        own = own * gate
    written = gathered.reshape(tokens, -1) @ projection
    added = written + bias
    size = added.square().sum(-1)
    along = (added @ projection.T).view(tokens, count, -1)
    if gate is not None:
        along = along * gate
    shares = torch.zeros(tokens, tokens, dtype=torch.float64, device=device)
    for head in range(count):
        shares += weights[head].double() * (along[:, head] @ values[head].T)
    shares /= size[:, None]
    to_self = own.reshape(tokens, -1) @ projection
    places = classes_of(tokens).to(device)
    by_class = torch.zeros(tokens, len(SOURCE_CLASSES), dtype=torch.float64, device=device)
    later = torch.ones_like(shares, dtype=torch.bool).triu(1)
    strongest = shares.abs().masked_fill(later, -1).topk(min(STRONGEST, tokens)).indices
    norm = size.sqrt()
    return Written(
        shares=by_class.scatter_add(1, places, shares),
        attention=by_class.scatter_add(1, places, weights.mean(0, dtype=torch.float64)),
        bias=added @ bias / size,
        effective=shares.abs().sum(1).square() / shares.square().sum(1),
        strongest=strongest,
        strongest_shares=shares.gather(1, strongest),
        to_self=to_self.norm(dim=-1) / norm,
        from_before=(written - to_self).norm(dim=-1) / norm,
        added=added,
        to_first=weights[:, :, 0].T,
    )


def _gap(layer: LayerHeads, added: torch.Tensor, written: torch.Tensor) -> float:
    """Return the largest relative difference of what tokens write from the adjustment.

    Both are (tokens, width) float64, what they write up to c.
    """
    size = added.norm(dim=-1)
    scale: float | torch.Tensor = layer.scale
    if layer.gain is not None:
        scale = (added * written).sum(-1, keepdim=True) / written.square().sum(-1, keepdim=True)
    gaps = (scale * written - added).norm(dim=-1) / size.clamp_min(size.median())
    return float(gaps.max())


def _sums_error(written: Written) -> float:
    """Return how far the sum of the shares of a token is from 1, at most."""
    sums = written.shares.sum(1) + written.bias - 1
    return float(sums.abs().max())


def _vectors_error(attended: HeadValues, projection: torch.Tensor, written: Written) -> float:
    """Return how far shares are from those of the vectors that tokens write, at most."""
    values = attended.values.double()
    weights = attended.weights.double()
    count, tokens, _ = values.shape
    if attended.gate is None:
        by_head = projection.view(count, -1, projection.shape[1])
        vectors = torch.einsum("htj,hjw->tjw", weights, values @ by_head)
    else:
        gated = torch.einsum("htj,hji,thi->tjhi", weights, values, attended.gate.double())
        vectors = gated.flatten(2) @ projection
    added = written.added
    direct = (vectors @ added[:, :, None])[..., 0] / added.square().sum(-1, keepdim=True)
    places = classes_of(tokens).to(direct.device)
    by_class = torch.zeros_like(written.shares).scatter_add(1, places, direct)
    return float((by_class - written.shares).abs().max())
