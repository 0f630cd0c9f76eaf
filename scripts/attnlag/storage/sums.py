"""Sums over rows or documents that add up over shards, and their Parquet files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

# Metadata of a column: the shape of its arrays.
SHAPE = b"shape"


@dataclass
class Sums:
    """Base of data classes whose numbers and arrays of numbers add up, field by field."""

    # Fields with arrays that are equal in all summands, as are names and settings.
    equal: ClassVar[tuple[str, ...]] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields with arrays."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def facts(self) -> dict[str, Any]:
        """Return the other fields, names and settings, which `from_table` needs."""
        names = [field.name for field in fields(self) if field.name not in self.arrays()]
        return {name: getattr(self, name) for name in names}

    def __add__(self, other: Self) -> Self:
        changed: dict[str, Any] = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            adds = isinstance(mine, (int, float, np.ndarray)) and not isinstance(mine, bool)
            if adds and field.name not in self.equal:
                changed[field.name] = mine + theirs
        return replace(self, **changed)

    def to_table(self, **keys: Sequence[int] | np.ndarray) -> pa.Table:
        """Return the arrays as a table with a row for each element of their first axes.

        The keys are columns before those of the arrays, such as ``layer``.
        """
        names, columns = [], []
        key_columns = {name: np.array(numbers, np.int32) for name, numbers in keys.items()}
        for name, values in (key_columns | self.arrays()).items():
            column = pa.array(values.reshape(-1))
            shape = values.shape[1:]
            if shape:
                size = int(np.prod(shape))
                column = pa.FixedSizeListArray.from_arrays(column, size)
            facts = {SHAPE: ",".join(map(str, shape))}
            names.append(pa.field(name, column.type, metadata=facts))
            columns.append(column)
        return pa.table(columns, schema=pa.schema(names))

    @classmethod
    def from_table(cls, table: pa.Table, **facts: Any) -> Self:
        """Return the sums in a table, given the fields that are no arrays."""
        arrays = {}
        for name in [field.name for field in fields(cls) if field.name not in facts]:
            metadata = table.schema.field(name).metadata
            column = table[name].combine_chunks()
            shape = [int(size) for size in metadata[SHAPE].decode().split(",") if size]
            flat = column.flatten() if shape else column
            arrays[name] = flat.to_numpy().reshape(table.num_rows, *shape).copy()
        return cls(**facts, **arrays)
