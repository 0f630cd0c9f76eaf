"""The sizes of figures: for a page, a column of a paper, a slide.

All are drawn with letters of 9 points, on a canvas of another width, and then made larger or
smaller as a whole: what differs between sizes is how panels are laid out, and how many there are.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Size:
    """A size of figures.

    Attributes
    ----------
    name : str
    width : float
        In inches, as it is shown.
    magnification : float
        Of the canvas.
    dpi : int
        Dots to an inch, as it is shown.
    height : float or None
        In inches, as it is shown, if all figures have the same.
    """

    name: str
    width: float
    magnification: float
    dpi: int
    height: float | None = None

    @property
    def canvas(self) -> float:
        """The width in inches that a figure is drawn with."""
        return self.width / self.magnification

    @property
    def narrow(self) -> bool:
        """Whether panels lie below each other that are side by side elsewhere."""
        return self.canvas < 6

    @property
    def flat(self) -> bool:
        """Whether panels are side by side that lie below each other elsewhere."""
        return self.height is not None

    def tall(self, height: float) -> tuple[float, float]:
        """Return width and height of the canvas, of a figure that would be so tall."""
        return self.canvas, self.height / self.magnification if self.height else height


# In a report, about 1000 pixels wide, 9 points are as large as the text around the figure.
PAGE = Size("page", 10.0, 1.0, 150)

# 89 mm, with letters of 7 points.
COLUMN = Size("column", 3.5, 7 / 9, 300)

# The whole of a slide of 16:9, with letters of 13.5 points.
SLIDE = Size("slide", 40 / 3, 1.5, 150, 7.5)

SIZES = {size.name: size for size in (PAGE, COLUMN, SLIDE)}


def suffix_of(name: str) -> str:
    """Return what the names of files in this size end with, before the format."""
    return "" if name == PAGE.name else f"_{name}"


def size_of(path: Path) -> Size:
    """Return the size that the name of a figure's file stands for."""
    named = [size for size in (COLUMN, SLIDE) if path.stem.endswith(suffix_of(size.name))]
    return named[0] if named else PAGE


def without_size(path: Path) -> str:
    """Return the name of a figure's file without its size and format."""
    return path.stem.removesuffix(suffix_of(size_of(path).name))
