"""The tap that observes or edits what passes through a model in forward passes."""

import operator
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch

REGISTERING = threading.Lock()

# Points of a block that `tap` gives: what it receives and returns, and what its sublayers add to
# the stream, in the order of most blocks.
STREAM, OUTPUT = "stream", "output"
SUBLAYERS = ("attention", "mlp")
# Points of other modules: what enters and leaves the output projection of an attention, and what
# enters the head of the model, which is given as if of one more layer.
HEADS, PROJECTED, HEAD = "heads", "projected", "head"

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
    # By name, in the order of ``SUBLAYERS``: the modules whose outputs add up to the adjustment.
    sublayers: dict[str, tuple[torch.nn.Module, ...]]
    # Factor by which the block multiplies these outputs before it adds them.
    scale: float | None = None

    def as_added(self, point: str, vectors: torch.Tensor) -> torch.Tensor:
        """Return what a point gives as it is added to the stream: scaled, if of a sublayer."""
        if self.scale is None or point not in SUBLAYERS:
            return vectors
        return vectors * self.scale


class NotGiven(Exception):
    """A model does not give something that is measured; the message says why, or what it gives."""


class AllSeen(BaseException):
    """Everything that is needed from a forward pass has been computed.

    It is a BaseException because on an Exception torch iterates over the hooks of a module, which
    parallel passes may be changing.
    """


def first_tensor(output: Any) -> Any:
    """Return the output of a module, without any others such as attention weights."""
    return output[0] if isinstance(output, tuple | list) else output


def forward(model: Any, ids: torch.Tensor, **options: Any) -> Any:
    """Run a model over token ids, (sequences, tokens), treating padding as tokens."""
    ids = ids.to(model.get_input_embeddings().weight.device)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **options)


def vectors_in(value: Any) -> torch.Tensor:
    """Return a value of a point if it is a tensor, or raise NotGiven."""
    if not isinstance(value, torch.Tensor):
        raise NotGiven(f"a {type(value).__name__}")
    return value


@contextmanager
def attached(hooks: Iterable[Hook]) -> Iterator[None]:
    """Attach hooks that see only passes of the thread that enters this context."""
    thread = threading.get_ident()

    def of_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: hook(*args) if threading.get_ident() == thread else None

    with ExitStack() as stack:
        # Two hooks registered concurrently may get the same id, and one would be lost.
        with REGISTERING:
            for register, hook, options in hooks:
                stack.callback(register(of_thread(hook), **options).remove)
        yield


# Gets the value of a point; a tensor that it returns replaces the value.
Give = Callable[[torch.Tensor], torch.Tensor | None]


def tap(
    blocks: Sequence[BlockModules],
    points: Collection[str],
    on: Callable[[int, str, torch.Tensor], torch.Tensor | None],
    modules: Modules | None = None,
) -> AbstractContextManager[None]:
    """Observe or edit what passes through blocks in forward passes of this thread.

    The points are ``STREAM``, ``OUTPUT`` and sublayers, besides all of ``modules``. The value of a
    sublayer is the sum of what its modules return, before the block scales it. A value has all
    sequences and tokens, which may share one dimension, and padding. A tensor that ``on(layer,
    point, value)`` returns replaces it. ``on`` must copy what it keeps: a value may be overwritten.
    """
    given_by: dict[tuple[int, str], tuple[torch.nn.Module, ...]] = {}
    for layer, block in enumerate(blocks):
        whole = (block.block,)
        of_block = {STREAM: whole, **block.sublayers, OUTPUT: whole}
        given_by |= {(layer, point): of_block[point] for point in of_block if point in points}
    given_by |= {key: (module,) for key, module in (modules or {}).items()}
    hooks: list[Hook] = []
    for (layer, point), parts in given_by.items():
        give = partial(on, layer, point)
        if point in (STREAM, HEADS, HEAD):
            register = parts[0].register_forward_pre_hook
            hooks.append((register, entering(give), {"with_kwargs": True}))
        else:
            leaves = leaving(give, len(parts))
            hooks += [(module.register_forward_hook, leaves, {}) for module in parts]
    return attached(hooks)


