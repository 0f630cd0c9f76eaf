"""Sizes of figures: for a page and for a column of a paper.

Both are drawn with text of 9 points on canvases of different widths, and are then scaled as a
whole. They differ in the layout and the number of panels.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A size of figures."""

    name: str
    width: float  # width of the finished figure in inches
    magnification: float  # scale of the finished figure relative to the canvas
    dpi: int  # dots per inch of the finished figure

    @property
    def canvas(self) -> float:
        """Width of the canvas in inches."""
        return self.width / self.magnification

    @property
    def narrow(self) -> bool:
        """Whether panels that are side by side in other sizes are stacked."""
        return self.canvas < 6


# For a report about 1000 pixels wide, in which 9 points match the surrounding text.
PAGE = Size("page", 10.0, 1.0, 150)

# 89 mm wide, with text of 7 points.
COLUMN = Size("column", 3.5, 7 / 9, 300)

SIZES = {size.name: size for size in (PAGE, COLUMN)}


def best_of(names: Collection[str]) -> str:
    """Return the size that is shown where one is enough."""
    return next(name for name in SIZES if name in names)


def suffix_of(name: str) -> str:
    """Return the ending of file names in this size, before the format."""
    return "" if name == PAGE.name else f"_{name}"
