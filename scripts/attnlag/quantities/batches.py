"""Sequences in runs and in batches of similar length, and how many passes run in parallel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils import _pytree

from attnlag.model import hooks
from attnlag.storage.sequences import TokenSequence

# Largest number of parallel passes on CPU, each with a share of the batch's tokens. They are faster
# than one pass on as many threads, which wait for each other, and a pass on one thread gives the
# same bytes however many others run in parallel.
PASSES = 8

# Least length of a sequence relative to the longest in its batch: padding costs as much time as
# tokens, and a small batch is hardly slower per token than a large one.
LIKE_LENGTH = 0.9

# Attributes of every module, which hold its parameters and hooks.
OF_TORCH = frozenset(vars(torch.nn.Module()))

T = TypeVar("T")
R = TypeVar("R")


def runs(sequences: Iterable[TokenSequence], tokens: int) -> Iterator[list[TokenSequence]]:
    """Yield sequences in runs of at most ``tokens`` tokens, or of one longer sequence."""
    waiting: list[TokenSequence] = []
    count = 0
    for sequence in sequences:
        if waiting and count + len(sequence.ids) > tokens:
            yield waiting
            waiting = []
            count = 0
        waiting.append(sequence)
        count += len(sequence.ids)
    if waiting:
        yield waiting


class Batch(NamedTuple):
    """The sequences of a pass, padded on the right, where no token sees the padding."""

    indices: np.ndarray  # of the sequences among all
    rows: np.ndarray  # indices of their tokens among those of all, sequence after sequence
    ids: torch.Tensor  # (sequences, tokens)
    real: np.ndarray  # of the same shape: False for padding

    @property
    def mask(self) -> torch.Tensor:
        """``real`` as a tensor, (sequences, tokens) bool."""
        return torch.from_numpy(self.real)

    @property
    def starts(self) -> torch.Tensor:
        """Indices of first tokens among the rows, (sequences,)."""
        lengths = self.real.sum(axis=1)
        return torch.from_numpy(np.cumsum(lengths) - lengths)


def batched(sequences: Sequence[np.ndarray], groups: Iterable[np.ndarray]) -> Iterator[Batch]:
    """Yield a batch of the sequences of each group, given their indices.

    Sequences are token ids, (tokens,).
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    starts = np.cumsum(lengths) - lengths
    for indices in groups:
        real = np.arange(lengths[indices].max()) < lengths[indices, None]
        ids = np.zeros(real.shape, np.int64)
        ids[real] = np.concatenate([sequences[index] for index in indices])
        rows = np.flatnonzero(real) % real.shape[1] + np.repeat(starts[indices], lengths[indices])
        yield Batch(indices, rows, torch.from_numpy(ids), real)


def batch_of(*sequences: np.ndarray) -> Batch:
    """Return sequences in one batch."""
    return next(batched(sequences, [np.arange(len(sequences))]))