def entering(give: Give) -> Callable[..., Any]:
    """Return a hook that gives what enters a module."""

    def hook(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        replacement = give(vectors_in(args[0] if args else kwargs.get("hidden_states")))
        if replacement is None:
            return None
        if args:
            return (replacement, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": replacement}

    return hook


def leaving(give: Give, parts: int) -> Callable[..., Any]:
    """Return a hook of several modules that gives the sum of what leaves them."""
    earlier: list[torch.Tensor] = []

    def hook(_: object, __: object, output: Any) -> Any:
        last = vectors_in(first_tensor(output))
        if len(earlier) + 1 < parts:
            earlier.append(last.clone())
            return None
        total = reduce(operator.add, [*earlier, last])
        replacement = give(total)
        if replacement is not None and earlier:
            # The last of several modules makes up for the change of their sum.
            replacement = last + (replacement - total)
        earlier.clear()
        if replacement is None:
            return None
        return (replacement, *output[1:]) if isinstance(output, tuple) else replacement

    return hook


class RealTokens:
    """The tokens of a batch that are no padding, given its mask, (sequences, tokens)."""

    def __init__(self, mask: torch.Tensor):
        self.shape = mask.shape
        # Computed once, because a GPU would otherwise synchronise in every layer.
        indices = mask.flatten().nonzero().squeeze(1)
        self._indices = {indices.device: indices}

    def vectors(self, value: torch.Tensor) -> torch.Tensor:
        """Return copies of their vectors in a value of `tap`, (tokens, width), in the mask's order.

        They are copies because later operations may overwrite a value: Falcon adds the output of
        one sublayer to that of the other in place. Raise NotGiven if the value has other tokens.
        """
        # Sequences and tokens may share one dimension, as in OPT.
        if value.ndim not in (2, 3) or value.shape[:-1].numel() != self.shape.numel():
            shape = " × ".join(map(str, value.shape)) or "()"
            raise NotGiven(f"a tensor of {shape} for {' × '.join(map(str, self.shape))} tokens")
        if value.device not in self._indices:
            indices = next(iter(self._indices.values()))
            self._indices[value.device] = indices.to(value.device)
        rows = value.reshape(self.shape.numel(), -1)
        return rows.index_select(0, self._indices[value.device])


class Seen(dict[str, torch.Tensor]):
    """What a pass has given of a layer, by point: the vectors of its real tokens."""

    def __init__(self, layer: int):
        super().__init__()
        self.layer = layer
        self.times: Counter[str] = Counter()  # how often each point was given


@contextmanager
def observed(
    blocks: Sequence[BlockModules],
    mask: torch.Tensor,
    points: Collection[str],
    modules: Modules | None = None,
    then: Callable[[Seen, str], object] = lambda seen, point: None,
) -> Iterator[dict[int, Seen]]:
    """Yield what `tap` gives of the real tokens of each layer in the pass within the context.

    The mask is (sequences, tokens), False for padding. What blocks receive and add is at least in
    float32, and what sublayers add is scaled as the block does. ``then(seen, point)`` is called
    after each point is stored, and may end the pass by `AllSeen`.
    """
    layers: dict[int, Seen] = {}
    tokens = RealTokens(mask)

    def keep(layer: int, point: str, value: torch.Tensor) -> None:
        rows = tokens.vectors(value)
        if (layer, point) not in (modules or {}):
            rows = blocks[layer].as_added(point, rows)
            rows = rows.float() if rows.dtype.itemsize < 4 else rows
        seen = layers.setdefault(layer, Seen(layer))
        seen[point] = rows
        seen.times[point] += 1
        then(seen, point)

    with suppress(AllSeen), tap(blocks, points, keep, modules), torch.inference_mode():
        yield layers
