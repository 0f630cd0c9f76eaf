"""How figures look, held in words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from pictures import TITLE, look_of

from attnlag.figures.sizes import PAGE
from attnlag.figures.templates import Sheet

LOOKS = Path(__file__).with_name("looks")


@pytest.fixture
def looks_as_before(write_lists: bool) -> Callable[[str, Sheet | Figure], None]:
    """Return a function that compares the look of a figure with that which is stored in words.

    The stored one is no oracle: it says what was there when someone last looked at the picture.
    After a change, open the picture, then write the words anew (``--write-lists``).
    """

    def compare(name: str, sheet: Sheet | Figure) -> None:
        figure = sheet if isinstance(sheet, Figure) else sheet.draw(TITLE, PAGE)
        look = look_of(figure)
        path = LOOKS / f"{name}.txt"
        if write_lists:
            path.write_text(look, encoding="utf-8")
        assert look == path.read_text(encoding="utf-8")

    return compare
