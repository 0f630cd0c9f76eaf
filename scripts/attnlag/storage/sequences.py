"""The sequences of tokens files, and the keys of their tokens, one row each."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEY_FIELDS = [
    pa.field("document", pa.dictionary(pa.int32(), pa.string())),
    pa.field("window", pa.int32()),
    pa.field("position", pa.int32()),
    pa.field("token_id", pa.int32()),
]
KEYS = [field.name for field in KEY_FIELDS]


class TokenSequence(NamedTuple):
    """The token ids of a document, or of a window of a long one."""

    document: str
    window: int
    ids: np.ndarray


def stored_sequences(tokens: Path) -> Iterator[TokenSequence]:
    """Yield the sequences of a tokens file, in order."""
    file = pq.ParquetFile(tokens, pre_buffer=False)
    columns = ["document", "window", "input_ids"]
    for batch in file.iter_batches(250, columns=columns, use_threads=False):
        ids = [row.values.to_numpy() for row in batch["input_ids"]]
        keys = batch["document"].to_pylist(), batch["window"].to_pylist()
        yield from map(TokenSequence, *keys, ids)


@dataclass(frozen=True)
class TokensFile:
    """The tokens of a shard in a file."""

    path: Path

    @property
    def sequences(self) -> Iterator[TokenSequence]:
        """The sequences, in order; they are read again each time."""
        return stored_sequences(self.path)

    @property
    def count(self) -> int:
        """Number of sequences."""
        return pq.read_metadata(self.path).num_rows

    @property
    def longest(self) -> int:
        """Number of tokens of the longest sequence, 0 if there is none."""
        return max((len(sequence.ids) for sequence in self.sequences), default=0)


@dataclass(frozen=True)
class TokensOfDocuments:
    """The tokens of some documents, in the files of all shards."""

    shards: Iterable[Path]
    documents: Collection[str]

    @cached_property
    def sequences(self) -> list[TokenSequence]:
        """The sequences, in order."""
        wanted = set(self.documents)
        sequences: list[TokenSequence] = []
        for path in self.shards:
            for sequence in stored_sequences(path):
                if sequence.document in wanted:
                    sequences.append(sequence)
        return sequences

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest sequence, 0 if there is none."""
        return max((len(sequence.ids) for sequence in self.sequences), default=0)


def keys_of(sequences: Sequence[TokenSequence]) -> list[pa.Array]:
    """Return the keys of the tokens of some sequences."""
    documents, windows, ids = zip(*sequences, strict=True)
    lengths = [len(tokens) for tokens in ids]
    return [
        pa.array(np.repeat(np.array(documents, dtype=object), lengths)).dictionary_encode(),
        pa.array(np.repeat(np.array(windows, dtype=np.int32), lengths)),
        pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])),
        pa.array(np.concatenate(ids).astype(np.int32)),
    ]
