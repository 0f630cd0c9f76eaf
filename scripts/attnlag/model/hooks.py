"""The tap that observes or edits forward passes, and the proof that a block adds nothing else."""

import copy
import math
import operator
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch.utils import _pytree

from attnlag.errors import UserError
from attnlag.model.architectures import SUBLAYERS, BlockModules

REGISTERING = threading.Lock()

# Points of a block that `tap` gives besides its sublayers: what it receives and returns.
STREAM, OUTPUT = "stream", "output"
# Points of other modules: what enters and leaves the output projection of an attention, and what
# enters the head of the model, which is given as if of one more layer.
HEADS, PROJECTED, HEAD = "heads", "projected", "head"

# Modules that give such points, by layer and point.
Modules = Mapping[tuple[int, str], torch.nn.Module]

# Bound of the proof on |input + attention + MLP - output| / |output| per token in float32. Rounding
# leaves a few units in the last place.
IDENTITY_BOUND = 1e-5

# In these precisions, rounding would hide a wrong module, so an order of the additions must give
# the output of a block bit for bit.
HALF = (torch.bfloat16, torch.float16)

# The factor of adjustments is a number that the block holds, if one is this close to the estimate.
NEAR = 0.05

# Bounds on relative differences between other sums that are computed in two ways.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}

# Attributes of every module, which hold its parameters and hooks.
OF_TORCH = frozenset(vars(torch.nn.Module()))

# Exceptions of a model that cannot run as it is asked to.
FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

# A method of a module that registers a hook, the hook, and options of the method.
Hook = tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]


class NotGiven(Exception):
    """A model does not give something that is measured; the message says why, or what it gives."""


class AllSeen(BaseException):
    """Everything that is needed from a forward pass has been computed.

    On an Exception, torch looks through the hooks of a module, which other passes may be changing.
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


# ``on(layer, point, value)``; a tensor that it returns replaces the value.
On = Callable[[int, str, torch.Tensor], torch.Tensor | None]


def tap(
    blocks: Sequence[BlockModules],
    points: Collection[str],
    on: On,
    modules: Modules | None = None,
) -> AbstractContextManager[None]:
    """Observe or edit what passes through blocks in forward passes of this thread.

    The points are ``STREAM``, ``OUTPUT`` and sublayers, whose value is what their modules return,
    summed up, before the block scales it; those of ``modules`` are all given. ``on`` is called with
    values of all sequences and tokens, padding included, which may share one dimension. Later
    operations may overwrite a value, so ``on`` must copy what it keeps.
    """

    def before(layer: int, point: str) -> Callable[..., Any]:
        def hook(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given = args[0] if args else kwargs.get("hidden_states")
            replacement = on(layer, point, vectors_in(given))
            if replacement is None:
                return None
            if args:
                return (replacement, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": replacement}

        return hook

    def after(layer: int, point: str, modules: int) -> Callable[..., Any]:
        earlier: list[torch.Tensor] = []

        def hook(_: object, __: object, output: Any) -> Any:
            last = vectors_in(first_tensor(output))
            if len(earlier) + 1 < modules:
                earlier.append(last.clone())
                return None
            total = reduce(operator.add, [*earlier, last])
            replacement = on(layer, point, total)
            if replacement is not None and earlier:
                # The last of several modules makes up for the change of their sum.
                replacement = last + (replacement - total)
            earlier.clear()
            if replacement is None:
                return None
            return (replacement, *output[1:]) if isinstance(output, tuple) else replacement

        return hook

    given_by: dict[tuple[int, str], tuple[torch.nn.Module, ...]] = {}
    for layer, block in enumerate(blocks):
        whole = (block.block,)
        of_block = {STREAM: whole, **block.sublayers, OUTPUT: whole}
        given_by |= {(layer, point): of_block[point] for point in of_block if point in points}
    given_by |= {place: (module,) for place, module in (modules or {}).items()}
    hooks: list[Hook] = []
    for (layer, point), summands in given_by.items():
        if point in (STREAM, HEADS, HEAD):
            (module,) = summands
            register = module.register_forward_pre_hook
            hooks.append((register, before(layer, point), {"with_kwargs": True}))
        else:
            hook = after(layer, point, len(summands))
            hooks += [(module.register_forward_hook, hook, {}) for module in summands]
    return attached(hooks)


def watched(
    blocks: Sequence[BlockModules],
    mask: torch.Tensor,
    receive: Callable[[int, str, torch.Tensor], object],
    points: Collection[str] = SUBLAYERS,
    modules: Modules | None = None,
) -> AbstractContextManager[None]:
    """Call ``receive(layer, point, vectors)`` with copies of what `tap` gives of real tokens.

    The mask is (sequences, tokens), False for padding, and the vectors are (tokens, width), in its
    order; those of sublayers are scaled as the block does. They are copies because later operations
    may overwrite a value: Falcon adds the output of one sublayer to that of the other in place.
    """
    # Computed once, because a GPU would otherwise synchronise in every layer.
    places = mask.flatten().nonzero().squeeze(1)
    places_on = {places.device: places}

    def on(layer: int, point: str, value: torch.Tensor) -> None:
        # Sequences and tokens may share one dimension, as in OPT.
        if value.ndim not in (2, 3) or value.shape[:-1].numel() != mask.numel():
            shape = " × ".join(map(str, value.shape)) or "()"
            raise NotGiven(f"a tensor of {shape} for {' × '.join(map(str, mask.shape))} tokens")
        if value.device not in places_on:
            places_on[value.device] = places.to(value.device)
        rows = value.reshape(mask.numel(), -1).index_select(0, places_on[value.device])
        scale = blocks[layer].scale if point in SUBLAYERS else None
        receive(layer, point, rows if scale is None else rows * scale)

    return tap(blocks, points, on, modules)


@dataclass
class Evidence:
    """Observations of one layer's block in a forward pass."""

    sublayers: tuple[str, ...]  # those observed between the block's input and its output
    # The largest ||input + adjustments - output|| / ||output|| over the tokens; NaN if values are
    # not finite. In half precision it is 0 if these, added in one order, give the output bit for
    # bit, and otherwise the error of the block run again in float32.
    error: float
    # Factor of the adjustments with which the identity holds, if it holds with none but this.
    scale: float | None = None


