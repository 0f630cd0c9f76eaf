"""The columns of the tables that have one row per token."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from attnlag.storage.sequences import KEY_FIELDS, KEYS

__all__ = ["KEYS", "KEY_FIELDS"]

# Metadata key of a file of geometry for random pairs, known after all its rows.
PAIRS_KEY = b"attnlag.random_pairs"

# Metadata key of a file of heads for the error of their sum, or the reason for their absence.
HEADS_KEY = b"attnlag.heads"


def layer_name(layer: int) -> str:
    """Return the column name of a layer: ``layer_00``."""
    return f"layer_{layer:02d}"


def layer_number(name: str) -> int:
    """Return the layer of a column name: 0 of ``layer_00`` and of ``layer_00.parallel``."""
    return int(name.partition(".")[0].removeprefix("layer_"))


def layers_in(schema: pa.Schema) -> list[str]:
    """Return the names of a table's layer columns, first layer first."""
    return [name for name in schema.names if name.startswith("layer_")]


def layer_numbers(schema: pa.Schema) -> list[int]:
    """Return the layers that have columns in a table, first layer first."""
    return list(dict.fromkeys(map(layer_number, layers_in(schema))))


def array_of(column: pa.ChunkedArray) -> Any:
    """Return a column as an array: (tokens,), or (tokens, width) if it holds lists of one size."""
    column = column.combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    return column.flatten().to_numpy().reshape(-1, column.type.list_size)


def schema(
    layers: int | Iterable[int],
    width: int | None = None,
    stored: str = "float32",
    values: Sequence[str] = (),
) -> pa.Schema:
    """Return the schema of vectors of ``width``, or without a width of numbers of each layer.

    ``layers`` is their number, or those that have columns; with ``values`` a column for each, as
    ``layer_00.parallel``. ``position`` counts from 0 within the sequence that the model saw,
    including a begin-of-sequence token. Vectors are declared as not null, which saves Parquet a
    level for each number.
    """
    names = list(map(layer_name, range(layers) if isinstance(layers, int) else layers))
    if values:
        names = [f"{name}.{value}" for name in names for value in values]
    kind: pa.DataType = pa.float32()
    if width is not None:
        number = pa.float16() if stored == "float16" else kind
        kind = pa.list_(pa.field("element", number, nullable=False), width)
    return pa.schema([*KEY_FIELDS, *(pa.field(n, kind, nullable=width is None) for n in names)])
