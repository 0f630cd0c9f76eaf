"""The two templates of figures: lines by layer with bands, and maps of rows by layers.

A figure reduces its inputs to a `Sheet`, which is drawn in any size. Layers lie on the x axis.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from attnlag.fields import scale_label
from attnlag.figures import drawing
from attnlag.figures.files import style
from attnlag.figures.legends import GREY, UNFITTED
from attnlag.figures.sizes import Size
from attnlag.regression.labels import scale_of, shown_within, tested, untrained_columns

# Dashes of the scales of random weights.
SCALE_DASHES = [
    (0, (4, 2.5)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
    (0, (9, 2.5)),
]

# Blue below zero, white at zero, red above, with equal lightness at equal distances.
DIVERGING: Colormap = sns.color_palette("vlag", as_cmap=True)

# Largest number of whole numbers that all have a tick on an axis of their own.
MAX_TICKS = 10

# Largest number of characters in a line of a label beside the end of a line.
LABEL_WIDTH = 19

# Height of a line of text, width of a character of 9 points and of one of a panel's title, and
# space to the left of a panel without the names of its rows, in inches.
LINE_HEIGHT = 0.17
CHARACTER = 0.065
TITLE_CHARACTER = 0.08
LEFT = 0.75

# Lightness of a colour, from 0 to 1, beyond which its words are hard to read on white.
MAX_LIGHTNESS = 0.65

# Columns of tidy tables that bound an estimate.
BOUNDS = ("conf_low", "conf_high")


@dataclass
class Line:
    """A line of a panel, a value for each x; NaN is a gap, and alone a line of the legend.

    Where it is known which values are not significant or negligible, every value has a mark: a
    filled circle if neither holds, an open one if it is shown to be negligible, a cross if it is
    not significant. No other line has such marks; bars have squares.
    """

    y: Any
    label: str = ""  # what the line is; lines of one label share an entry of the legend
    color: Any = GREY
    low: Any = None  # ends of the intervals
    high: Any = None
    linestyle: Any = "-"
    linewidth: float = 1.4
    shade: float = 0.22  # opacity of the band
    bars: bool = False  # intervals as bars around squares, and no line between the values
    weak: Any = None  # True where a value is not significant
    negligible: Any = None  # True where it is shown to be negligible
    behind: bool = False  # drawn behind the other lines
    x: Any = None  # None: that of the panel
    interval: bool = True  # False where the band is no confidence interval
    each: str = ""  # which one it is of many lines of one label

    @property
    def has_interval(self) -> bool:
        """Whether the ends of an interval are known; too few documents give none."""
        return self.low is not None and bool(np.isfinite(np.asarray(self.low, float)).any())


@dataclass
class Lines:
    """A panel of lines."""

    lines: Sequence[Line]
    ylabel: str
    title: str = ""
    x: Any = None  # None: the layers of the sheet
    xlabel: str = "layer"
    height: float = 2.3  # in inches, on a page
    zero: bool = True  # whether zero is drawn
    ylim: tuple[float | None, float | None] = (None, None)
    log_scale: bool = False
    linear_to: float | None = None  # x axis: linear up to it, then logarithmic; None: linear
    share: str = ""  # panels that name the same share their y axis
    missing: Sequence[int] = ()  # layers without a fit
    direct: bool = False  # whether labels stand beside the ends of lines, not in a legend
    extra: Callable[[Axes], None] | None = None  # draws what is the figure's own

    def height_in(self, size: Size) -> float:
        """Return the height in inches; panels may be lower where they are stacked."""
        return self.height * (0.75 if size.narrow else 1)


@dataclass
class Map:
    """A panel of cells, a row for each name and a column for each layer; NaN is grey."""

    values: np.ndarray
    rows: Sequence[str]  # names, from top to bottom
    label: str  # of the colours
    title: str = ""
    ylabel: str = ""
    row_height: float = 0.24  # in inches, on a page
    colours: Any = None  # None: blue below zero, red above
    limits: tuple[float, float] | None = None  # None: symmetric, saturating at the last 2%
    weak: np.ndarray | None = None  # cells that are not significant; the others have a dot
    texts: Mapping[int, str] = field(default_factory=dict)  # text across a row
    named: Sequence[int] | None = None  # rows that have a tick with their name; None: all
    extra: Callable[[Axes], None] | None = None
    xlabel: str = "layer"

    @property
    def ticks(self) -> Sequence[int]:
        """The rows that have a tick with their name."""
        return range(len(self.rows)) if self.named is None else self.named

    def height_in(self, size: Size) -> float:
        """Return the height in inches."""
        return max(self.row_height * len(self.rows), 1.3) + 0.35


@dataclass
class Sheet:
    """A figure: its claim, its panels in reading order and its caption.

    Without panels, the claim says why there is nothing to show.
    """

    claim: str
    layers: Sequence[int] = ()
    panels: Sequence[Lines | Map] = ()
    note: str = ""
    across: int = 1  # panels side by side on a page
    alpha: float = 0.05
    adjust: str = "none"  # correction of the p-values behind the marks
    equivalence_bound: float | None = None
    # What the second line of the title states: the number of tokens, rows or documents, and names
    # of the data beside those of the job.
    extent: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The note, and what the marks mean that are drawn."""
        return " ".join(filter(None, [self.note, *marks_in_words(self)]))

    @style()
    def draw(self, title: str, size: Size) -> Figure:
        """Draw the panels in rows, with the legend above and the caption below them."""
        panels = self.panels
        layers = list(self.layers)
        columns = min(1 if size.narrow else self.across, len(panels))
        rows: list[Sequence[Lines | Map]] = []
        heights = []
        for start in range(0, len(panels), columns or 1):
            row = panels[start : start + columns]
            rows.append(row)
            heights.append(max(panel.height_in(size) for panel in row))
        legend = legend_of(self)
        figure, canvas = drawing.framed(title, self.caption, size, sum(heights) + 0.4, legend)
        if not panels:
            canvas.subplots().set_axis_off()
            return figure
        grid = canvas.add_gridspec(len(rows), columns, height_ratios=heights)
        maps = [panel for panel in panels if isinstance(panel, Map)]
        left = LEFT + CHARACTER * longest_row_name(maps)
        mixed = columns == 1 and len(maps) < len(panels)
        axes_by_share: dict[str, Axes] = {}  # first of the axes that share a scale
        for place, panel in enumerate(panels):
            line, column = divmod(place, columns)
            # A panel that is alone in its row takes all of it.
            cell = grid[line, :] if len(rows[line]) == 1 else grid[line, column]
            if isinstance(panel, Map):
                axes = canvas.add_subplot(cell)
                _draw_map(axes, panel, layers, "bottom" if mixed else "right")
            else:
                axes = canvas.add_subplot(cell, sharey=axes_by_share.get(panel.share))
                if panel.share:
                    axes_by_share.setdefault(panel.share, axes)
                # Below a map, lines have its cells, one for each layer that is there.
                x = np.arange(len(layers)) + 0.5
                if layers and not maps:
                    x = drawing.places_of_layers(layers)
                _draw_lines(axes, panel, layers, x, panel.height_in(size))
                beside = panels[place - 1] if column else None
                if panel.share and isinstance(beside, Lines) and beside.share == panel.share:
                    # The panel to the left says it.
                    axes.set_ylabel("")
                elif size.narrow:
                    # The unit has no room.
                    axes.set_ylabel(panel.ylabel.partition("\n")[0])
            axes.set_xlabel(panel.xlabel)
            if panel.title:
                room = size.canvas / len(rows[line]) - left
                title = textwrap.fill(panel.title, int(room / TITLE_CHARACTER))
                axes.set_title(title, loc="left", weight="bold")
            if panel.extra:
                panel.extra(axes)
            if line + 1 < len(rows) and have_one_axis(rows[line], rows[line + 1]):
                axes.set_xlabel("")
                axes.tick_params(labelbottom=False)
        sns.despine(figure)
        if not maps:
            canvas.align_ylabels()
        return figure


