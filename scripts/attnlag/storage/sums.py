"""Sums over rows or documents that add up over shards."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np


@dataclass
class Sums:
    """Base of data classes whose numbers and arrays of numbers add up, field by field.

    Other fields, such as names, are equal in all summands.
    """

    def __add__(self, other: Self) -> Self:
        added: dict[str, Any] = {}
        for each in fields(self):
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, (int, float, np.ndarray)):
                added[each.name] = mine + more
        return replace(self, **added)
