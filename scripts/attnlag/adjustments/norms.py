"""L2 norms of adjustments, and their logarithms."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments import columns


def l2_norms(vectors: np.ndarray) -> np.ndarray:
    """Return the L2 norm of each row, accumulated in float64.

    Parameters
    ----------
    vectors : (tokens, width) float array

    Returns
    -------
    norms : (tokens,) float32 array
    """
    vectors = vectors.astype(np.float64)
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors)).astype(np.float32)


def log_norms(norms: np.ndarray) -> np.ndarray:
    """Return natural logarithms, float64; NaN where a norm is zero or not finite."""
    norms = norms.astype(np.float64)
    usable = np.isfinite(norms) & (norms > 0)
    return np.log(norms, out=np.full_like(norms, np.nan), where=usable)


def norms_of_row_group(file: pq.ParquetFile, group: int) -> pa.Table:
    """Return the norms of one row group of an activations file, keys first.

    One column is in memory at a time.
    """
    layers = columns.layers_in(file.schema_arrow)
    rows = file.read_row_group(group, columns=columns.KEYS)
    for layer in layers:
        column = file.read_row_group(group, columns=[layer])[layer].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
        rows = rows.append_column(layer, pa.array(l2_norms(vectors)))
    return rows.cast(columns.schema(len(layers)))
