"""Sums over rows or documents that add up over shards, and their Parquet files."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.storage.tables import read_provenance, write_table


@dataclass
class Sums:
    """Base of data classes whose arrays, with a row per layer, add up field by field.

    The other fields, names and settings, are equal in all summands.
    """

    layers: list[int]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields that add up."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def __add__(self, other: Self) -> Self:
        total = {}
        for name, own in self.arrays().items():
            total[name] = own + getattr(other, name)
        return replace(self, **total)

    def write(self, path: str | Path, record: dict[str, Any]) -> None:
        """Write the arrays as a table with a row per layer, and the other fields to its record.

        Raise UserError without room for the file.
        """
        arrays = self.arrays()
        columns = {"layer": pa.array(self.layers, pa.int32())}
        facts = {}
        for name, value in vars(self).items():
            if name in arrays:
                columns[name] = _column(value)
            else:
                facts[name] = value
        table = pa.table(columns)
        write_table(table, path, {**record, "sums": facts})

    @classmethod
    def read(cls, *paths: str | Path) -> Self:
        """Return what `write` has written, added up over files."""
        # One file at a time is in memory beside their sum.
        return reduce(add, (cls(**_fields(path)) for path in paths))


def _fields(path: str | Path) -> dict[str, Any]:
    table = pq.read_table(path)
    fields = read_provenance(path)["sums"]
    for name in table.column_names[1:]:
        fields[name] = _array(table[name].combine_chunks())
    return fields


def _column(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))


def _array(column: pa.Array) -> np.ndarray:
    is_tensor = isinstance(column, pa.FixedShapeTensorArray)
    return column.to_numpy_ndarray() if is_tensor else column.to_numpy()
