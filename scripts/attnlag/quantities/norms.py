"""Vectors of sites and their L2 norms: from a pass or, without torch, from stored vectors.

On a CPU all norms come from `l2_norms`, whichever rule runs it, so norms of a pass and of its
stored float32 vectors have the same bits. On a GPU those of a pass are summed in torch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.quantities import columns
from attnlag.quantities.computation import Computation
from attnlag.storage import tables

# Number of rows converted to float64 at a time; whole batches would not fit in the processor's
# cache, and converting them would take longer than the sums.
CHUNK = 64


def l2_norms(vectors: np.ndarray) -> np.ndarray:
    """Return the L2 norm of each row, summed in float64.

    Parameters
    ----------
    vectors : numpy.ndarray
        (tokens, width), of any floating-point precision.

    Returns
    -------
    numpy.ndarray
        (tokens,) float32; NaN or infinity if a number of the vector is.
    """
    squares = np.empty(len(vectors))
    for start in range(0, len(vectors), CHUNK):
        rows = vectors[start : start + CHUNK].astype(np.float64)
        squares[start : start + CHUNK] = np.einsum("ij,ij->i", rows, rows)
    return np.sqrt(squares).astype(np.float32)


def tensor_norms(vectors: Any) -> Any:
    """Return the L2 norm of each row of a tensor, (tokens,) float32 on its device."""
    import torch

    if vectors.device.type == "cpu":
        return torch.from_numpy(l2_norms(vectors.float().numpy()))
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).float()


class Vectors(Computation):
    """The vectors of a site, in float32: the adjustments, which are stored as "activations".

    `compute_norms` computes their norms from the stored vectors, see `norms_in`.
    """

    holds_vectors = True

    def of(self, layer: Any) -> Any:
        return layer.vectors(self.site).float()


class Norms(Computation):
    """The norms of a site, where vectors are not stored."""

    def of(self, layer: Any) -> Any:
        return tensor_norms(layer.vectors(self.site))


class StreamNorms(Computation):
    """The norms of what blocks receive."""

    def of(self, layer: Any) -> Any:
        return tensor_norms(layer.stream)


def stored_vectors(file: pq.ParquetFile, group: int, layer: str) -> np.ndarray:
    """Return the vectors of a layer in one row group of activations, (tokens, width) float32."""
    column = file.read_row_group(group, columns=[layer])[layer]
    return columns.array_of(column).astype(np.float32, copy=False)


def norms_in(
    file: pq.ParquetFile, add: Callable[[int, np.ndarray, np.ndarray], object]
) -> Iterator[pa.Table]:
    """Yield the norms of an activations file, keys first, in tables.

    One column of a row group is in memory at a time; ``add(place, vectors, position)`` gets each,
    with the place of its layer among those of the file.
    The tables have the rows of several row groups of vectors, which are small: to open a file of as
    many small row groups of norms would take memory.
    """
    layers = columns.layers_in(file.schema_arrow)
    schema = columns.schema(columns.layer_numbers(file.schema_arrow))
    held: list[pa.Table] = []
    for group in tqdm(range(file.num_row_groups), desc="norms", unit="row group", delay=2):
        rows = file.read_row_group(group, columns=columns.KEYS)
        position = rows["position"].to_numpy()
        for place, layer in enumerate(layers):
            vectors = stored_vectors(file, group, layer)
            add(place, vectors, position)
            rows = rows.append_column(layer, pa.array(l2_norms(vectors)))
        held.append(rows.cast(schema))
        if sum(map(len, held)) >= tables.ROWS_AT_ONCE or group == file.num_row_groups - 1:
            yield pa.concat_tables(held).unify_dictionaries()
            held = []
