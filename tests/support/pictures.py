"""Tables, norms and pictures for the tests of figures, and what a picture shows."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
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


def look_of(figure: Figure) -> str:
    """Return how a figure looks in words: what is drawn where, in which colours and styles.

    Places of texts in the margins and of panels, which fonts determine, are left out.
    """
    width, height = figure.get_size_inches()
    lines = [f"figure of {width:.2f} x {height:.2f} inches"]
    in_panels = {text for axes in figure.axes for text in axes.findobj(Text)}
    lines += [
        f"  {text_in_words(text)}"
        for text in figure.findobj(Text)
        if text not in in_panels and text.get_visible() and text.get_text().strip()
    ]
    for axes in figure.axes:
        lines += ["", *panel_in_words(axes)]
    return "\n".join(lines) + "\n"


def panel_in_words(axes: Axes) -> Iterator[str]:
    """Yield the lines of a panel: its axes, then all that is drawn, from back to front."""
    titles = [axes.get_title(loc=place) for place in ("left", "center")]
    yield f"panel {' '.join(filter(None, titles))!r}"
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        ticks = [text.get_text() for text in axis.get_ticklabels()]
        sides = [side for side, spine in axes.spines.items() if spine.get_visible()]
        yield (
            f"  {name} {axis.get_label_text()!r} {in_short(axis.get_view_interval())}, "
            f"{axis.get_scale()}, ticks {ticks}, {len(axis.get_minorticklocs())} small"
        )
    yield f"  sides {sides}"
    own = {axes.patch, *axes.spines.values(), axes.xaxis, axes.yaxis}
    drawn = [artist for artist in axes.get_children() if artist not in own and is_seen(artist)]
    bars = [artist for artist in drawn if isinstance(artist, Rectangle)]
    for kind in dict.fromkeys(map(kind_of_bar, bars)):
        alike = [bar for bar in bars if kind_of_bar(bar) == kind]
        boxes = np.array([(bar.get_x(), bar.get_width(), bar.get_height()) for bar in alike])
        yield f"  {kind}, {' '.join(map(in_short, boxes.T))}"
    others = [artist for artist in drawn if artist not in bars]
    for artist in sorted(others, key=lambda artist: artist.zorder):
        yield f"  {artist.zorder:g} {artist_in_words(artist)}"


def is_seen(artist: Artist) -> bool:
    return artist.get_visible() and not (isinstance(artist, Text) and not artist.get_text())


def artist_in_words(artist: Artist) -> str:
    """Return what is drawn, in words."""
    clipped = "" if artist.get_clip_on() else ", beyond the panel"
    if isinstance(artist, Text):
        return text_in_words(artist) + f" at {in_short(artist.get_position())}"
    if isinstance(artist, Legend):
        return f"legend of {[text.get_text() for text in artist.get_texts()]}"
    if isinstance(artist, Line2D):
        return line_in_words(artist) + clipped
    if isinstance(artist, Collection):
        return collection_in_words(artist) + clipped
    return type(artist).__name__


def kind_of_bar(bar: Rectangle) -> str:
    colours = f"{colour(bar.get_facecolor())} {colour(bar.get_edgecolor())}"
    return f"{bar.zorder:g} bars {colours} {bar.get_linewidth():.2g}"


def line_in_words(line: Line2D) -> str:
    words = [f"line{label_of(line)}", colour(line.get_color(), line.get_alpha())]
    # No other attribute has the dashes, in multiples of the width.
    dashes = [float(f"{length:.3g}") for length in line._unscaled_dash_pattern[1] or ()]
    words.append(f"{line.get_linestyle()} {line.get_linewidth():g} {dashes or ''}")
    if line.get_marker() != "None":
        faces = map(colour, (line.get_markerfacecolor(), line.get_markeredgecolor()))
        size = f"{line.get_markersize():g}/{line.get_markeredgewidth():g}"
        words.append(f"marks {line.get_marker()!r} {size} {' '.join(faces)}")
    x, y = line.get_data()
    return " ".join(words) + f": {in_short(x)} {in_short(y)}"


def collection_in_words(artist: Collection) -> str:
    faces = {colour(one) for one in artist.get_facecolor()}
    edges = {colour(one) for one in artist.get_edgecolor()}
    words = [type(artist).__name__ + label_of(artist), *sorted(faces), *sorted(edges)]
    if artist.get_array() is not None:
        limits = in_short(artist.get_clim())
        words = [type(artist).__name__, artist.get_cmap().name, limits]
        words.append(in_short(np.ma.filled(artist.get_array().astype(float), np.nan).ravel()))
        return " ".join(words)
    vertices = [path.vertices for path in artist.get_paths()]
    ends = np.concatenate([*vertices, artist.get_offsets()]) if vertices else np.empty((0, 2))
    extent = " without points"
    if len(ends):
        low, high = np.nanmin(ends, axis=0), np.nanmax(ends, axis=0)
        extent = f" from {in_short(low)} to {in_short(high)}"
    return f"{' '.join(words)} {len(vertices)}{extent}"


def label_of(artist: Artist) -> str:
    """Return the label of an artist in a legend, if it has one."""
    label = str(artist.get_label())
    return "" if label.startswith("_") else f" {label!r}"


def text_in_words(text: Text) -> str:
    weight = text.get_fontweight()
    place = f"{text.get_ha()} {text.get_va()} {text.get_rotation():g}"
    return (
        f"{text.get_text()!r} {text.get_fontsize():g} {weight} {colour(text.get_color())} {place}"
    )


def colour(given, alpha: float | None = None) -> str:
    """Return a colour as its number, with its opacity."""
    if isinstance(given, str) and given in ("none", "auto"):
        return given
    return to_hex(given if alpha is None else (given, alpha), keep_alpha=True)


def in_short(values: Iterable[float]) -> str:
    """Return up to six numbers, or their count, ends, extremes and sum."""
    numbers = np.asarray(list(values), dtype=float).ravel()
    shown = numbers
    beginning = ""
    if len(numbers) > 6:
        known = numbers[np.isfinite(numbers)]
        extremes = [known.min(), known.max(), known.sum()] if len(known) else []
        shown = np.array([numbers[0], numbers[-1], *extremes])
        beginning = f"{len(numbers)}: "
    # A number that is zero but for rounding is zero.
    return f"[{beginning}{', '.join(f'{0.0 if abs(n) < 1e-9 else n:.3g}' for n in shown)}]"
