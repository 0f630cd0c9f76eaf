"""Sums over rows or documents that add up over shards, and their Parquet files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa


@dataclass
class Sums:
    """Base of data classes whose numbers and arrays of numbers add up, field by field."""

    # Numbers and arrays that are equal in all summands, as are names and settings.
    equal: ClassVar[tuple[str, ...]] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields with arrays."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def facts(self) -> dict[str, Any]:
        """Return the other fields, names and settings, which `from_table` needs."""
        arrays = self.arrays()
        return {name: value for name, value in vars(self).items() if name not in arrays}

    def __add__(self, other: Self) -> Self:
        adding = {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, int | float | np.ndarray)
            and not isinstance(value, bool)
            and name not in self.equal
        }
        return replace(self, **{name: adding[name] + getattr(other, name) for name in adding})

    def to_table(self, **keys: Sequence[int] | np.ndarray) -> pa.Table:
        """Return the arrays as a table with a row for each element of their first axes.

        The keys are columns before those of the arrays, such as ``layer``.
        """
        key_columns = {name: pa.array(numbers, pa.int32()) for name, numbers in keys.items()}
        return pa.table(
            key_columns | {name: _column(array) for name, array in self.arrays().items()}
        )

    @classmethod
    def from_table(cls, table: pa.Table, **facts: Any) -> Self:
        """Return the sums in a table, given the fields that are no arrays."""
        names = [field.name for field in fields(cls) if field.name not in facts]
        return cls(**facts, **{name: _array(table[name].combine_chunks()) for name in names})


def _column(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))


def _array(column: pa.Array) -> np.ndarray:
    is_tensor = isinstance(column, pa.FixedShapeTensorArray)
    return column.to_numpy_ndarray() if is_tensor else column.to_numpy()
