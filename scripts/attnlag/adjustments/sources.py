"""The parts of an attention adjustment that each earlier token writes.

With the notation of `heads`, an adjustment is a_t = Σ_j c_tj + b_t, where c_tj = c Σ_h α^h_tj v^h_j
W_h g is what token j writes to token t through its values v and the weights α of attention, and b_t
is the bias. The share of token j is s_tj = ⟨c_tj, a_t⟩ / |a_t|². Shares are exact and signed, and
those of all tokens and the bias add up to 1. With u^h_t = (a_t ∘ g) W_h', ⟨c^h_tj, a_t⟩ is α^h_tj
(v^h_j · u^h_t), so no vector of the width of the stream is formed for a pair of tokens. The
factor c cancels.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from attnlag.adjustments.heads import LayerHeads
from attnlag.adjustments.traced_tables import PREVIOUS, SOURCE_CLASSES, STRONGEST
from attnlag.model.architectures import BlockModules
from attnlag.model.hooks import NotGiven
from attnlag.model.language_models import quiet_transformers

# Name under which the function below serves as an implementation of attention.
IMPLEMENTATION = "attnlag_sources"

Numbers = dict[str, torch.Tensor]


@contextmanager
def traced(
    model: Any,
    blocks: Sequence[BlockModules],
    layers: Mapping[int, LayerHeads],
    proved: int = 0,
) -> Iterator[dict[int, Numbers]]:
    """Yield what tokens write in a pass over one sequence, by layer, see `written_by_token`.

    The model's implementation of attention is changed within the context; layers that do not call
    it are left out. One layer's weights of attention are in memory at a time. ``proved`` is the
    number of tokens for which the vectors are built and compared. Raise NotGiven in the pass if
    weights or values are not one number for each head and pair of tokens.
    """
    owners = {id(module): number for number in layers for module in blocks[number].block.modules()}
    numbers: dict[int, Numbers] = {}

    def attend(module: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any) -> Any:
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise NotGiven(f"{type(module).__name__} has no attention that gives its weights")
        out, weights = eager(module, query, key, value, *args, **options)
        number = owners.get(id(module))
        if number is not None:
            values, by_head = _checked(layers[number], value, weights)
            numbers[number] = written_by_token(layers[number], values, by_head, proved)
        return out, weights

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    before = model.config._attn_implementation
    with quiet_transformers():
        model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield numbers
    finally:
        with quiet_transformers():
            model.set_attn_implementation(before)


def _checked(layer: LayerHeads, value: Any, weights: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values and the weights of one sequence, by head, of groups of queries too."""
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
    if values.shape[2] * layer.count != len(layer.weights):
        raise NotGiven(
            f"heads have {values.shape[2]} values, and {len(layer.weights)} inputs of their "
            f"projection are not {layer.count} times as many"
        )
    return values, weights[0]


def classes_of(tokens: int) -> torch.Tensor:
    """Return the place in `SOURCE_CLASSES` of each source (columns) of each token (rows)."""
    places = torch.arange(tokens)
    distance = (places[:, None] - places).clamp(0, PREVIOUS + 1)
    classes = distance + 1
    classes[:, :1] = 0
    return classes


def written_by_token(
    layer: LayerHeads, values: torch.Tensor, weights: torch.Tensor, proved: int = 0
) -> Numbers:
    """Return what each token of a sequence writes to each later one, summed up by token.

    Parameters
    ----------
    values : (heads, tokens, inputs) tensor
    weights : (heads, tokens, tokens) tensor

    Returns
    -------
    numbers : dict of str to float64 tensor
        ``shares`` and ``attention`` (mean over heads) of the `SOURCE_CLASSES` of each token;
        ``bias``, its share; ``effective``, (Σ|s|)² / Σ s²; ``strongest``, the `STRONGEST` sources,
        and ``strongest_shares``; ``to_self`` and ``from_before``, norms over the adjustment's;
        ``added``, the adjustment up to c; ``to_first``, the attention of each head to the first
        token; ``error``, the difference between shares and those of the vectors, for the first
        tokens.
    """
    count, tokens, _ = values.shape
    # In float64, because shares may be small differences.
    values, device = values.double(), values.device
    projection = layer.weights if layer.gain is None else layer.weights * layer.gain
    bias = layer.bias if layer.gain is None else layer.bias * layer.gain
    projection, bias = projection.to(device), bias.to(device)
    gathered = torch.stack([weights[h].double() @ values[h] for h in range(count)], dim=1)
    written = gathered.reshape(tokens, -1) @ projection
    added = written + bias
    size = added.square().sum(-1)
    along = (added @ projection.T).view(tokens, count, -1)
    shares = torch.zeros(tokens, tokens, dtype=torch.float64, device=device)
    for head in range(count):
        shares += weights[head].double() * (along[:, head] @ values[head].T)
    shares /= size[:, None]
    own = weights.diagonal(dim1=1, dim2=2).double()[..., None] * values
    to_self = own.transpose(0, 1).reshape(tokens, -1) @ projection
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
    proof = values[:, :proved], weights[:, :proved, :proved]
    return numbers | {"error": _error(*proof, projection, numbers)}


def _error(
    values: torch.Tensor, weights: torch.Tensor, projection: torch.Tensor, numbers: Numbers
) -> torch.Tensor:
    """Return how far shares are from those of the vectors that tokens write, and sums from 1."""
    count, tokens, _ = values.shape
    vectors = torch.einsum(
        "htj,hjw->tjw", weights.double(), values @ projection.view(count, -1, projection.shape[1])
    )
    added, shares = numbers["added"][:tokens], numbers["shares"]
    direct = (vectors @ added[:, :, None])[..., 0] / added.square().sum(-1, keepdim=True)
    places = classes_of(tokens).to(direct.device)
    by_class = torch.zeros_like(shares[:tokens]).scatter_add(1, places, direct)
    sums = shares.sum(1) + numbers["bias"] - 1
    return torch.cat([(by_class - shares[:tokens]).flatten(), sums]).abs().max()