@contextmanager
def residual_identity(blocks: list[BlockModules], mask: torch.Tensor) -> Iterator[list[Evidence]]:
    """Measure the error of the residual identity of each block in one forward pass.

    The evidence, an entry per layer, is complete when the context is left.
    """
    evidence: list[Evidence] = []
    given: list[tuple[str, torch.Tensor]] = []  # by the block that runs, its input first
    arguments: list[Any] = []
    doubtful: dict[int, Any] = {}

    def receive(layer: int, point: str, vectors: torch.Tensor) -> None:
        if point == STREAM:
            given.clear()
        if point != OUTPUT:
            given.append((point, vectors))
            return
        for name, each in given[1:]:
            if each.shape != vectors.shape:
                raise NotGiven(
                    f"vectors of {each.shape[1]} from {name} in a stream of {vectors.shape[1]}"
                )
        stream, *added = (each.to(vectors.device) for _, each in given)
        found = Evidence(tuple(name for name, _ in given[1:]), _error(stream, added, vectors))
        if found.error > IDENTITY_BOUND:
            found.scale = _factor(blocks[layer].block, stream, added, vectors)
            if found.scale is None and vectors.dtype in HALF:
                doubtful[len(evidence)] = arguments[0]
        evidence.append(found)

    def keep(_: torch.nn.Module, *inputs: Any) -> None:
        arguments[:] = [_pytree.tree_map(_in_float32, inputs)]

    before = [(b.block.register_forward_pre_hook, keep, {"with_kwargs": True}) for b in blocks]
    with attached(before), watched(blocks, mask, receive, (STREAM, *SUBLAYERS, OUTPUT)):
        yield evidence
    for layer, (args, kwargs) in doubtful.items():
        twin = copy.deepcopy(blocks[layer])
        twin.block.float()
        try:
            with residual_identity([twin], mask) as in_float32, torch.inference_mode():
                twin.block(*args, **kwargs)
        except FAILURES:
            in_float32 = []
        evidence[layer : layer + 1] = in_float32 or [evidence[layer]]
        if not evidence[layer].error <= IDENTITY_BOUND and evidence[layer].scale is None:
            # The model is refused, whatever the other blocks would give.
            break