def groups(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Yield indices, (batch,), of sequences of similar length, given all lengths, (sequences,).

    A batch has at most ``batch_tokens`` when it is padded.

    The longest sequences come first, so that a batch that is too large for memory fails at once. A
    sequence longer than the budget is a batch by itself.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = lengths[order]
    first = 0
    while first < len(order):
        longest = int(descending[first])
        most = first + max(1, batch_tokens // longest)
        alike = int(np.searchsorted(-descending, -LIKE_LENGTH * longest, side="right"))
        stop = min(most, alike)
        yield order[first:stop]
        first = stop


def rope_depends_on_length(model: torch.nn.Module) -> bool:
    """Return whether rotary embeddings depend on the longest sequence of a pass.

    LongRoPE has one embedding up to the model's original length and another beyond it. Dynamic
    embeddings are stretched to the longest sequence, and stay stretched in later passes.
    """
    for module in model.modules():
        rope_types = getattr(module, "rope_type", None)
        # If layers differ, there is an entry for each type of layer.
        types = rope_types.values() if isinstance(rope_types, dict) else [rope_types]
        for rope_type in types:
            if "dynamic" in str(rope_type) or rope_type == "longrope":
                return True
    return False


class Passes:
    """Runs forward passes of a model, on CPU several in parallel.

    ``batch_tokens`` are those of all simultaneous passes, padding included.
    """

    def __init__(self, model: Any, batch_tokens: int, threads: int = 1):
        self.model = model
        self.batch_tokens = batch_tokens
        self.threads = threads
        self.length_matters = rope_depends_on_length(model)
        # Whether each sequence has a pass to itself, after the one before it.
        self.one_by_one = self.length_matters
        # Passes in parallel at most, and the tokens of each.
        self.parallel = 1
        self.pass_tokens = batch_tokens
        if next(model.parameters()).device.type == "cpu" and not self.one_by_one:
            self.parallel = min(threads, PASSES)
            self.pass_tokens = max(1, batch_tokens // PASSES)

    def batches(self, sequences: Sequence[np.ndarray]) -> list[Batch]:
        """Return sequences of token ids, (tokens,), in batches, see `groups`."""
        lengths = np.array([len(sequence) for sequence in sequences])
        most = 1 if self.one_by_one else self.pass_tokens
        return list(batched(sequences, groups(lengths, most)))

    @contextmanager
    def first(self) -> Iterator[None]:
        """Observe a first pass: where it changes the model, sequences run one by one."""
        self.reset()
        before = _state(self.model)
        yield
        if not _is_same(before, _state(self.model)):
            self.one_by_one = True
            self.parallel = 1

    def reset(self) -> None:
        """Undo the stretching of rotary embeddings by earlier passes.

        transformers does so itself in a pass that is shorter than the model's original length.
        """
        if self.length_matters:
            with torch.no_grad():
                hooks.forward(self.model, torch.zeros(1, 1, dtype=torch.int64))

    def run(
        self,
        work: Sequence[T],
        forward: Callable[[T], R],
        progress: Callable[[T], object] = lambda done: None,
        most: int | None = None,
    ) -> list[R]:
        """Return ``forward(item)`` of each item, at most ``most`` in parallel.

        The passes share the threads. ``progress`` is called with each item that is done. The first
        error ends the passes that have not begun.
        """
        side_by_side = max(1, min(self.parallel, len(work), most or self.parallel))

        def one(item: T) -> R:
            torch.set_num_threads(max(1, self.threads // side_by_side))
            self.reset()
            return forward(item)

        results = []
        with ThreadPoolExecutor(side_by_side) as pool:
            running = [pool.submit(one, item) for item in work]
            try:
                for item, finished in zip(work, running, strict=True):
                    results.append(finished.result())
                    progress(item)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results


def _state(model: torch.nn.Module) -> list[tuple[Any, int]]:
    """Return what modules hold in attributes and buffers, with the number of writes to tensors.

    The objects are kept, or another might take the place of one in memory.
    """
    held: list[Any] = []
    for module in model.modules():
        own = [value for name, value in vars(module).items() if name not in OF_TORCH]
        held += _pytree.tree_leaves([own, list(module.buffers(recurse=False))])
    return [(value, _writes(value)) for value in held]


def _writes(value: Any) -> int:
    """Return how often torch has written to a tensor; 0 of anything else."""
    counts = isinstance(value, torch.Tensor) and not value.is_inference()
    return value._version if counts else 0


def _is_same(before: list[tuple[Any, int]], after: list[tuple[Any, int]]) -> bool:
    """Return whether a pass has left what modules hold. Numbers and texts may be made anew."""
    if len(before) != len(after):
        return False
    for (old, old_writes), (new, new_writes) in zip(before, after, strict=True):
        equal = old is new or (isinstance(old, int | float | str) and old == new)
        if not equal or old_writes != new_writes:
            return False
    return True
