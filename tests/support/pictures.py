"""Tables, norms and pictures for the tests of figures, and what a picture shows."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

TITLE = "Some figure says so\ngpt2, prompts, attention, notebook · 2,940 rows from 20 documents"


def grid(**names: Iterable) -> pd.DataFrame:
    """Return a table with a row for each combination of values, as of ``layer`` and ``term``."""
    return pd.MultiIndex.from_product(names.values(), names=list(names)).to_frame(index=False)


def with_interval(table: pd.DataFrame, of: str = "estimate", reach: float = 0.1) -> pd.DataFrame:
    return table.assign(conf_low=table[of] - reach, conf_high=table[of] + reach, level=0.95)


def synthetic_tables(layers: int, lags: int = 2, unfitted: Sequence[int] = ()):
    """Return coefficients and fits; every third layer's last term is not significant."""
    terms = [f"lag_{n + 1}" for n in range(lags)]
    table = grid(layer=range(layers), term=["intercept", *terms])
    place, layer = table["term"].map(["intercept", *terms].index), table["layer"]
    last = (place == len(terms)) & (layer % 3 == 0)
    table["estimate"] = np.sin(layer + place) * 0.2 + 0.4 / (place + 1)
    table["p_adjusted"] = np.where(last, 0.4, 1e-6)
    table = with_interval(table, reach=0.05)
    table.loc[layer.isin(unfitted), table.columns[2:]] = np.nan
    fits = pd.DataFrame({"layer": range(layers), "r_squared": 0.1 + np.arange(layers) / 100})
    fits.loc[list(unfitted), "r_squared"] = np.nan
    return table.assign(vcov_type="cluster"), fits


def synthetic_controls(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Return controls of a regression: permuted order a little above zero, random weights large."""
    rows = coefficients[coefficients["term"] != "intercept"]
    known = rows["estimate"].notna()
    return rows[["layer", "term", "estimate"]].assign(
        permuted_low=(0.001 * rows["layer"] - 0.01).where(known),
        permuted_high=(0.001 * rows["layer"] + 0.05).where(known),
        untrained_own=(1.5 + 0.01 * rows["layer"]).where(known),
        untrained_default=np.where(known, 0.5, np.nan),
        untrained_own_r_squared=np.where(known, 0.99, np.nan),
        untrained_default_r_squared=np.nan,
        trained=rows["estimate"],
    )


def texts_of(figure: Figure) -> str:
    """Return the title and the text in the margins, as one line."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def legend_of(drawn: Figure | Axes) -> list[str]:
    """Return the labels of the only legend of a figure or of its axes."""
    (legend,) = drawn.findobj(Legend)
    return [text.get_text() for text in legend.get_texts()]


def texts_drawn(figure: Figure) -> list[Text]:
    """Return the texts that end up on paper: not the ticks' that their axis leaves out."""
    drawn, draw = {}, Text.draw

    def recorded(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        return draw(text, renderer, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", recorded)
        figure.draw_without_rendering()
    return list(drawn.values())


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts that lie on each other, and texts that leave the figure."""
    # A line that leads from a label to what it names is not part of the text.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts_drawn(figure)]
    pairs = itertools.combinations(boxes, 2)
    found = [(a, b) for (a, one), (b, other) in pairs if one.padded(-0.5).overlaps(other)]
    (left, bottom), (right, top) = figure.bbox.get_points()
    inside = [left <= b.x0 and b.x1 <= right and bottom <= b.y0 and b.y1 <= top for _, b in boxes]
    return found + [(a, "the edge") for (a, _), fits in zip(boxes, inside, strict=True) if not fits]


def band_of(collection) -> np.ndarray:
    """Return lower and upper end of a band at each of its layers."""
    corners = pd.DataFrame(collection.get_paths()[0].vertices, columns=["place", "height"])
    return corners.groupby("place")["height"].agg(["min", "max"]).to_numpy()


def diamonds_of(axes: Axes) -> list[tuple[float, float]]:
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    return [tuple(place) for line in diamonds for place in line.get_xydata()]


def marks_of(axes: Axes, marker: str, face: str | None = None) -> list[float]:
    """Return where marks of a kind lie along x: of one colour of their inside, if given."""
    marks = [line for line in axes.lines if line.get_marker() == marker]
    if face:
        marks = [m for m in marks if (m.get_markerfacecolor() == "w") == (face == "w")]
    return sorted(float(x) for line in marks for x in line.get_xdata())


def cells_of(axes: Axes, shape: tuple[int, int]) -> np.ndarray:
    """Return the values that the cells of a map show."""
    return np.ma.filled(np.ma.reshape(axes.collections[0].get_array(), shape), np.nan)
