"""A sample of whole documents, for what needs all rows at once.

Effects of tokens are shared by documents, so they cannot be added up shard by shard. Beyond a
number of rows, what needs them is computed from a random sample of documents, taken in the order of
a hash of their names. Which documents these are depends on neither the order of the corpus nor its
shards.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attnlag.storage import tables
from attnlag.storage.sequences import KEYS

# Largest number of rows of a sample, unless it would have fewer documents than these.
MAX_ROWS = 1_000_000
MIN_SAMPLED = 50


class Sample:
    """The rows of all documents of tables with a row per token, or of some with ``most`` or fewer.

    A sample has at least `MIN_SAMPLED` documents, however long.
    """

    def __init__(self, paths: Sequence[Path], most: int = MAX_ROWS) -> None:
        sizes: Counter[str] = Counter()
        for path in paths:
            # One batch is in memory at a time.
            file = pq.ParquetFile(path, pre_buffer=False)
            for batch in file.iter_batches(columns=["document"], use_threads=False):
                names, counted = batch["document"].value_counts().flatten()
                sizes.update(dict(zip(names.to_pylist(), counted.to_pylist(), strict=True)))
        # Hash before which those of the documents lie; "" if these are all documents.
        self.end = ""
        taken = 0
        for number, (place, name) in enumerate(sorted((_hash(name), name) for name in sizes)):
            taken += sizes[name]
            if taken > most and number >= MIN_SAMPLED:
                self.end = place
                break
        counts = np.array([*sizes.values()], np.int64)
        used = in_sample(sizes, self.end)
        self.paths = paths
        self.documents = list(itertools.compress(sizes, used))
        # (rows,) arrays: index of the document of each row, and of the row over all tables.
        self.document = np.repeat(np.arange(used.sum(), dtype=np.int32), counts[used])
        self.rows = np.flatnonzero(np.repeat(used, counts))

    def column(self, name: str) -> np.ndarray:
        """Return a column in these rows, (rows,)."""
        return tables.values_at(self.paths, name, self.rows)

    def keys(self) -> pa.Table:
        """Return the keys of these rows."""
        names = pa.DictionaryArray.from_arrays(self.document, pa.array(self.documents, pa.string()))
        return pa.table([names, *map(pa.array, map(self.column, KEYS[1:]))], names=KEYS)


def copied(paths: Sequence[Path], documents: Sequence[str], folder: Path) -> list[Path]:
    """Write the rows of some documents of each table to a new folder; return the files there."""
    folder.mkdir()
    names_kept = pa.array(documents, pa.string())
    copies: list[Path] = []
    for path in paths:
        file = pq.ParquetFile(path, pre_buffer=False)
        copies.append(folder / f"{len(copies)}.parquet")
        with pq.ParquetWriter(copies[-1], file.schema_arrow) as writer:
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["document"])[0].cast(pa.string())
                selected = pc.is_in(names, names_kept)
                if pc.any(selected).as_py():
                    writer.write_table(file.read_row_group(group).filter(selected))
    return copies


def in_sample(documents: Iterable[str], end: str) -> np.ndarray:
    """Return whether documents are in the sample that ends before a hash, (documents,) bool."""
    return np.array([not end or _hash(name) < end for name in documents], dtype=bool)


def generator_of(document: str, seed: int) -> np.random.Generator:
    """Return a generator of random numbers of a document, whatever its place in the corpus."""
    digest = hashlib.sha256(f"{seed} {document}".encode(errors="surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _hash(document: str) -> str:
    return hashlib.sha256(document.encode(errors="surrogatepass")).hexdigest()
