"""What is regressed of a quantity: its numbers or their logarithms, and relative norms."""

from collections.abc import Iterator
from operator import methodcaller
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import columns
from attnlag.quantities.catalogue import Outcome
from attnlag.storage import tables


def log_norms(norms: np.ndarray) -> np.ndarray:
    """Return natural logarithms, (tokens,) float64; NaN if a norm is zero or not finite."""
    norms = norms.astype(np.float64)
    usable = np.isfinite(norms) & (norms > 0)
    return np.log(norms, out=np.full_like(norms, np.nan), where=usable)


def relative_norms(norms: np.ndarray, stream: np.ndarray) -> np.ndarray:
    """Return norms divided by those of the stream, (tokens,) float64; NaN if undefined."""
    usable = np.isfinite(stream) & (stream > 0)
    ratios = np.full(len(norms), np.nan)
    return np.divide(norms, stream, out=ratios, where=usable, dtype=np.float64)


def outcome_values(outcome: Outcome, numbers: np.ndarray) -> np.ndarray:
    """Return the regressed values of an outcome (perhaps logs), float64; NaN if undefined.

    They have the shape of the numbers.
    """
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
    stream_batches = tables.batches(stream, rows, f"{progress}: stream", list(names))
    waiting = pa.table({name: pa.array([], pa.float32()) for name in names})
    for batch in batches:
        # The batches of the two files may have different bounds.
        while len(waiting) < len(batch):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(stream_batches)])])
        for name in names:
            numbers = batch[name].to_numpy()
            values = relative_norms(numbers, waiting[name][: len(batch)].to_numpy())
            if outcome.name != "relative":
                values = np.where(np.isnan(values), np.nan, numbers)
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, name, pa.array(values))
        waiting = waiting.slice(len(batch))
        yield batch
