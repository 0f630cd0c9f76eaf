"""Fast paths of a model on CPU: the same functions, computed in less time.

*Fused* activations compute in one operation what models compute in about six. *Packed* products run
on weights that oneDNN has arranged once for its own kernels, and apply the activation to the
product directly. They gain most if torch's default library is not optimised for the processor.
Their operators belong to torch but are private. A way is used only after it has been measured and
the model's norms have been compared with those of plain torch. Modules stay in place and only their
``forward`` changes, so hooks work as before. This module can go once torch's public products are as
fast as the packed ones on the processors that are used.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from attnlag.errors import UserError
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import Hook, attached, forward, watched

# Smaller matrices are not packed, because the call costs more than the product.
SMALLEST = 2**16

# Least gain of packed products over the next best way. Packing takes time too, and if both ways are
# equally fast, chance must not decide: they differ in the last bit, but equal inputs must give
# equal bytes.
GAIN = 1.1

# Largest allowed relative differences of norms from plain torch: their median, and their ninth
# decile. Rounding grows with depth, at some tokens of a trained model a thousandfold, and such a
# token must not decide: each shard begins with other tokens, and all are to be computed alike.
NORM_BOUNDS = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (1e-2, 0.5)}

# Amounts of work for measuring, which take a fraction of a second.
MEASURED_ROWS = 256
ROUNDS = 5

# Classes that compute the tanh approximation of GELU in several operations. They are listed by
# name, because their modules take long to import; fused results are compared anyway.
SPELLED_OUT = ("NewGELUActivation", "FastGELUActivation", "AccurateGELUActivation", "BloomGelu")

# Activations that oneDNN can apply to a product: their names in oneDNN, and the approximation.
FUSED = {
    **dict.fromkeys((*SPELLED_OUT, "GELUTanh"), ("gelu", "tanh")),
    "GELUActivation": ("gelu", "none"),
    "SiLUActivation": ("swish", ""),
    "SiLU": ("swish", ""),
    "ReLU": ("relu", ""),
}

fused_gelu = partial(functional.gelu, approximate="tanh")

Linear = torch.nn.Linear | Conv1D


def accelerate(
    decoder: Decoder, ids: torch.Tensor, fast: str = "auto", *, backward: bool = False
) -> tuple[str, str]:
    """Put a model on a fast path if this is faster and gives the same norms.

    They are compared at the tokens of a short sequence, ``ids``. Packed weights replace the plain
    ones, which read as NaN from then on, so that code that bypasses the modules is detected. For a
    backward pass, which gives no gradients of weights, the transposes are packed too and
    activations stay apart. Return the way that is used, and its description for the log.
    """
    weights = next(decoder.blocks[0].block.parameters())
    if fast == "off" or weights.device.type != "cpu" or weights.dtype not in NORM_BOUNDS:
        return "off", "plain torch"
    blocks = (block.block for block in decoder.blocks)
    modules = list(dict.fromkeys(module for block in blocks for module in block.modules()))
    linears = [m for m in modules if isinstance(m, Linear) and m.weight.numel() >= SMALLEST]
    way = fast
    with torch.inference_mode(), ExitStack() as undo:
        with following(modules) as activations:
            plain = norms(decoder, ids)
        if backward:
            activations.clear()
        try:
            if way == "auto":
                way = fastest(linears, activations)
            packed = linears if way == "packed" else []
            for linear in packed:
                pack(linear, activations.get(linear), undo, backward)
            replaced = [
                module
                for module in modules
                if type(module).__name__ in SPELLED_OUT and "forward" not in vars(module)
            ]
            if way == "off" or not (packed or replaced):
                return "off", "plain torch"
            for module in replaced:
                replace(module, fused_gelu, undo)
            gaps = (norms(decoder, ids) - plain).abs()
            gaps /= plain.abs().clamp_min(torch.finfo(plain.dtype).tiny)
            half, most = (
                np.quantile(gaps.double().numpy(), [0.5, 0.9]) if len(gaps) else [np.nan] * 2
            )
            bounds = NORM_BOUNDS[weights.dtype]
            close = bool(half <= bounds[0] and most <= bounds[1])
            words = f"norms within {half:.0e} (median) and {most:.0e} (90%) of plain torch"
        # Errors of a private operator that is missing or has changed.
        except (AttributeError, RuntimeError, TypeError) as error:
            close, words = False, str(error).partition("\n")[0]
        if close:
            undo.pop_all()
            made = f"{len(packed)} matrices packed for oneDNN" if packed else "activations fused"
            return way, f"{made}; {words}"
    if fast != "auto":
        raise UserError(f"fast: found {fast}, which does not work here ({words}); expected auto")
    return "off", f"plain torch; fast paths do not work here ({words})"


def norms(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """Return the norms of what all sublayers of all layers add, (layers x sublayers, tokens)."""
    found: list[torch.Tensor] = []

    def keep(_: int, __: str, added: torch.Tensor) -> None:
        found.append(torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32))

    with watched(decoder.blocks, torch.ones(1, len(ids), dtype=torch.bool), keep):
        forward(decoder.model, ids[None])
    # A module that is declared but never called gives no norms; the proof of the sites detects it.
    return torch.stack(found) if found else torch.empty(0)


@contextmanager
def following(modules: Sequence[torch.nn.Module]) -> Iterator[dict[Linear, torch.nn.Module]]:
    """Yield the activation that is called right after each linear map, if it is called once.

    The mapping is complete after a pass, when the context is left.
    """
    activations: dict[Linear, torch.nn.Module] = {}
    latest: list[Any] = [None, None]
    calls: Counter[torch.nn.Module] = Counter()

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        latest[:] = module, output

    def compare(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        calls[module] += 1
        if args and args[0] is latest[1]:
            activations[latest[0]] = module

    linears = [module for module in modules if isinstance(module, Linear)]
    fusable = [module for module in modules if type(module).__name__ in FUSED]
    hooks: list[Hook] = [(linear.register_forward_hook, note, {}) for linear in linears]
    hooks += [(module.register_forward_pre_hook, compare, {}) for module in fusable]
    with attached(hooks):
        yield activations
    for linear in [linear for linear, module in activations.items() if calls[module] > 1]:
        del activations[linear]


def fastest(linears: Sequence[Linear], activations: Mapping[Linear, torch.nn.Module]) -> str:
    """Return the fastest way, by CPU time of one thread for a matrix of each shape."""
    kinds = {m: (type(m), m.weight.shape, type(activations.get(m))) for m in linears}
    numbers = Counter(kinds.values())
    seconds = {"off": 0.0, "fused": 0.0, "packed": 0.0}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for kind, linear in {kind: linear for linear, kind in kinds.items()}.items():
            for way, took in seconds_of(linear, activations.get(linear)).items():
                seconds[way] += numbers[kind] * took
    finally:
        torch.set_num_threads(threads)
    next_best = min(("off", "fused"), key=seconds.__getitem__)
    return "packed" if linears and GAIN * seconds["packed"] <= seconds[next_best] else next_best


def seconds_of(linear: Linear, activation: torch.nn.Module | None) -> dict[str, float]:
    """Return the time of a product in each way, including its activation, if any."""
    width = linear.weight.shape[0 if isinstance(linear, Conv1D) else 1]
    x = torch.randn(MEASURED_ROWS, width).to(linear.weight.dtype)
    after: Callable[[torch.Tensor], torch.Tensor] = activation or (lambda values: values)
    fused = fused_gelu if type(activation).__name__ in SPELLED_OUT else after
    packed = packed_product(linear, activation)
    ways: dict[str, Callable[[], object]] = {
        "off": lambda: after(linear.forward(x)),
        "packed": lambda: packed(x),
    }
    if fused is not after:
        ways["fused"] = lambda: fused(linear.forward(x))
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for way, run in ways.items():
            began = time.thread_time()
            run()
            best[way] = min(best[way], time.thread_time() - began)
    # If both ways run the same operations, chance must not decide between them.
    return {"fused": best["off"], **best}


def packed_weight(linear: Linear, transposed: bool = False) -> torch.Tensor:
    """Return the weights in the layout of oneDNN: (out, in), in blocks that suit its kernels."""
    weight = linear.weight.detach()
    if isinstance(linear, Conv1D) != transposed:
        weight = weight.t().contiguous()
    return torch.ops.mkldnn._reorder_linear_weight(weight, MEASURED_ROWS)


def product(
    x: torch.Tensor,
    *,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    post: tuple[str, str] = ("none", ""),
) -> torch.Tensor:
    """Return ``post(x @ weight' + bias)`` for a packed weight."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post[0], [], post[1])


class Differentiable(torch.autograd.Function):
    """A product with a packed weight, which has a derivative with respect to its input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, map: Callable[..., Any], transposed: Any) -> Any:
        ctx.transposed = transposed
        # The product is a view, which a block may not write into in a graph; a copy may be.
        return map(x).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return product(gradients[0].contiguous(), weight=ctx.transposed, bias=None), None, None


def packed_product(linear: Linear, activation: torch.nn.Module | None) -> "partial[torch.Tensor]":
    """Return the product of a linear map with packed weights, and the activation that follows."""
    post = FUSED[type(activation).__name__] if activation else ("none", "")
    return partial(product, weight=packed_weight(linear), bias=linear.bias, post=post)


def pack(
    linear: Linear, activation: torch.nn.Module | None, undo: ExitStack, backward: bool
) -> None:
    """Let a linear map use packed weights and apply the activation that follows it, if any."""
    packed = packed_product(linear, activation)

    def restore() -> None:
        dense = packed.keywords["weight"].to_dense()
        dense = dense.t().contiguous() if isinstance(linear, Conv1D) else dense
        linear.weight = torch.nn.Parameter(dense, requires_grad=False)

    if activation is not None:
        replace(activation, lambda x: x, undo)
    if backward:
        transposed = packed_weight(linear, transposed=True)
        replace(linear, lambda x: Differentiable.apply(x, packed, transposed), undo)
    else:
        replace(linear, packed, undo)
    undo.callback(restore)
    # A view with the shape of the weights that takes the memory of a single number.
    nothing = linear.weight.new_full((1,), float("nan")).expand(linear.weight.shape)
    linear.weight = torch.nn.Parameter(nothing, requires_grad=False)


def replace(module: torch.nn.Module, forward: Callable[..., torch.Tensor], undo: ExitStack) -> None:
    """Give a module another ``forward``; its hooks and its class stay."""
    vars(module)["forward"] = forward
    undo.callback(vars(module).pop, "forward")
