"""Design matrices: the log norm of each token beside those of the tokens before it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from attnlag import layout
from attnlag.norms import log_norms


def schema(layers: Sequence[str], lags: Sequence[int]) -> pa.Schema:
    """Return the schema of a design: the keys, then y and each lag for every layer in turn."""
    terms = ["y"] + [f"lag_{lag}" for lag in lags]
    return pa.schema(
        [*layout.KEY_FIELDS, *((f"{x}.{term}", pa.float64()) for x in layers for term in terms)]
    )


@dataclass
class Counts:
    """What a design left out, and why.

    Attributes
    ----------
    sequences, short_sequences : int
        Sequences seen, and those too short to give a row.
    zero_norms, nonfinite_norms : dict of str to int
        Norms without a logarithm, per layer; only layers that have any.
    dropped_rows : dict of str to int
        Rows that such a norm took from a layer, as outcome or as lag.
    """

    sequences: int = 0
    short_sequences: int = 0
    zero_norms: dict[str, int] = field(default_factory=dict)
    nonfinite_norms: dict[str, int] = field(default_factory=dict)
    dropped_rows: dict[str, int] = field(default_factory=dict)


def _add(counts: dict[str, int], layers: Sequence[str], numbers: np.ndarray) -> None:
    for layer, number in zip(layers, numbers.tolist(), strict=True):
        if number:
            counts[layer] = counts.get(layer, 0) + number


def designs(
    batches: Iterable[pa.RecordBatch], lags: Sequence[int], drop_first: int, counts: Counts
) -> Iterator[pa.Table]:
    """Yield the design of consecutive batches of norms.

    A token gives a row where its sequence has ``drop_first + max(lags)`` tokens before it, so
    that neither the outcome nor a lag is one of the first ``drop_first``, and no lag crosses a
    sequence. A zero or non-finite norm empties the cells of its layer in the rows it touches.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Norms in corpus order; a sequence may go on in the next batch.
    lags : sequence of int
        Distances in tokens, each at least 1.
    drop_first : int
        Tokens dropped at the start of every sequence.
    counts : Counts
        Filled while the batches are read.

    Yields
    ------
    design : pyarrow.Table
        The keys, then per layer ``layer_00.y``, ``layer_00.lag_1``, … (float64, natural log of
        the norm; null where the layer drops the row).
    """
    reach = max(lags)
    carried: pa.Table | None = None
    last_position = -1
    for batch in batches:
        table = pa.Table.from_batches([batch])
        layers = layout.layers_in(table.schema)
        norms = np.column_stack([table[layer].to_numpy() for layer in layers])
        _add(counts.zero_norms, layers, (norms == 0).sum(axis=0))
        _add(counts.nonfinite_norms, layers, (~np.isfinite(norms)).sum(axis=0))

        position = table["position"].to_numpy()
        # A sequence ends where the next row is at position 0.
        before = np.concatenate([[last_position], position[:-1]])
        ended = before[(position == 0) & (before >= 0)]
        counts.sequences += int((position == 0).sum())
        counts.short_sequences += int((ended < drop_first + reach).sum())
        last_position = int(position[-1]) if len(position) else last_position

        # Lags may lie in the batches before: their last rows are carried along.
        old = 0 if carried is None else carried.num_rows
        whole = table if carried is None else pa.concat_tables([carried, table])
        carried = whole.slice(max(0, whole.num_rows - reach))
        values = log_norms(np.column_stack([whole[layer].to_numpy() for layer in layers]))
        rows = old + np.flatnonzero(position >= drop_first + reach)
        parts = np.stack([values[rows - lag] for lag in (0, *lags)])
        incomplete = np.isnan(parts).any(axis=0)
        _add(counts.dropped_rows, layers, incomplete.sum(axis=0))

        columns = [whole[key].take(rows) for key in layout.KEYS]
        for index in range(len(layers)):
            for part in parts:
                column = np.where(incomplete[:, index], np.nan, part[:, index])
                columns.append(pa.array(column, from_pandas=True))
        yield pa.table(columns, schema=schema(layers, lags))
    counts.short_sequences += 0 <= last_position < drop_first + reach
