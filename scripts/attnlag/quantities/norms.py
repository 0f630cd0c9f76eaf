"""Norms of vectors, stored or in a pass (`computation.Norms`), and what is regressed of them."""

from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.quantities import columns
from attnlag.quantities.catalogue import Outcome
from attnlag.storage import tables

# Number of rows converted to float64 at a time; whole batches would not fit in the processor's
# cache, and converting them would take longer than the sums.
CHUNK = 64


def l2_norms(vectors: np.ndarray) -> np.ndarray:
    """Return the L2 norm of each row of (tokens, width) floats, summed in float64, as float32."""
    squares = np.empty(len(vectors))
    for start in range(0, len(vectors), CHUNK):
        piece = vectors[start : start + CHUNK].astype(np.float64)
        squares[start : start + CHUNK] = np.einsum("ij,ij->i", piece, piece)
    return np.sqrt(squares).astype(np.float32)


def vectors_of(file: pq.ParquetFile, group: int, layer: str) -> np.ndarray:
    """Return the vectors of a layer in one row group of activations, (tokens, width) float32."""
    column = file.read_row_group(group, columns=[layer])[layer]
    return columns.array_of(column).astype(np.float32, copy=False)


def norms_of_row_group(
    file: pq.ParquetFile, group: int, add: Callable[[int, np.ndarray, np.ndarray], object]
) -> pa.Table:
    """Return the norms of one row group of an activations file, keys first.

    One column is in memory at a time; ``add(layer, vectors, position)`` gets each.
    """
    layers = columns.layers_in(file.schema_arrow)
    rows = file.read_row_group(group, columns=columns.KEYS)
    position = rows["position"].to_numpy()
    for number, layer in enumerate(layers):
        vectors = vectors_of(file, group, layer)
        add(number, vectors, position)
        rows = rows.append_column(layer, pa.array(l2_norms(vectors)))
    return rows.cast(columns.schema(len(layers)))


def norms_in(
    file: pq.ParquetFile, add: Callable[[int, np.ndarray, np.ndarray], object]
) -> Iterator[pa.Table]:
    """Yield the norms of an activations file, as `norms_of_row_group` returns them.

    The tables have the rows of several row groups of vectors, which are small: to open a file of as
    many small row groups of norms would take memory.
    """
    held: list[pa.Table] = []
    for group in tqdm(range(file.num_row_groups), desc="norms", unit="row group", delay=2):
        held.append(norms_of_row_group(file, group, add))
        if sum(map(len, held)) >= tables.ROWS_AT_ONCE or group == file.num_row_groups - 1:
            yield pa.concat_tables(held).unify_dictionaries()
            held = []


def log_norms(norms: np.ndarray) -> np.ndarray:
    """Return natural logarithms, float64; NaN if a norm is zero or not finite."""
    norms = norms.astype(np.float64)
    usable = np.isfinite(norms) & (norms > 0)
    return np.log(norms, out=np.full_like(norms, np.nan), where=usable)


def relative_norms(norms: np.ndarray, stream: np.ndarray) -> np.ndarray:
    """Return norms divided by those of the stream, float64; NaN if the ratio is undefined."""
    usable = np.isfinite(stream) & (stream > 0)
    ratios = np.full(len(norms), np.nan)
    return np.divide(norms, stream, out=ratios, where=usable, dtype=np.float64)


def outcome_values(outcome: Outcome, numbers: np.ndarray) -> np.ndarray:
    """Return the regressed values of an outcome (perhaps logs), float64; NaN if undefined."""
    if outcome.logarithm:
        return log_norms(numbers)
    numbers = numbers.astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def in_batches(
    outcome: Outcome, path: Path, stream: Path | None, rows: int, progress: str
) -> Iterator[pa.RecordBatch]:
    """Yield the numbers of an outcome, keys and layers, in whole documents of ``rows`` or more.

    The file of relative norms has the norms of adjustments. If the norms of the stream at the same
    tokens and blocks are given, relative norms are divided by them; other outcomes are NaN at
    tokens where that ratio is undefined.
    """
    names = outcome.columns(pq.read_schema(path).names)
    batches = tables.batches(path, rows, progress, [*columns.KEYS, *names.values()])
    batches = tables.whole_documents(batches, rows)
    renamed = methodcaller("rename_columns", [*columns.KEYS, *names])
    batches = map(renamed, batches)
    if stream is None:
        yield from batches
        return
    of_stream = tables.batches(stream, rows, f"{progress}: stream", list(names))
    waiting = pa.table({name: pa.array([], pa.float32()) for name in names})
    for batch in batches:
        # The batches of the two files may have different bounds.
        while len(waiting) < len(batch):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(of_stream)])])
        for name in names:
            numbers = batch[name].to_numpy()
            values = relative_norms(numbers, waiting[name][: len(batch)].to_numpy())
            if outcome.name != "relative":
                values = np.where(np.isnan(values), np.nan, numbers)
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, name, pa.array(values))
        waiting = waiting.slice(len(batch))
        yield batch
