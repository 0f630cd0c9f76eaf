"""The unit of a regression: a layer, or a part of a layer such as an attention head.

Each unit has a regression of its own. Tables of parts have the column ``part`` beside ``layer``.
"""

from dataclasses import dataclass

from attnlag.quantities.columns import layer_name


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
