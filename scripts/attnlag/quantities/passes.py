"""Forward passes over sequences: runs, batches of similar length, and what runs in parallel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from attnlag.model.decoder import Decoder
from attnlag.storage.sequences import TokenSequence
from attnlag.storage.tables import Record, provenance

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


def provenance_of(
    upstream: Record, stage: str, settings: dict[str, Any], decoder: Decoder | None
) -> Record:
    """Return the provenance of what passes give; without a decoder there was no token to pass.

    It has the device and the precision, which may be "auto" in settings, and the layers without
    attention.
    """
    model = dict(upstream["model"])
    used = {}
    if decoder:
        run = decoder.model
        used = {"device": run.device.type, "dtype": str(run.dtype).removeprefix("torch.")}
        model |= {"mixers": decoder.mixers} if decoder.mixers else {}
    recorded = {**settings, "used": used}
    return provenance(upstream, stage, recorded, "torch", "transformers", model=model)


def runs(sequences: Iterable[TokenSequence], tokens: int) -> Iterator[list[TokenSequence]]:
    """Yield sequences in runs of at most ``tokens`` tokens, or of one longer sequence."""
    waiting: list[TokenSequence] = []
    count = 0
    for sequence in sequences:
        if waiting and count + len(sequence.ids) > tokens:
            yield waiting
            waiting, count = [], 0
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
        """``real`` as a tensor."""
        return torch.from_numpy(self.real)

    @property
    def starts(self) -> torch.Tensor:
        """Indices of first tokens among the rows."""
        lengths = self.real.sum(axis=1)
        return torch.from_numpy(np.cumsum(lengths) - lengths)


def batched(sequences: Sequence[np.ndarray], groups: Iterable[np.ndarray]) -> Iterator[Batch]:
    """Yield a batch of the sequences of each group, given their indices."""
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


def groups(
    lengths: np.ndarray, batch_tokens: int, rope_groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield indices of sequences of similar length with at most ``batch_tokens`` when padded.

    The longest sequences come first, so that a batch that is too large for memory fails at once. A
    sequence longer than the budget is a batch by itself. If ``rope_groups`` are given, those of
    `Rotary`, the sequences of a batch have the same.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = lengths[order]
    sharing = np.zeros_like(lengths) if rope_groups is None else rope_groups[order]
    first = 0
    while first < len(order):
        longest = int(descending[first])
        most = first + max(1, batch_tokens // longest)
        alike = int(np.searchsorted(-descending, -LIKE_LENGTH * longest, side="right"))
        same = int(np.searchsorted(-sharing, -sharing[first], side="right"))
        stop = min(most, alike, same)
        yield order[first:stop]
        first = stop


class Rotary:
    """Rotary embeddings that depend on the longest sequence of a pass, or of earlier passes.

    LongRoPE has two embeddings: a pass uses the long one for all its sequences if one of them is
    longer than the model's original length. Dynamic embeddings are stretched to the longest
    sequence beyond that length and stay stretched in later passes.
    """

    def __init__(self, model: torch.nn.Module):
        # Modules whose embeddings stay stretched.
        self.stretched: list[torch.nn.Module] = []
        # The kinds, "longrope" or "dynamic", and the length from which each changes.
        self.limits: set[tuple[str, int]] = set()
        for module in model.modules():
            # If layers differ, there is one entry per type of layer.
            kinds = getattr(module, "rope_type", None)
            for layer_type, kind in kinds.items() if isinstance(kinds, dict) else [("", kinds)]:
                if "dynamic" in str(kind):
                    self.stretched.append(module)
                    self.limits.add(("dynamic", int(module.original_max_seq_len)))  # type: ignore[arg-type]
                elif kind == "longrope":
                    rope: Any = module.config.rope_parameters  # type: ignore[union-attr]
                    rope = rope[layer_type] if layer_type else rope
                    self.limits.add(("longrope", int(rope["original_max_position_embeddings"])))

    def rope_groups(self, lengths: np.ndarray) -> np.ndarray:
        """Return the group of each length, in which sequences share an embedding."""
        kinds = np.zeros_like(lengths)
        for kind, limit in self.limits:
            kinds = kinds + np.where(lengths > limit, lengths if kind == "dynamic" else 1, 0)
        return kinds

    def reset(self) -> None:
        """Restore the embeddings of the loaded model, undoing the stretching by earlier passes."""
        for module in self.stretched:
            for name, value in list(module.named_buffers(recurse=False)):
                if name.endswith("original_inv_freq"):
                    setattr(module, name.replace("original_", ""), value.clone())
            for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
                setattr(module, name, module.original_max_seq_len)


class Passes:
    """Runs forward passes of a model, on CPU several in parallel.

    ``batch_tokens`` are those of all simultaneous passes, padding included.
    """

    def __init__(self, model: Any, batch_tokens: int, threads: int = 1):
        self.model, self.batch_tokens, self.threads = model, batch_tokens, threads
        self.rotary = Rotary(model)
        # Passes in parallel at most, and the tokens of each.
        self.parallel, self.pass_tokens = 1, batch_tokens
        # Parallel passes would change stretched embeddings concurrently.
        if next(model.parameters()).device.type == "cpu" and not self.rotary.limits:
            self.parallel = min(threads, PASSES)
            self.pass_tokens = max(1, batch_tokens // PASSES)

    def batches(self, sequences: Sequence[np.ndarray]) -> list[Batch]:
        """Return the sequences in batches, see `groups`."""
        lengths = np.array([len(sequence) for sequence in sequences])
        rope_groups = self.rotary.rope_groups(lengths)
        return list(batched(sequences, groups(lengths, self.pass_tokens, rope_groups)))

    @contextmanager
    def first(self) -> Iterator[None]:
        """Observe a first pass: where it writes to the model, passes run one by one."""
        self.rotary.reset()
        with written(self.model) as names:
            yield
        if names:
            self.parallel, self.pass_tokens = 1, self.batch_tokens

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
            self.rotary.reset()
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
