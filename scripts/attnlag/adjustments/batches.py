"""Which sequences are computed together: runs of them, batches of like length."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

# Passes that run side by side on CPU, at most, each on a share of the batch's tokens. Together they
# are faster than one on as many threads, whose parts wait for each other; and a pass on one thread
# gives the same bytes however many run beside it.
PASSES = 8

# A batch holds no sequence shorter than this part of its longest: padding costs as much time as
# tokens do, and a small batch is hardly slower per token than a large one.
LIKE_LENGTH = 0.9


class Run(NamedTuple):
    """Sequences that are computed together, in corpus order: their keys and their token ids."""

    documents: list[str]
    windows: list[int]
    sequences: list[np.ndarray]


def stored_sequences(path: str | Path) -> Iterator[pa.RecordBatch]:
    """Yield the sequences of a tokens file, as ``runs`` takes them."""
    file = pq.ParquetFile(path, pre_buffer=False)
    columns = ["document", "window", "input_ids"]
    yield from file.iter_batches(1000, columns=columns, use_threads=False)


def runs(batches: Iterable[pa.RecordBatch], tokens: int) -> Iterator[Run]:
    """Yield sequences in runs of at most ``tokens`` tokens.

    A sequence longer than that is a run of its own.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With the columns ``document``, ``window`` and ``input_ids`` of a tokens file.
    tokens : int
    """
    held: list[tuple[str, int, np.ndarray]] = []
    count = 0
    for batch in batches:
        ids = batch["input_ids"]
        starts = ids.offsets.to_numpy()[:-1] - ids.offsets[0].as_py()
        sequences = np.split(ids.flatten().to_numpy(), starts[1:])
        keys = batch["document"].to_pylist(), batch["window"].to_pylist()
        for row in zip(*keys, sequences, strict=True):
            if held and count + len(row[2]) > tokens:
                yield Run(*map(list, zip(*held, strict=True)))
                held, count = [], 0
            held.append(row)
            count += len(row[2])
    if held:
        yield Run(*map(list, zip(*held, strict=True)))


def batches(
    lengths: np.ndarray, batch_tokens: int, stretches: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield indices of sequences of like length whose padded batch holds ``batch_tokens`` at most.

    Longest first, so that a batch too large for memory fails at once. A sequence longer than
    the budget is a batch of its own. A batch holds sequences of one stretch only, if they are
    given; see `Rotary`.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = lengths[order]
    stretched = np.zeros_like(lengths) if stretches is None else stretches[order]
    first = 0
    while first < len(order):
        longest = int(descending[first])
        most = first + max(1, batch_tokens // longest)
        alike = int(np.searchsorted(-descending, -LIKE_LENGTH * longest, side="right"))
        same = int(np.searchsorted(-stretched, -stretched[first], side="right"))
        stop = min(most, alike, same)
        yield order[first:stop]
        first = stop


class Rotary:
    """Rotary embeddings that depend on the longest sequence of a pass, or of those before it.

    LongRoPE has two embeddings: a pass takes the long one for all of its sequences as soon as one
    is longer than the model's original length. Dynamic embeddings are stretched to the longest
    sequence beyond that length, and stay so in the passes that follow.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk.

    Attributes
    ----------
    stretched : list of torch.nn.Module
        Modules whose embeddings stay stretched.
    limits : set of (str, int)
        The kinds, "longrope" or "dynamic", and the length from which each changes.
    """

    def __init__(self, model: torch.nn.Module):
        self.stretched: list[torch.nn.Module] = []
        self.limits: set[tuple[str, int]] = set()
        for module in model.modules():
            # Where layers differ, by type of layer.
            found = getattr(module, "rope_type", None)
            for layer_type, kind in found.items() if isinstance(found, dict) else [("", found)]:
                if "dynamic" in str(kind):
                    self.stretched.append(module)
                    self.limits.add(("dynamic", int(module.original_max_seq_len)))  # type: ignore[arg-type]
                elif kind == "longrope":
                    stated: Any = module.config.rope_parameters  # type: ignore[union-attr]
                    stated = stated[layer_type] if layer_type else stated
                    self.limits.add(("longrope", int(stated["original_max_position_embeddings"])))

    def stretches(self, lengths: np.ndarray) -> np.ndarray:
        """Return a number for each length that grows with it: equal ones share an embedding."""
        kinds = np.zeros_like(lengths)
        for kind, limit in self.limits:
            kinds = kinds + np.where(lengths > limit, lengths if kind == "dynamic" else 1, 0)
        return kinds

    def reset(self) -> None:
        """Undo what earlier passes left: the next one finds the model as it was loaded."""
        for module in self.stretched:
            for name, value in list(module.named_buffers(recurse=False)):
                if name.endswith("original_inv_freq"):
                    setattr(module, name.replace("original_", ""), value.clone())
            for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
                setattr(module, name, module.original_max_seq_len)