def longest_row_name(maps: Sequence[Map]) -> int:
    """Return the number of characters of the longest name of a row, 0 without maps."""
    longest = 0
    for panel in maps:
        for row in panel.ticks:
            longest = max(longest, len(panel.rows[row]))
    return longest


def have_one_axis(above: Sequence[Lines | Map], below: Sequence[Lines | Map]) -> bool:
    """Return whether layers written under a row of panels are those of the row above too."""
    if len(above) != len(below):
        return False
    return all(panel.xlabel == "layer" for panel in [*above, *below])


@dataclass
class CustomFigure:
    """A figure of neither template: its claim, its parts and the function that draws them."""

    claim: str
    drawn: Callable[..., Figure]
    parts: tuple[Any, ...]
    extent: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @style()
    def draw(self, title: str, size: Size) -> Figure:
        """Draw it in the style of the project."""
        return self.drawn(*self.parts, title, size)


def profile(
    rows: pd.DataFrame,
    layers: Sequence[int],
    color: Any,
    value: str = "estimate",
    alpha: float | None = None,
    **kind: Any,
) -> Line:
    """Return the line of one coefficient from a tidy table, with its interval.

    ``alpha``, the level of significance, asks for marks, which come from the columns ``p_adjusted``
    and ``equivalence``, if there is one. Further properties of the line are ``kind``.
    """
    columns = [value, *BOUNDS, "p_adjusted", "equivalence"]
    table = rows.set_index("layer").reindex(index=list(layers), columns=columns)
    numbers = table.drop(columns="equivalence").astype(float)
    y = numbers[value].to_numpy()
    line = Line(y, color=color, low=numbers[BOUNDS[0]].to_numpy(), **kind)
    line.high = numbers[BOUNDS[1]].to_numpy()
    if alpha is not None:
        line.weak = numbers["p_adjusted"].to_numpy() >= alpha
        line.negligible = (table["equivalence"] == "absent").to_numpy()
    return line


