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

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from attnlag.model import hooks, identity
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import NotGiven
from attnlag.model.language_models import quiet_transformers
from attnlag.quantities.heads import LayerHeads
from attnlag.quantities.traced_tables import PREVIOUS, SOURCE_CLASSES, STRONGEST

# Name under which the function below serves as an implementation of attention.
IMPLEMENTATION = "attnlag_sources"

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

Numbers = dict[str, torch.Tensor]


@contextmanager
def traced(
    decoder: Decoder,
    layers: Mapping[int, LayerHeads],
    verified: int = 0,
) -> Iterator[tuple[dict[int, Numbers], dict[int, str]]]:
    """Yield what tokens write in a pass over one sequence, by layer, see `written_by_token`.

    The second dictionary says why other layers have none. One layer's weights of attention are in
    memory at a time. ``verified`` is the number of tokens for which the vectors are built and
    compared. Raise NotGiven in the pass if an attention has no implementation that gives weights.
    """
    model, blocks = decoder.model, decoder.blocks
    gated = decoder.config.model_type in GATED_TYPES
    numbers: dict[int, Numbers] = {}
    reasons = {number: f"layer {number} computes attention by itself" for number in layers}
    attended: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
    owners = {id(module): number for number in layers for module in blocks[number].block.modules()}

    def attend(
        module: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise NotGiven(f"{type(module).__name__} has no attention that gives its weights")
        out, weights = eager(module, query, key, value, *args, **options)
        number = owners.get(id(module))
        if number is not None:
            reasons[number] = f"layer {number} adds what its output projection has not made"
            try:
                attended[number] = *_checked(layers[number], value, out, weights), out
            except NotGiven as reason:
                reasons[number] = f"in layer {number}, {reason}"
        return out, weights

    def project(number: int, _: str, entering: torch.Tensor) -> None:
        if number not in attended:
            return
        layer, (values, weights, out) = layers[number], attended.pop(number)
        gate = None
        if gated:
            own = out.reshape(values.shape[1], layer.count, -1)
            # The quotient is as exact as numbers of this precision, however small they are.
            gate = torch.where(own == 0, 0, entering.reshape(own.shape) / own)
        numbers[number] = written_by_token(layer, values, weights, gate, verified)
        del reasons[number]

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    before = model.config._attn_implementation
    with quiet_transformers():
        model.set_attn_implementation(IMPLEMENTATION)
    try:
        modules = {(number, hooks.HEADS): layer.projection for number, layer in layers.items()}
        with hooks.tap(blocks, (), project, modules):
            yield numbers, reasons
    finally:
        with quiet_transformers():
            model.set_attn_implementation(before)


def _checked(
    layer: LayerHeads, value: Any, out: torch.Tensor, weights: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values and the weights of one sequence, by head, of groups of queries too.

    Some attention multiplies the weighted sum of a head by a number, such as what a learned sink
    leaves; the weights then include it.
    """
    shape = None if weights is None else tuple(weights.shape)
    tokens = value.shape[2]
    if shape != (1, layer.count, tokens, tokens) or layer.count % value.shape[1]:
        raise NotGiven(
            f"attention gives weights of shape {shape} and values of shape {tuple(value.shape)}, "
            f"expected weights for each pair of tokens and {layer.count} heads"
        )
    if weights.triu(1).any():
        raise NotGiven("attention gives weights of tokens after a token's own")
    values = value[0].repeat_interleave(layer.count // value.shape[1], dim=0)
    if values.shape[2] * layer.count != layer.inputs:
        raise NotGiven(
            f"heads have {values.shape[2]} values, and {layer.inputs} inputs of their "
            f"projection are not {layer.count} times as many"
        )
    weights, out = weights[0], out.reshape(tokens, layer.count, -1).transpose(0, 1)
    summed, bound = weights @ values, identity.TOLERANCE[out.dtype] * out.float().norm()
    if not (summed - out).float().norm() <= bound:
        factor = (summed * out).float().sum(-1) / summed.float().square().sum(-1)
        weights = weights * factor[..., None].to(weights.dtype)
        if not (weights @ values - out).float().norm() <= bound:
            raise NotGiven("attention gives more than the sum of its values")
    return values, weights


def classes_of(tokens: int) -> torch.Tensor:
    """Return the place in `SOURCE_CLASSES` of each source (columns) of each token (rows)."""
    places = torch.arange(tokens)
    distance = (places[:, None] - places).clamp(0, PREVIOUS + 1)
    classes = distance + 1
    classes[:, :1] = 0
    return classes


def written_by_token(
    layer: LayerHeads,
    values: torch.Tensor,
    weights: torch.Tensor,
    gate: torch.Tensor | None = None,
    verified: int = 0,
) -> Numbers:
    """Return what each token of a sequence writes to each later one, summed up by token.

    Values are (heads, tokens, inputs), weights (heads, tokens, tokens), and the gate, which
    multiplies the sum over values, (tokens, heads, inputs). Beside the columns of the table of
    sources there are ``to_self`` and ``from_before``, norms over the adjustment's; ``added``, the
    adjustment up to c; ``to_first``, the attention of each head to the first token; and ``error``,
    the difference between shares and those of the vectors, for the first ``verified`` tokens.
    """
    count, tokens, _ = values.shape
    # In float64, because shares may be small differences.
    values, device = values.double(), values.device
    projection, bias = layer.weights.to(device), layer.bias.to(device)
    gathered = torch.stack([weights[h].double() @ values[h] for h in range(count)], dim=1)
    own = (weights.diagonal(dim1=1, dim2=2).double()[..., None] * values).transpose(0, 1)
    if gate is not None:
        gathered, own = gathered * gate, own * gate
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
    numbers = {
        "shares": by_class.scatter_add(1, places, shares),
        "attention": by_class.scatter_add(1, places, weights.mean(0, dtype=torch.float64)),
        "bias": added @ bias / size,
        "effective": shares.abs().sum(1).square() / shares.square().sum(1),
        "strongest": strongest,
        "strongest_shares": shares.gather(1, strongest),
        "to_self": to_self.norm(dim=-1) / norm,
        "from_before": (written - to_self).norm(dim=-1) / norm,
        "added": added,
        "to_first": weights[:, :, 0].T,
    }
    check = values[:, :verified], weights[:, :verified, :verified]
    return numbers | {"error": _error(*check, gate, projection, numbers)}


def _error(
    values: torch.Tensor,
    weights: torch.Tensor,
    gate: torch.Tensor | None,
    projection: torch.Tensor,
    numbers: Numbers,
) -> torch.Tensor:
    """Return how far shares are from those of the vectors that tokens write, and sums from 1."""
    count, tokens, _ = values.shape
    if gate is None:
        by_head = projection.view(count, -1, projection.shape[1])
        vectors = torch.einsum("htj,hjw->tjw", weights.double(), values @ by_head)
    else:
        gate = gate[:tokens].double()
        gated = torch.einsum("htj,hji,thi->tjhi", weights.double(), values, gate)
        vectors = gated.flatten(2) @ projection
    added, shares = numbers["added"][:tokens], numbers["shares"]
    direct = (vectors @ added[:, :, None])[..., 0] / added.square().sum(-1, keepdim=True)
    places = classes_of(tokens).to(direct.device)
    by_class = torch.zeros_like(shares[:tokens]).scatter_add(1, places, direct)
    sums = shares.sum(1) + numbers["bias"] - 1
    return torch.cat([(by_class - shares[:tokens]).flatten(), sums]).abs().max()
