"""Rows and columns of the files of quantities, and how they are encoded."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from attnlag.errors import UserError
from attnlag.quantities import columns
from attnlag.quantities.computation import Computation
from attnlag.storage.sequences import KEY_FIELDS, TokenSequence, keys_of


def bytes_per_token(computation: Computation, stored: str) -> int:
    """Return the most bytes that a token takes on disk, given the precision of vectors."""
    # Random digits do not compress.
    bytes_per_number = 4
    if computation.holds_vectors:
        bytes_per_number = getattr(torch, stored).itemsize
    return len(computation.layers) * math.prod(computation.shape) * bytes_per_number


def schema_of(computation: Computation, stored: str = "float32") -> pa.Schema:
    """Return the columns of a quantity's file: the keys, then those of each layer."""
    if computation.fields:
        return pa.schema([*KEY_FIELDS, *computation.fields])
    shape = computation.shape
    values = computation.quantity.values
    width = shape[0] if shape and not values else None
    return columns.schema(computation.layers, width, stored, values)


def rows_of(
    computation: Computation,
    run: Sequence[TokenSequence],
    values: Sequence[np.ndarray],
    stored: str = "float32",
) -> pa.Table:
    """Return the rows of a quantity's file, given the array of each layer that has values.

    The arrays are (tokens, *shape), of the tokens of the run in order.
    """
    schema = schema_of(computation, stored)
    if computation.fields:
        # Null where nothing is known.
        columns_of_tokens = keys_of(run)
        for column in values[0].T:
            columns_of_tokens.append(pa.array(column, from_pandas=True))
        return pa.table(columns_of_tokens, schema.names).cast(schema)
    if computation.quantity.values:
        numbers: list[np.ndarray] = []
        for layer_values in values:
            numbers += list(layer_values.T)
        values = numbers
    return table(run, values, schema, stored)


def table(
    sequences: Sequence[TokenSequence], layers: Sequence[np.ndarray], schema: pa.Schema, stored: str
) -> pa.Table:
    """Return a row per token of some sequences: the keys first, then the layers of one site.

    Each layer is (tokens,) or (tokens, numbers).
    Vectors are rounded to the precision ``stored``. Parquet has no bfloat16; such numbers are
    stored as float32 with zeros in the other digits, which compress to nothing. Raise UserError if
    one is too large for float16.
    """
    arrays = keys_of(sequences)
    for values in layers:
        field = schema.field(len(arrays))
        if values.ndim == 1:
            arrays.append(pa.array(values))
            continue
        numbers = torch.from_numpy(values).to(getattr(torch, stored))
        flat = (numbers.float() if stored == "bfloat16" else numbers).numpy()
        if stored == "float16" and np.isinf(flat).sum() > np.isinf(values).sum():
            layer = columns.layer_number(field.name)
            raise UserError(
                f"float16 holds numbers up to 65504, but what layer {layer} adds is as large as "
                f"{np.abs(values[np.isfinite(values)]).max():.3g}; expected storage in bfloat16 or "
                "float32"
            )
        arrays.append(
            pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), type=field.type)
        )
    return pa.Table.from_arrays(arrays, schema=schema)


def encoding(schema: pa.Schema, stored: str) -> dict[str, Any]:
    """Return the Parquet options for the rows of `table`; see benchmarks/storage.py.

    Compression hardly reduces float32 vectors and slows down reading.
    """
    options: dict[str, Any] = {"use_dictionary": ["document"], "write_statistics": False}
    vectors = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
    if not vectors:
        return {**options, "compression": "zstd"}
    if stored == "float32":
        return {**options, "compression": "none"}
    split = [f"{name}.list.element" for name in vectors]
    options |= {"use_byte_stream_split": split, "compression_level": 1}
    return {**options, "compression": "zstd"}
