"""Values and weights of attention in a pass, from an implementation that gives them."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.model.language_models import quiet_transformers

# The point of a layer at which attention gives its weights, beside those of ``hooks``.
WEIGHTS = "weights"

# Name under which the function below serves as an implementation of attention.
IMPLEMENTATION = "attnlag_weights"


@dataclass(frozen=True)
class AttentionPass:
    """What the attention of a layer gives in a pass, as its implementation has it."""

    values: Any  # a tensor, usually (sequences, groups of heads, tokens, inputs of a head)
    weights: Any  # a tensor, usually (sequences, heads, tokens, tokens), or None
    output: torch.Tensor  # of the heads, (sequences, tokens, heads, inputs of a head)


@contextmanager
def giving_weights(
    decoder: Decoder, layers: Collection[int], receive: Callable[[int, AttentionPass], object]
) -> Iterator[None]:
    """Compute attention by the implementation ``eager``, and give what it has of some layers.

    ``receive(layer, attention)`` is called before the output projection of the layer. In a model
    whose attention has no such implementation, the pass ends with a problem, see ``hooks.tap``.
    Layers that compute attention by themselves give nothing. Without layers, nothing changes.
    """
    if not layers:
        yield
        return
    model = decoder.model
    layer_by_module: dict[int, int] = {}
    for layer in layers:
        for module in decoder.blocks[layer].block.modules():
            layer_by_module[id(module)] = layer

    def attend(
        module: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any
    ) -> tuple[torch.Tensor, Any]:
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            hooks.end_pass(f"{type(module).__name__} has no attention that gives its weights")
        output, weights = eager(module, query, key, value, *args, **options)
        layer = layer_by_module.get(id(module))
        if layer is not None:
            receive(layer, AttentionPass(value, weights, output))
        return output, weights

    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    before = model.config._attn_implementation
    with quiet_transformers():
        model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        with quiet_transformers():
            model.set_attn_implementation(before)
