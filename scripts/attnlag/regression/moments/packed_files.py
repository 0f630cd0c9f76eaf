"""Files of packed moments: a row for each cell of each document, and a column for each layer.

Packed is the upper triangle of a symmetric matrix, row by row. Without room on its disk, a file is
not written, and UserError is raised.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.columns import layer_name
from attnlag.storage import tables

# Largest number of documents that are written at once, and of bytes that are written or read.
DOCUMENTS = 5000
BLOCK_BYTES = 24e6

# Documents, and their packed moments, (documents, cells, layers, packed).
Block = tuple[list[str], np.ndarray]


def write_packed(
    blocks: Iterable[Block],
    path: str | Path,
    record: dict[str, Any],
    *,
    terms: Sequence[str],
    layers: Sequence[int],
    centre: np.ndarray,
    cells: int,
    halves: bool,
) -> int:
    """Write the packed moments of documents; return the number of documents.

    Parameters
    ----------
    blocks : iterable of Block
        The documents, some at a time.
    path : str or Path
        The file.
    record : dict
        Its provenance, to which what follows is added as ``crossproducts``.
    terms : sequence of str
        Elements of w after its leading 1.
    layers : sequence of int
        The layers of the blocks.
    centre : (layers, p) array
        What was subtracted from w.
    cells : int
        Number of cells of a document.
    halves : bool
        Whether the halves of documents are cells of their own.
    """
    p = 1 + len(terms)
    shape = (cells, len(layers), p * (p + 1) // 2)
    at_once = min(DOCUMENTS, BLOCK_BYTES // (8 * np.prod(shape)))
    facts = {
        "terms": terms,
        "layers": layers,
        "centre": centre.tolist(),
        "halves": 1 + halves,
        "cells": cells,
    }
    documents = 0
    with tables.parquet_writer(
        path,
        _table([], np.zeros((0, *shape)), layers).schema,
        {**record, "crossproducts": facts},
        # For fast reading; a dictionary of distinct numbers is as large as the numbers.
        compression="lz4",
        use_dictionary=["document"],
        use_byte_stream_split=[f"{layer_name(layer)}.list.element" for layer in layers],
    ) as writer:
        for names, sums in gathered(blocks, at_once):
            writer.write_table(_table(names, sums, layers))
            documents += len(names)
    return documents


class PackedFiles:
    """The files of all shards of a design. A document is in one of them."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = list(paths)
        self.metadata = []
        centres = []
        rows = []
        for path in paths:
            metadata = pq.read_metadata(path)
            facts = tables.read_provenance(path)["crossproducts"]
            self.metadata.append(metadata)
            rows.append(metadata.num_rows)
            centres.append(facts["centre"])
        # (files, layers, p) array: the centre of each file.
        self.centres = np.array(centres)
        # Index of the file with the most documents.
        self.largest = int(np.argmax(rows))
        self.record = tables.read_provenance(paths[0])
        self.layers: list[int] = facts["layers"]
        self.terms: list[str] = facts["terms"]
        self.cells: int = facts["cells"]
        self.has_halves: bool = facts["halves"] == 2
        self.documents = sum(rows) // self.cells
        p = 1 + len(self.terms)
        # Number of elements of packed moments.
        self.packed = p * (p + 1) // 2

    def blocks(self, file: int, layer: int) -> Iterator[Block]:
        """Yield documents of a file with their packed moments in a layer.

        The moments are (documents, cells, packed).
        """
        column = layer_name(layer)
        rows = max(1, int(BLOCK_BYTES // (8 * self.cells * self.packed))) * self.cells
        opened = pq.ParquetFile(self.paths[file], metadata=self.metadata[file], pre_buffer=False)
        for batch in opened.iter_batches(rows, columns=["document", column], use_threads=False):
            # Each document has a row for each of its cells.
            names = batch["document"].take(pa.array(np.arange(0, len(batch), self.cells)))
            sums = batch[column].flatten().to_numpy()
            yield names.to_pylist(), sums.reshape(len(names), self.cells, self.packed)


def gathered(blocks: Iterable[Block], at_once: float = np.inf) -> Iterator[Block]:
    """Yield documents in blocks of a number or more; the last may be smaller."""
    names: list[str] = []
    sums: list[np.ndarray] = []
    for documents, block in blocks:
        names += documents
        sums.append(block)
        if len(names) >= at_once:
            yield names, np.concatenate(sums)
            names = []
            sums = []
    if names:
        yield names, np.concatenate(sums)


def unpacked(packed: np.ndarray, p: int) -> np.ndarray:
    """Return symmetric matrices, (…, p, p), from their upper triangles, row by row."""
    upper = np.zeros((p, p), dtype=np.intp)
    upper[np.triu_indices(p)] = np.arange(p * (p + 1) // 2)
    return packed[..., np.maximum(upper, upper.T)]


def _table(names: Sequence[str], sums: np.ndarray, layers: Sequence[int]) -> pa.Table:
    """Return packed moments with a row per document and cell.

    ``n`` is the largest number of rows of a layer.
    """
    documents, cells, _, packed = sums.shape
    codes = pa.array(np.repeat(np.arange(documents, dtype=np.int32), cells))
    counts = np.rint(sums[..., 0].max(axis=2, initial=0)).astype(np.int64)
    columns = {
        "document": pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string())),
        "n": pa.array(counts.reshape(-1)),
    }
    for place, layer in enumerate(layers):
        own = pa.array(np.ascontiguousarray(sums[:, :, place]).reshape(-1))
        columns[layer_name(layer)] = pa.FixedSizeListArray.from_arrays(own, packed)
    return pa.table(columns)
