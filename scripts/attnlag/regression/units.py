"""The unit of a regression: a layer, or a part of a layer such as an attention head.

Each unit has a regression of its own. Tables of parts have the column ``part`` beside ``layer``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from attnlag.quantities.columns import layer_name, layer_number


@dataclass(frozen=True)
class Unit:
    """A layer, or one of its parts."""

    layer: int
    # Name of the part; ``""`` for the layer itself.
    part: str = ""

    @property
    def column(self) -> str:
        """Name of the column of its numbers, the first half of the columns of a design."""
        name = layer_name(self.layer)
        return f"{name}/{self.part}" if self.part else name


def layer_units(names: Iterable[str]) -> list[Unit]:
    """Return the layers of columns of norms, as ``layer_00``."""
    return [Unit(layer_number(name)) for name in names]


class Regressed(Protocol):
    """What belongs to a unit and has terms: its moments or its fit."""

    @property
    def layer(self) -> int: ...

    @property
    def part(self) -> str: ...

    @property
    def names(self) -> list[str]: ...


def key_columns(units: Sequence[Regressed]) -> dict[str, list[Any]]:
    """Return ``layer``, ``part`` and ``term``, with a row for each term of each unit."""
    columns: dict[str, list[Any]] = {"layer": [], "part": [], "term": []}
    for unit in units:
        columns["layer"] += [unit.layer] * len(unit.names)
        columns["part"] += [unit.part] * len(unit.names)
        columns["term"] += unit.names
    return columns
