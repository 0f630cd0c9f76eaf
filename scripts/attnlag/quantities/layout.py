"""The rows of the files of an extraction, and their storage in Parquet."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from attnlag.errors import UserError
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence

# Largest number of bytes on disk per element of a vector; random digits do not compress.
STORED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


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


def table(
    sequences: Sequence[TokenSequence], layers: list[np.ndarray], schema: pa.Schema, stored: str
) -> pa.Table:
    """Return a row per token of some sequences: the keys first, then the layers of one site.

    Vectors are rounded to the precision ``stored``. Raise UserError if one is too large for
    float16.
    """
    columns = keys_of(sequences)
    for layer, values in enumerate(layers):
        if values.ndim == 1:
            columns.append(pa.array(values))
            continue
        flat = rounded(values, stored)
        if stored == "float16" and np.isinf(flat).sum() > np.isinf(values).sum():
            raise UserError(
                f"float16 holds numbers up to 65504, but what layer {layer} adds is as large as "
                f"{np.abs(values[np.isfinite(values)]).max():.3g}; expected storage in bfloat16 or "
                "float32"
            )
        kind = schema.field(len(columns)).type
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), type=kind))
    return pa.Table.from_arrays(columns, schema=schema)


def encoding(schema: pa.Schema, stored: str) -> dict[str, Any]:
    """Return the Parquet options for the rows of ``table``; see benchmarks/storage.py.

    Compression hardly reduces float32 vectors and slows down reading.
    """
    options: dict[str, Any] = {"use_dictionary": ["document"], "write_statistics": False}
    if not any(pa.types.is_fixed_size_list(field.type) for field in schema):
        return {**options, "compression": "zstd"}
    if stored == "float32":
        return {**options, "compression": "none"}
    return {**tables.encoding(schema), **options, "compression": "zstd", "compression_level": 1}


def rounded(values: np.ndarray, stored: str) -> np.ndarray:
    """Return float32 values rounded to the stored precision.

    Parquet has no bfloat16; such values are stored as float32 with zeros in the other digits,
    which compress to nothing.
    """
    if stored == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    if stored == "bfloat16":
        return torch.from_numpy(values).bfloat16().float().numpy()
    return values