def _in_float32(value: Any) -> Any:
    """Return a copy of floating-point numbers in float32, and anything else as it is."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        # A block may write into what it is given.
        return value.to(torch.float32, copy=True)
    return value


def _error(stream: torch.Tensor, added: Sequence[torch.Tensor], result: torch.Tensor) -> float:
    """Return the error of the identity, as in `Evidence`; vectors are (tokens, width)."""
    # Relative to the larger of both streams, because a block may cancel most of its input. A zero
    # vector to which nothing is added has no error.
    gap = reduce(operator.add, (each.float() for each in added), stream.float() - result.float())
    size = torch.maximum(stream.float().norm(dim=-1), result.float().norm(dim=-1))
    error = float((gap.norm(dim=-1) / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
    if result.dtype not in HALF or math.isnan(error) or not added:
        return error
    orders = (
        reduce(operator.add, added, stream),
        stream + reduce(operator.add, added),
        reduce(operator.add, added[::-1], stream),
    )
    return 0.0 if any(torch.equal(total.to(result.dtype), result) for total in orders) else error


def _factor(
    block: torch.nn.Module,
    stream: torch.Tensor,
    added: Sequence[torch.Tensor],
    result: torch.Tensor,
) -> float | None:
    """Return the factor of what is added with which the identity holds; None if there is none."""
    if not added:
        return None
    total = reduce(operator.add, (each.double() for each in added))
    estimate = float((total * (result.double() - stream.double())).sum() / total.square().sum())
    near = [
        value
        for value in vars(block).values()
        if isinstance(value, float) and abs(value - estimate) <= NEAR * abs(estimate)
    ]
    for scale in (*near, float(f"{estimate:.7g}")):
        if _error(stream, [each * scale for each in added], result) <= IDENTITY_BOUND:
            return scale
    return None


def check_finite(evidence: list[Evidence], model: Any, name: str) -> None:
    """Raise UserError if values in a pass are not finite."""
    for layer, observation in enumerate(evidence):
        if math.isnan(observation.error):
            half = next(model.parameters()).dtype == torch.float16
            advice = "; float32 and bfloat16 have the range for more" * half
            raise UserError(
                f"model {name}: found numbers that are infinite or not a number, expected finite "
                f"ones: first in layer {layer}{advice}"
            )


def problems_of(evidence: list[Evidence], blocks: list[BlockModules]) -> list[str]:
    """Return why the observations of a pass are not a proof, in a few words per layer.

    Every block must have run once, and each sublayer once within it.
    """
    problems = []
    if len(evidence) != len(blocks):
        problems.append(f"{len(evidence)} of {len(blocks)} blocks ran")
    for layer, observation in enumerate(evidence):
        expected = blocks[layer].sublayers if layer < len(blocks) else SUBLAYERS
        if sorted(observation.sublayers) != sorted(expected):
            seen = " and ".join(observation.sublayers) or "neither of them"
            problems.append(f"layer {layer}: {seen} seen, not {' and '.join(expected)} once each")
        elif not observation.error <= IDENTITY_BOUND:
            problems.append(f"layer {layer}: {observation.error:.1e}")
    return problems


@contextmanager
def written(model: torch.nn.Module) -> Iterator[list[str]]:
    """Yield the attributes and buffers of modules that passes within the context write to.

    The list is complete when the context is left. Parallel passes of a model that keeps state on
    its modules would change each other's numbers.
    """
    before, names = _state(model), list[str]()
    yield names
    after = _state(model)
    names += [name for name in before | after if before.get(name) != after.get(name)]


def _state(model: torch.nn.Module) -> dict[str, tuple[Any, int | None, Any]]:
    """Return the attributes and buffers of modules in a form that shows a change when compared."""
    state: dict[str, tuple[Any, int | None, Any]] = {}
    for path, module in model.named_modules():
        for name, value in (*vars(module).items(), *module.named_buffers(recurse=False)):
            if name in OF_TORCH:
                continue
            items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
            items = enumerate(value) if isinstance(value, list | tuple) else items
            for place, item in (("", value), *((f"[{key}]", item) for key, item in items)):
                # Numbers and texts may be made anew. Of others, the identity and the version
                # count; the object itself is kept, or another might get its identity.
                same = item if isinstance(item, int | float | str) else id(item)
                counts = isinstance(item, torch.Tensor) and not item.is_inference()
                state[f"{path}.{name}{place}"] = same, item._version if counts else None, item
    return state