def untrained(
    values: Any, label: str = "untrained", color: Any = "0.25", linestyle: Any = SCALE_DASHES[0]
) -> Line:
    """Return the line of the control with untrained weights."""
    return Line(values, label, color, linestyle=linestyle, linewidth=1.1, behind=True)


def untrained_lines(rows: pd.DataFrame, suffix: str = "") -> list[Line]:
    """Return the lines of a table of untrained controls, one for each scale of the weights.

    ``suffix`` is the ending of the columns, as ``_r_squared``. There is no line where nothing
    varies. Several have the names of their scales.
    """
    names = untrained_columns(rows)
    lines = []
    for name, dashes in zip(names, cycle(SCALE_DASHES), strict=False):
        values = rows[f"{name}{suffix}"]
        label = "untrained"
        if len(names) > 1:
            label = scale_label(scale_of(name))
        if values.notna().any():
            lines.append(untrained(values, label, linestyle=dashes))
    return lines


def permuted(low: Any, high: Any) -> Line:
    """Return the band of the control with tokens in random order."""
    kind: dict[str, Any] = {"linewidth": 0, "shade": 1.0, "behind": True}
    return Line(np.nan, "random order", "0.7", low, high, **kind)


def tests_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sheet states of its marks, from the settings of a regression."""
    return {name: settings[name] for name in ("alpha", "adjust", "equivalence_bound")}


def by_layer(table: pd.DataFrame, rows: str, value: str, names: Sequence, layers: Sequence[int]):
    """Return one column of a tidy table as (names, layers) values."""
    wide = table.pivot(index=rows, columns="layer", values=value)
    return wide.reindex(index=list(names), columns=list(layers)).to_numpy(dtype=float)


def legend_of(sheet: Sheet) -> dict[str, Any]:
    """Return the legend's handles by label, of lines that have no label beside their ends."""
    entries: dict[str, Any] = {}
    has_missing = False
    for panel in sheet.panels:
        if isinstance(panel, Map):
            continue
        has_missing = has_missing or len(panel.missing) > 0
        for line in panel.lines:
            if line.label and not panel.direct:
                entries.setdefault(line.label, _handle(line))
    if has_missing:
        entries["not fitted"] = Line2D([], [], color=GREY, **UNFITTED)
    return entries


