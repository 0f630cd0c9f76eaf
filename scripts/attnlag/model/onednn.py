"""Products of a model on CPU with weights that oneDNN has arranged once for its own kernels.

They gain on processors with AVX-512, and are used there and nowhere else: a choice by timing would
give equal inputs other last bits. The operators are private ones of torch, so the model's norms are
compared with those of plain torch first. Modules stay in place and only their ``forward`` changes,
so hooks work as before.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers.pytorch_utils import Conv1D

from attnlag.errors import counted
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import SUBLAYERS, Hook, attached, forward, tap

# What torch calls a processor on which packed products gain.
CAPABILITY = "AVX512"

# Smaller matrices are not packed, because the call costs more than the product.
MIN_ELEMENTS = 2**16

# Number of rows for which oneDNN arranges the weights; other numbers run too.
ROWS = 256

# Largest allowed relative differences of norms from plain torch: their median, and their ninth
# decile. Rounding grows with depth, at some tokens of a trained model a thousandfold, and such a
# token must not decide: each shard begins with other tokens, and all are to be computed alike.
NORM_BOUNDS = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (1e-2, 0.5)}

# Activations that oneDNN can apply to a product: their names in oneDNN, and the approximation. They
# are listed by class name, because their modules take long to import.
FUSED = {
    **dict.fromkeys(("GELUTanh", "FastGELUActivation", "BloomGelu"), ("gelu", "tanh")),
    "GELUActivation": ("gelu", "none"),
    **dict.fromkeys(("SiLUActivation", "SiLU"), ("swish", "")),
    "ReLU": ("relu", ""),
}

Module = torch.nn.Module
Linear = torch.nn.Linear | Conv1D


def pack_weights(decoder: Decoder, ids: torch.Tensor) -> str:
    """Let the blocks of a model compute with packed weights, if they give the same norms.

    They are compared at a short sequence of ids, (tokens,). Packed products have no derivative, and
    replace the plain weights, which read as NaN from then on, so that code that bypasses the
    modules is detected. Return what computes the products, in words for the log.
    """
    weights = next(decoder.blocks[0].block.parameters())
    capable = torch.backends.cpu.get_cpu_capability() == CAPABILITY
    if not capable or weights.device.type != "cpu" or weights.dtype not in NORM_BOUNDS:
        return "plain torch"
    modules: list[Module] = []
    for block in decoder.blocks:
        modules += block.block.modules()
    modules = list(dict.fromkeys(modules))
    linears = [m for m in modules if isinstance(m, Linear) and m.weight.numel() >= MIN_ELEMENTS]
    with torch.inference_mode(), ExitStack() as undo:
        with following_activations(modules) as activations:
            plain = adjustment_norms(decoder, ids)
        try:
            for linear in linears:
                pack(linear, activations.get(linear), undo)
            gaps = (adjustment_norms(decoder, ids) - plain).abs()
        # Errors of a private operator that is missing or has changed.
        except (AttributeError, RuntimeError, TypeError) as error:
            return f"plain torch, as packed products fail: {str(error).partition(chr(10))[0]}"
        gaps /= plain.abs().clamp_min(torch.finfo(plain.dtype).tiny)
        median, high = np.quantile(gaps.double().numpy(), [0.5, 0.9])
        differences = f"norms differ by {median:.0e} (median) and {high:.0e} (90%)"
        median_bound, high_bound = NORM_BOUNDS[weights.dtype]
        if not (median <= median_bound and high <= high_bound):
            return f"plain torch, as packed products fail: {differences}"
        undo.pop_all()
    return f"{counted(len(linears), 'packed product')}; {differences} from plain torch"


def adjustment_norms(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """Return the norms of what all sublayers of all layers add, (layers x sublayers, tokens)."""
    norms: list[torch.Tensor] = []

    def receive(layer: int, point: str, value: torch.Tensor) -> None:
        added = decoder.blocks[layer].as_added(point, value.reshape(len(ids), -1))
        norms.append(torch.linalg.vector_norm(added.float(), dim=-1))

    with tap(decoder.blocks, SUBLAYERS, receive):
        forward(decoder.model, ids[None])
    return torch.stack(norms)


@contextmanager
def following_activations(modules: Sequence[Module]) -> Iterator[dict[Linear, Module]]:
    """Yield the activation that is called right after each linear map, if it is called once.

    The mapping is complete after a pass, when the context is left.
    """
    activations: dict[Linear, Module] = {}
    latest: dict[str, Any] = {"linear": None, "output": None}
    calls: Counter[Module] = Counter()

    def note(module: Module, _: object, output: torch.Tensor) -> None:
        latest.update(linear=module, output=output)

    def compare(module: Module, args: tuple[Any, ...]) -> None:
        calls[module] += 1
        if args and args[0] is latest["output"]:
            activations[latest["linear"]] = module

    hooks: list[Hook] = []
    for module in modules:
        if isinstance(module, Linear):
            hooks.append((module.register_forward_hook, note, {}))
        elif type(module).__name__ in FUSED:
            hooks.append((module.register_forward_pre_hook, compare, {}))
    with attached(hooks):
        yield activations
    for linear, activation in list(activations.items()):
        if calls[activation] > 1:
            del activations[linear]


def product(
    x: torch.Tensor, *, weight: torch.Tensor, bias: torch.Tensor | None, post: tuple[str, str]
) -> torch.Tensor:
    """Return ``post(x @ weight' + bias)``, (…, outputs), for packed weights, (outputs, inputs)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post[0], [], post[1])


def pack(linear: Linear, activation: Module | None, undo: ExitStack) -> None:
    """Let a linear map use packed weights and apply the activation that follows it, if any."""
    # oneDNN's layout is (out, in), in blocks that suit its kernels.
    transposed = isinstance(linear, Conv1D)
    weight = linear.weight.detach()
    plain = weight.t().contiguous() if transposed else weight
    packed = torch.ops.mkldnn._reorder_linear_weight(plain, ROWS)
    post = ("none", "")
    if activation is not None:
        post = FUSED[type(activation).__name__]
        replace_forward(activation, lambda x: x, undo)
    forward = partial(product, weight=packed, bias=linear.bias, post=post)
    replace_forward(linear, forward, undo)

    def restore() -> None:
        dense = packed.to_dense()
        dense = dense.t().contiguous() if transposed else dense
        linear.weight = torch.nn.Parameter(dense, requires_grad=False)

    undo.callback(restore)
    # A view with the shape of the weights that takes the memory of a single number.
    nothing = weight.new_full((1,), float("nan")).expand(weight.shape)
    linear.weight = torch.nn.Parameter(nothing, requires_grad=False)


def replace_forward(module: Module, forward: Callable[..., Any], undo: ExitStack) -> None:
    """Give a module another ``forward``; its hooks and its class stay."""
    vars(module)["forward"] = forward
    undo.callback(vars(module).pop, "forward")
