"""The tap that observes or edits what passes through a model in forward passes."""

import operator
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, NoReturn

import torch

REGISTERING = threading.Lock()

# Points of a block that `tap` gives: what it receives and returns, and what its sublayers add to
# the stream, in the order of most blocks.
STREAM = "stream"
OUTPUT = "output"
SUBLAYERS = ("attention", "mlp")
# Points of other modules: what enters and leaves the output projection of an attention. What enters
# the head of the model is given as the stream of one more layer.
HEADS = "heads"
PROJECTED = "projected"
# Points whose value enters a module; the others leave one.
ENTERING = (STREAM, HEADS)

# Modules that give such points, by layer and point.
Modules = Mapping[tuple[int, str], torch.nn.Module]

# Exceptions of a model that cannot run as it is asked to.
FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

# A method of a module that registers a hook, the hook, and options of the method.
Hook = tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]


@dataclass(frozen=True)
class BlockModules:
    """One layer: the block, and the modules whose outputs are its adjustments."""

    block: torch.nn.Module
    # By name, in the order of ``SUBLAYERS``: the modules whose outputs, times the scale, add up to
    # the adjustment. Most sublayers have one module, in a Llama `self_attn` and `mlp`.
    sublayers: dict[str, tuple[torch.nn.Module, ...]]
    # Factor by which the block multiplies these outputs before it adds them.
    scale: float | None = None

    def as_added(self, point: str, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors of a point, (…, width), as they are added to the stream: scaled or not."""
        if self.scale is None or point not in SUBLAYERS:
            return vectors
        return vectors * self.scale


class PassEnd(BaseException):
    """Ends a forward pass from within a hook, which torch allows only by an exception.

    `end_pass` raises it and `tap` catches it. It is a BaseException because on an Exception torch
    iterates over the hooks of a module, which parallel passes may be changing.
    """


def end_pass(problem: str = "") -> NoReturn:
    """End the forward pass that `tap` observes; ``problem`` is kept in its `TapResult`."""
    raise PassEnd(problem)


@dataclass
class TapResult:
    """What `tap` knows after the pass within it."""

    # What a point gave in place of the vectors of all tokens; the pass ended there.
    problem: str = ""


def first_tensor(output: Any) -> Any:
    """Return the output of a module, without any others such as attention weights."""
    return output[0] if isinstance(output, tuple | list) else output


def _with_first_tensor(output: Any, replacement: torch.Tensor) -> Any:
    """Return the output of a module with another first tensor."""
    if isinstance(output, list):
        return [replacement, *output[1:]]
    return (replacement, *output[1:]) if isinstance(output, tuple) else replacement


def forward(model: Any, ids: torch.Tensor, **options: Any) -> Any:
    """Run a model over token ids, (sequences, tokens), treating padding as tokens.

    Padding is on the right, where no token can attend to it, and a mask that hides nothing permits
    faster implementations of attention.
    """
    ids = ids.to(model.get_input_embeddings().weight.device)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **options)


# Gets the value of a point; a tensor that it returns replaces the value.
Receive = Callable[[torch.Tensor], torch.Tensor | None]


@dataclass
class PointHook:
    """Gives the value of one point to a function, from hooks of the modules that have it."""

    receive: Receive
    modules: tuple[torch.nn.Module, ...]
    # Outputs of the modules that have run; the value of the point is the sum of all.
    outputs: list[torch.Tensor] = field(default_factory=list)

    def entering(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give what enters the module, as a hook before its forward pass."""
        value = args[0] if args else kwargs.get("hidden_states")
        replacement = self.receive(_checked_tensor(value))
        if replacement is None:
            return None
        if args:
            return (replacement, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": replacement}

    def leaving(self, _: object, __: object, output: Any) -> Any:
        """Give the sum of what leaves the modules, as a hook after their forward passes."""
        last = _checked_tensor(first_tensor(output))
        if len(self.outputs) + 1 < len(self.modules):
            self.outputs.append(last.clone())
            return None
        total = reduce(operator.add, [*self.outputs, last])
        replacement = self.receive(total)
        if replacement is not None and self.outputs:
            # The last of several modules makes up for the change of their sum.
            replacement = last + (replacement - total)
        self.outputs.clear()
        # A measurement replaces nothing; an intervention does.
        if replacement is None:
            return None
        return _with_first_tensor(output, replacement)


def _checked_tensor(value: Any) -> torch.Tensor:
    """Return the value of a point if it is a tensor, or else end the pass."""
    if not isinstance(value, torch.Tensor):
        end_pass(f"a {type(value).__name__}")
    return value


@contextmanager
def attached(hooks: Iterable[Hook]) -> Iterator[None]:
    """Attach hooks that see only passes of the thread that enters this context."""
    thread = threading.get_ident()

    def in_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: hook(*args) if threading.get_ident() == thread else None

    with ExitStack() as stack:
        # Two hooks registered concurrently may get the same id, and one would be lost.
        with REGISTERING:
            for register, hook, options in hooks:
                stack.callback(register(in_thread(hook), **options).remove)
        yield


@contextmanager
def tap(
    blocks: Sequence[BlockModules],
    points: Collection[str],
    receive: Callable[[int, str, torch.Tensor], torch.Tensor | None],
    modules: Modules | None = None,
) -> Iterator[TapResult]:
    """Observe or edit what passes through blocks in a forward pass of this thread.

    Parameters
    ----------
    blocks : sequence of BlockModules
        The layers, first layer first.
    points : collection of str
        Among ``STREAM``, ``OUTPUT`` and sublayers; others are ignored here. The value of a sublayer
        is the sum of what its modules return, before the block scales it.
    receive : callable
        Gets a layer, a point and its value, whose last dimension is the width; sequences and
        tokens, padding included, may share one dimension. A tensor that it returns replaces the
        value. It must copy what it keeps, because a value may be overwritten later. It may call
        `end_pass`.
    modules : mapping, optional
        Modules that give further points, by layer and point.

    Yields
    ------
    TapResult
        Its ``problem`` is known when the context is left.
    """
    modules_by_point: dict[tuple[int, str], tuple[torch.nn.Module, ...]] = {}
    for layer, block in enumerate(blocks):
        whole = (block.block,)
        for point, parts in {STREAM: whole, **block.sublayers, OUTPUT: whole}.items():
            if point in points:
                modules_by_point[layer, point] = parts
    for key, module in (modules or {}).items():
        modules_by_point[key] = (module,)
    hooks: list[Hook] = []
    for (layer, point), parts in modules_by_point.items():
        hook = PointHook(partial(receive, layer, point), parts)
        if point in ENTERING:
            hooks.append((parts[0].register_forward_pre_hook, hook.entering, {"with_kwargs": True}))
        else:
            hooks += [(module.register_forward_hook, hook.leaving, {}) for module in parts]
    result = TapResult()
    with attached(hooks):
        try:
            yield result
        except PassEnd as end:
            result.problem = str(end)


class RealTokens:
    """The tokens of a batch that are no padding, given its mask, (sequences, tokens)."""

    def __init__(self, mask: torch.Tensor):
        self.shape = mask.shape
        # Computed once, because a GPU would otherwise synchronise in every layer.
        indices = mask.flatten().nonzero().squeeze(1)
        self._indices = {indices.device: indices}

    def problem(self, value: torch.Tensor) -> str:
        """Return what a value is in place of a vector for each token, padding included, or "".

        Expected are (sequences, tokens, width) and (sequences × tokens, width).
        """
        # Sequences and tokens may share one dimension, as in OPT.
        if value.shape[:-1] in (self.shape, (self.shape.numel(),)):
            return ""
        shape = " × ".join(map(str, value.shape)) or "()"
        return f"a tensor of {shape} for {' × '.join(map(str, self.shape))} tokens"

    def vectors(self, value: torch.Tensor) -> torch.Tensor:
        """Return copies of their vectors in a value of `tap`, (tokens, width), in the mask's order.

        They are copies because later operations may overwrite a value: Falcon adds the output of
        one sublayer to that of the other in place. If the value has other tokens, the pass ends.
        """
        problem = self.problem(value)
        if problem:
            end_pass(problem)
        if value.device not in self._indices:
            indices = next(iter(self._indices.values()))
            self._indices[value.device] = indices.to(value.device)
        rows = value.reshape(self.shape.numel(), -1)
        return rows.index_select(0, self._indices[value.device])