def marks_in_words(sheet: Sheet) -> list[str]:
    """Return sentences on the marks and the bands of lines that a sheet draws."""
    lines: list[Line] = []
    for panel in sheet.panels:
        if isinstance(panel, Lines):
            lines += panel.lines
    has_tests = False
    has_negligible = False
    shapes: set[str] = set()
    for line in lines:
        has_tests = has_tests or line.weak is not None
        has_negligible = has_negligible or bool(np.any(line.negligible))
        if line.interval and line.linewidth > 0 and line.has_interval:
            shapes.add("bars" if line.bars else "bands")
    sentences = []
    if has_tests:
        meanings = [
            f"● {tested('<', sheet.alpha, sheet.adjust)}",
            f"× {tested('≥', sheet.alpha, sheet.adjust)}",
        ]
        if sheet.equivalence_bound is not None and has_negligible:
            meanings.append(f"○ {shown_within(sheet.equivalence_bound)}")
        sentences.append(f"{'; '.join(meanings)}.")
    if shapes:
        level = f"{100 * (1 - sheet.alpha):g}%"
        sentences.append(f"{' and '.join(sorted(shapes)).capitalize()}: {level} intervals.")
    return sentences


def _handle(line: Line) -> Any:
    """Return the legend's handle of a line: a patch for a band alone."""
    if not line.linewidth:
        return Patch(color=line.color, alpha=line.shade, linewidth=0)
    dashes, marker = ("none", "s") if line.bars else (line.linestyle, "")
    kind: dict[str, Any] = {"color": line.color, "linestyle": dashes, "marker": marker}
    return Line2D([], [], linewidth=line.linewidth, ms=5, mew=0.8, **kind)


def _draw_lines(
    axes: Axes, panel: Lines, layers: list[int], places: np.ndarray, height: float
) -> None:
    """Draw the lines of a panel, ``height`` inches high, over the layers or an axis of its own.

    The layers are at ``places``.
    """
    over_layers = panel.x is None
    x = places if over_layers else np.asarray(panel.x, dtype=float)
    if panel.zero:
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    size = float(np.clip(38 * drawing.panel_width(axes) / max(len(x), 1), 2.4, 5.5))
    for line in panel.lines:
        _draw_line(axes, x if line.x is None else line.x, line, size)
    axes.margins(y=0.08)
    if panel.ylim != (None, None):
        axes.set_ylim(*panel.ylim)
    axes.set_ylabel(panel.ylabel)
    if over_layers:
        axes.set_xlim(0, x[-1] + 0.5)
        drawing.label_places(axes, layers, x)
        axes.set_xticks(x, minor=True)
    elif (x == x.round()).all() and len(x) <= MAX_TICKS:
        axes.set_xticks(x)
    elif (x == x.round()).all():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.linear_to is not None:
        # The linear part is as wide as a doubling.
        axes.set_xscale("symlog", base=2, linthresh=panel.linear_to, linscale=0.5)
    if len(panel.missing):
        missing = [places[layers.index(layer)] for layer in panel.missing]
        low: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(missing, [0.03] * len(missing), color=GREY, **low, **UNFITTED)
    if panel.log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    _name_ends(axes, x, panel, height)


def _draw_line(axes: Axes, x: np.ndarray, line: Line, size: float) -> None:
    """Draw a line with its band and marks."""
    y = np.broadcast_to(np.asarray(line.y, dtype=float), np.shape(x))
    order = 1.5 if line.behind else 2
    plain: dict[str, Any] = {"color": line.color, "linestyle": "none", "zorder": order + 1}
    if line.has_interval or line.bars:
        low = np.asarray(line.low, dtype=float)
        high = np.asarray(line.high, dtype=float)
        if line.bars:
            reach = np.nan_to_num(np.stack([y - low, high - y]))
            # The first and the last may reach over the edges of the panel.
            bars: dict[str, Any] = {"elinewidth": 1.2, "ms": 0.75 * size, "clip_on": False}
            axes.errorbar(x, y, reach, marker="s", **bars, **plain)
            return
        drawing.draw_band(axes, x, low, high, color=line.color, alpha=line.shade, zorder=order)
    dashes: dict[str, Any] = {"linestyle": line.linestyle, "zorder": order + 0.5}
    axes.plot(x, y, linewidth=line.linewidth, **{**plain, **dashes})
    if line.weak is None:
        return
    finite = np.isfinite(y)
    weak = finite & np.asarray(line.weak, dtype=bool)
    negligible = finite & np.asarray(line.negligible, dtype=bool)
    for marked, face in ((finite & ~weak & ~negligible, line.color), (negligible, "w")):
        kind: dict[str, Any] = {"markerfacecolor": face, "ms": 0.75 * size, "mew": 1.0}
        axes.plot(x[marked], y[marked], marker="o", **kind, **plain)
    axes.plot(x[weak], y[weak], marker="x", ms=size, mew=1.1, **plain)


