"""Fast paths of a model on CPU: the same functions, computed sooner.

Matrix products run on weights that oneDNN has laid out once for its own kernels, which is worth
most where the library behind torch's plain product does not know the processor; the activation
after a product is computed on the product's way out. The operators are torch's own, but private:
they count only once they have been measured and the model's norms compared with those of plain
torch. Modules stay in their places, and only their ``forward`` changes, so that hooks see what
they saw before.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from transformers import activations
from transformers.models.bloom.modeling_bloom import BloomGelu
from transformers.pytorch_utils import Conv1D

from attnlag.model import architectures
from attnlag.model.hooks import watched

# Matrices with fewer weights are left alone: the call costs more than the product.
SMALLEST = 2**16

# A packed product counts as slower only beyond this. Where both are equally fast, chance must not
# choose between them: they differ in the last bit, and equal inputs give equal bytes.
SLOWER = 1.2

# The norms' largest relative differences from plain torch, for half of the tokens and layers and
# for all of them. Depth multiplies rounding, at some tokens of a trained model a hundredfold.
BOUNDS = {torch.float32: (1e-6, 1e-4), torch.bfloat16: (1e-2, 0.5)}

# What is compared and what is measured: a fraction of a second.
PROBE_TOKENS = 256
ROWS = 256
ROUNDS = 5

# The tanh approximation of GELU, in half a dozen operations.
SPELLED_OUT = (
    activations.NewGELUActivation,
    activations.FastGELUActivation,
    activations.AccurateGELUActivation,
    BloomGelu,
)

# What oneDNN can compute on a product's way out: its name there and which approximation.
FUSED = {
    **dict.fromkeys((*SPELLED_OUT, activations.GELUTanh), ("gelu", "tanh")),
    activations.GELUActivation: ("gelu", "none"),
    activations.SiLUActivation: ("swish", ""),
    torch.nn.SiLU: ("swish", ""),
    torch.nn.ReLU: ("relu", ""),
}

Linear = torch.nn.Linear | Conv1D


def accelerate(
    model: torch.nn.Module, blocks: list[architectures.BlockModules], ids: torch.Tensor
) -> str:
    """Put a model on its fast paths, if they are fast and give the same norms.

    Packed weights take the place of plain ones, which read as NaN from then on: whatever uses
    them past their modules shows.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk from ``loading.load_model``.
    blocks : list of architectures.BlockModules
        Its blocks, from ``architectures.locate``.
    ids : (tokens,) int64 tensor
        A sequence, whose first tokens are run through both.

    Returns
    -------
    words : str
        What was done, for the log.
    """
    weights = next(blocks[0].block.parameters())
    if weights.device.type != "cpu" or weights.dtype not in BOUNDS:
        return "plain torch"
    modules = list(dict.fromkeys(m for block in blocks for m in block.block.modules()))
    linears = [m for m in modules if isinstance(m, Linear) and m.weight.numel() >= SMALLEST]
    undo: list[Callable[[], None]] = []
    with torch.inference_mode():
        fed: dict[torch.nn.Module, Linear] = {}
        plain = norms(model, blocks, ids, modules, fed)
        try:
            if is_sooner(linears):
                packed = len(linears)
                fused = {linear: activation for activation, linear in fed.items()}
                for linear in linears:
                    pack(linear, fused.get(linear), undo)
            else:
                packed = 0
            for module in modules:
                if isinstance(module, SPELLED_OUT) and "forward" not in vars(module):
                    replace(module, partial(functional.gelu, approximate="tanh"), undo)
            if not undo:
                return "plain torch"
            half, most = difference(norms(model, blocks, ids), plain)
            close = half <= BOUNDS[weights.dtype][0] and most <= BOUNDS[weights.dtype][1]
            words = f"norms within {half:.0e} (median) and {most:.0e} of plain torch"
        # What a private operator does when it is not there, or not what it was.
        except (AttributeError, RuntimeError, TypeError) as error:
            close, words = False, str(error).partition("\n")[0]
        if close:
            return f"{packed} matrices packed for oneDNN; {words}"
        for step in reversed(undo):
            step()
        return f"plain torch; fast paths do not work here ({words})"


def norms(
    model: torch.nn.Module,
    blocks: list[architectures.BlockModules],
    ids: torch.Tensor,
    modules: Sequence[torch.nn.Module] = (),
    fed: dict[torch.nn.Module, Linear] | None = None,
) -> torch.Tensor:
    """Return the norms of the first tokens of a sequence, at both parts of every layer.

    Parameters
    ----------
    model, blocks, ids
        As `accelerate` has them.
    modules : sequence of torch.nn.Module
        Those that are watched for ``fed``.
    fed : dict or None
        Is given, for each activation that is called once and right after a linear map, that map.
    """
    ids = ids[None, :PROBE_TOKENS]
    found: list[torch.Tensor] = []
    latest: list[Any] = [None, None]
    calls: list[torch.nn.Module] = []

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        latest[:] = module, output

    def compare(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        calls.append(module)
        if fed is not None and args and args[0] is latest[1]:
            fed[module] = latest[0]

    def keep(_: int, __: str, added: torch.Tensor) -> None:
        found.append(torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32).cpu())

    with ExitStack() as hooks:
        for module in modules:
            if isinstance(module, Linear):
                hooks.callback(module.register_forward_hook(note).remove)
            elif type(module) in FUSED:
                hooks.callback(module.register_forward_pre_hook(compare).remove)
        hooks.enter_context(watched(blocks, torch.ones_like(ids, dtype=torch.bool), keep))
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    if fed:
        for module in [module for module in fed if calls.count(module) > 1]:
            del fed[module]
    # A module that is declared but never called gives none: the proof of the sites will tell.
    return torch.stack(found) if found else torch.empty(0, ids.shape[1])


def difference(found: torch.Tensor, plain: torch.Tensor) -> tuple[float, float]:
    """Return the median and the largest relative difference; NaN if one is in either, or none."""
    relative = (found - plain).abs() / plain.abs().clamp_min(torch.finfo(plain.dtype).tiny)
    if not relative.numel():
        return float("nan"), float("nan")
    return float(relative.median()), float(relative.max())


def is_sooner(linears: Sequence[Linear]) -> bool:
    """Tell whether packed products are not slower than plain ones: one matrix of each shape.

    On one thread, by its own time: what other threads and other jobs do must not choose.
    """
    shapes = {(type(linear), linear.weight.shape): linear for linear in linears}
    seconds = [0.0, 0.0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for linear in shapes.values():
            x = torch.randn(ROWS, width_of(linear)).to(linear.weight.dtype)
            weight = packed_weight(linear)
            ways = (linear.forward, partial(product, weight=weight, bias=linear.bias))
            best = [float("inf")] * 2
            for _ in range(ROUNDS):
                for way, forward in enumerate(ways):
                    began = time.thread_time()
                    forward(x)
                    best[way] = min(best[way], time.thread_time() - began)
            seconds = [total + took for total, took in zip(seconds, best, strict=True)]
    finally:
        torch.set_num_threads(threads)
    return bool(linears) and seconds[1] <= SLOWER * seconds[0]


def width_of(linear: Linear) -> int:
    """Return the width of what a linear map takes."""
    return linear.weight.shape[0 if isinstance(linear, Conv1D) else 1]


def packed_weight(linear: Linear) -> torch.Tensor:
    """Return the weights as oneDNN wants them: (out, in), in blocks that suit its kernels."""
    weight = linear.weight.detach()
    if isinstance(linear, Conv1D):
        weight = weight.t().contiguous()
    return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)


def product(
    x: torch.Tensor,
    *,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    post: tuple[str, str] = ("none", ""),
) -> torch.Tensor:
    """Return ``post(x @ weight' + bias)`` for a packed weight."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post[0], [], post[1])


def pack(
    linear: Linear, activation: torch.nn.Module | None, undo: list[Callable[[], None]]
) -> None:
    """Let a linear map run on packed weights, with the activation that follows it, if any."""
    weight = packed_weight(linear)

    def restore() -> None:
        dense = weight.to_dense()
        dense = dense.t().contiguous() if isinstance(linear, Conv1D) else dense
        linear.weight = torch.nn.Parameter(dense, requires_grad=False)

    post = ("none", "")
    if activation is not None:
        post = FUSED[type(activation)]
        replace(activation, lambda x: x, undo)
    replace(linear, partial(product, weight=weight, bias=linear.bias, post=post), undo)
    undo.append(restore)
    # As large as the weights to whoever asks, and no larger than a number in memory.
    nothing = linear.weight.new_full((1,), float("nan")).expand(linear.weight.shape)
    linear.weight = torch.nn.Parameter(nothing, requires_grad=False)


def replace(
    module: torch.nn.Module, forward: Callable[..., torch.Tensor], undo: list[Callable[[], None]]
) -> None:
    """Give a module another ``forward``; its hooks and its class stay."""
    vars(module)["forward"] = forward
    undo.append(lambda: vars(module).pop("forward"))