def _name_ends(axes: Axes, x: np.ndarray, panel: Lines, height: float) -> None:
    """Write labels beside the ends of lines, without overlaps."""
    lines = [line for line in panel.lines if line.label]
    if not (panel.direct and lines):
        return
    low, high = axes.get_ylim()
    # The title and the axis take some of the height.
    line_height = LINE_HEIGHT / (height - 0.7) * (high - low)
    ends = []
    labels = []
    extents = []
    for line in lines:
        # A panel may leave out where a line ends.
        ends.append(float(np.clip(_end_of(line), low, high)))
        label = textwrap.fill(line.label, LABEL_WIDTH)
        labels.append(label)
        extents.append(line_height * (1 + label.count("\n")))
    heights = drawing.spread_out(ends, extents, low, high)
    for line, label, end, place in zip(lines, labels, ends, heights, strict=True):
        # It leads to the beginning of the label, not across those above it.
        leader = {"arrowstyle": "-", "color": line.color, "linewidth": 0.6, "relpos": (0, 0.5)}
        axes.annotate(
            label,
            (x[-1] if line.x is None else line.x[-1], end),
            xytext=(1.03, place),
            textcoords=axes.get_yaxis_transform(),
            color=label_colour(line),
            va="center",
            arrowprops={**leader, "shrinkA": 1},
            annotation_clip=False,
        )


def label_colour(line: Line) -> Any:
    """Return the colour of a label: the line's, unless that is too light to be read."""
    red, green, blue = to_rgb(line.color)
    lightness = 0.3 * red + 0.59 * green + 0.11 * blue
    if line.linewidth == 0 or lightness > MAX_LIGHTNESS:
        return GREY
    return line.color


def _end_of(line: Line) -> float:
    """Return the height at which a line ends, or the middle of a band; 0 if neither is known."""
    values = np.asarray(line.y, dtype=float)
    if line.linewidth == 0:
        values = (np.asarray(line.low, dtype=float) + np.asarray(line.high, dtype=float)) / 2
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else 0.0


def _draw_map(axes: Axes, panel: Map, layers: list[int], location: str) -> None:
    """Draw the cells of a panel with their names and colours."""
    values = panel.values
    reach = drawing.reach_of(values)
    low, high = panel.limits or (-reach, reach)
    # Colours saturate at the ends of a scale that does not cover all values.
    beyond = bool(np.any(values < low)), bool(np.any(values > high))
    bar: dict[str, Any] = {"label": panel.label, "location": location, "pad": 0.02}
    bar["aspect"] = 60 if location == "bottom" else 22
    bar["extend"] = {(1, 1): "both", (1, 0): "min", (0, 1): "max"}.get(beyond, "neither")
    sns.heatmap(
        values,
        ax=axes,
        cmap=panel.colours or DIVERGING,
        cbar_kws=bar,
        xticklabels=False,
        yticklabels=False,
        rasterized=True,
        vmin=low,
        vmax=high,
    )
    axes.set_facecolor("0.9")
    drawing.label_cells(axes, layers)
    axes.set_ylabel(panel.ylabel)
    names = [panel.rows[row] for row in panel.ticks]
    axes.set_yticks(np.asarray(panel.ticks) + 0.5, names, rotation=0)
    axes.tick_params(axis="y", left=False)
    if panel.weak is not None:
        row, place = np.nonzero(~panel.weak & np.isfinite(values))
        dot: dict[str, Any] = {"marker": "o", "ms": 2.2, "mew": 0, "color": "0.15"}
        axes.plot(place + 0.5, row + 0.5, linestyle="none", **dot)
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": GREY}
    for line, text in panel.texts.items():
        axes.text(values.shape[1] / 2, line + 0.5, text, **centred)
