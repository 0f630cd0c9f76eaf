"""Elements shared by figures: titles, layers along an axis, bands and histograms."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from attnlag.errors import UserError
from attnlag.figures.legends import GREY, NO_ATTENTION, PALETTE, legend_columns
from attnlag.figures.sizes import Size

T = TypeVar("T")

# Colour map of counts, light to dark.
SHADES: Colormap = sns.color_palette("mako_r", as_cmap=True)

# Labels of axes along which layers lie.
LAYER_AXES = ("layer", "source layer", "target layer")

# Colours of a line on shades of counts, and of norms.
LINE = PALETTE[3]
NORMS = PALETTE[0]


def label_layers(axes: Axes, layers: Sequence[int]) -> None:
    """Make the layers the x axis, with a tick for each and as many labels as fit."""
    axes.set_xlim(min(layers) - 0.7, max(layers) + 0.7)
    axes.set_xticks(layers_labelled(axes, layers))
    axes.set_xticks(list(layers), minor=True)
    axes.set_xlabel("layer")


def label_cells(axes: Axes, layers: list[int]) -> None:
    """Label the layers along the x axis, on which each has a cell of width 1."""
    label_places(axes, layers, np.arange(len(layers)) + 0.5)


def label_places(axes: Axes, layers: list[int], x: np.ndarray) -> None:
    """Label the layers along the x axis, at their places."""
    shown = layers_labelled(axes, layers)
    axes.set_xticks([x[layers.index(layer)] for layer in shown], list(map(str, shown)))


def places_of_layers(layers: list[int]) -> np.ndarray:
    """Return the place of each layer on an x axis of its own: the middle of a cell of width 1.

    Where layers were left out, their cells are empty.
    """
    return np.asarray(layers) - layers[0] + 0.5


def layers_labelled(axes: Axes, layers: Sequence[int]) -> list[int]:
    """Return the layers that an x axis has room to label."""
    most = round(3 + 1.3 * panel_width(axes))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if len(layers) <= most * step)
    if layers[-1] - layers[0] + 1 != len(layers):
        # Those that are there may have no multiple of the step among them.
        return list(layers[::step])
    return [layer for layer in layers if layer % step == 0]


def panel_width(axes: Axes) -> float:
    """Return the width of a panel's grid cell, in inches."""
    cell = cast(SubplotSpec, axes.get_subplotspec())
    width = cast(Figure, axes.get_figure(root=True)).get_size_inches()[0]
    return float(width) * len(cell.colspan) / cell.get_gridspec().ncols


def name_layer(axes: Axes, layer: int, status: str) -> None:
    """Write the layer over a panel, and within it why it is not fitted, if it is not."""
    axes.set_title(f"layer {layer}", loc="left", weight="bold")
    if status != "ok":
        # Panels of many layers are narrow.
        reason = textwrap.fill(f"not fitted: {status}", 18)
        centred: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, reason, fontsize=8, **centred)


def mark_layers(figure: Figure, layers: Collection[int]) -> None:
    """Mark layers that have no attention, on every x axis of layers and in the titles of panels."""
    if not layers:
        return
    names = {f"layer {layer}" for layer in layers}
    for axes in figure.axes:
        if axes.get_xlabel() in LAYER_AXES:
            places: list[float] = []
            for layer in layers:
                places += _places(axes, layer)
            mark_no_attention(axes, places)
        for child in axes.get_children():
            if isinstance(child, Text) and child.get_text() in names:
                child.set_text(f"{child.get_text()} {NO_ATTENTION}")


def mark_no_attention(
    axes: Axes, places: Sequence[float] | np.ndarray, color: Any = "0.15"
) -> None:
    """Draw the mark of layers without attention at places on the x axis."""
    # A line without points would have no place in the layout.
    if len(places):
        diamond: dict[str, Any] = {"marker": "D", "ms": 4, "mfc": "white", "mec": color}
        diamond |= {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
        axes.plot(places, [0] * len(places), ls="none", scalex=False, scaley=False, **diamond)


def _places(axes: Axes, layer: int) -> list[float]:
    """Return where a layer is on an x axis, given the labels of some; none if it is not.

    It lies where its label is, or would be: at its number in a plot, half a cell further in a map.
    """
    places = {}
    offsets = set()
    for label, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True):
        text = label.get_text()
        if text.isdecimal():
            places[int(text)] = float(place)
            offsets.add(float(place) - int(text))
    if len(offsets) == 1:
        places[layer] = layer + offsets.pop()
    low, high = axes.get_xlim()
    return [places[layer]] if layer in places and low <= places[layer] <= high else []


def balanced(text: str, width: int) -> str:
    """Return a text in lines of at most ``width`` characters that are about equally long."""
    lines = textwrap.wrap(text, width)
    while width > 1:
        width -= 1
        narrower = textwrap.wrap(text, width)
        if len(narrower) != len(lines):
            break
        lines = narrower
    return "\n".join(lines)


def framed(
    title: str, note: str, size: Size, height: float, legend: Mapping[str, Any] | None = None
) -> tuple[Figure, SubFigure]:
    """Return a figure with title, legend and caption, and the part of it that is for panels.

    The title has the finding, and in further lines the data. The panels are ``height`` inches high;
    the legend has handles by label.
    """
    # Characters of 11, 9 and 8 points are about 0.1, 0.07 and 0.061 inches wide.
    room = size.canvas - 0.2
    claim, _, data = title.partition("\n")
    claim = balanced(claim, int(room / 0.1))
    note = balanced(note, int(room / 0.061))
    data = textwrap.fill(data, int(room / 0.07))
    columns = legend_columns(list(legend or ()), room - 0.1)
    # Lines of text, and the space around them.
    for text, line_height in ((claim, 0.19), (data, 0.15), (note, 0.14)):
        if text:
            height += 0.1 + line_height * (1 + text.count("\n"))
    if legend:
        height += 0.1 + 0.2 * -(-len(legend) // columns)
    figure = Figure((size.canvas, height), layout=ConstrainedLayoutEngine(h_pad=0.06))
    # Each part lies within the next and makes room for its texts.
    described: Any = figure.subfigures()
    panels = described.subfigures()
    left: dict[str, Any] = {"x": 0.1 / size.canvas, "ha": "left"}
    figure.supxlabel(note, fontsize=8, color=GREY, **left)
    if title:
        figure.suptitle(claim, weight="bold", **left)
        described.suptitle(data, fontsize=9, color=GREY, **left)
    if legend:
        panels.legend(
            list(legend.values()),
            list(legend),
            loc="outside upper left",
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.6,
            labelspacing=0.35,
            borderaxespad=0.7,
            borderpad=0,
        )
    return figure, panels


def chosen_layers(
    requested: Sequence[int] | None, present: Sequence[int], what: str = "layers with a panel"
) -> list[int]:
    """Return the requested layers in order, or all; ones that the data lacks are a UserError."""
    there = f"expected one of this model: {min(present)} to {max(present)}"
    absent = sorted({*(requested or ())} - {*present})
    if absent:
        raise UserError(f"{what}: found {layer}, {there}" for layer in absent)
    return sorted({*(present if requested is None else requested)})


def evenly_chosen(layers: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` layers, spread evenly; a single one is the middle one."""
    if most == 1:
        return [layers[len(layers) // 2]]
    places = np.linspace(0, len(layers) - 1, min(most, len(layers)))
    return [layers[place] for place in np.floor(places + 0.5).astype(int)]


def draw_band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, **kind: Any) -> None:
    """Fill between two lines that have gaps, where they are NaN.

    The line plot of seaborn computes its own band and connects it across gaps.
    """
    axes.fill_between(x, low, high, linewidth=0, **kind)
    finite = np.isfinite(low) & np.isfinite(high)
    # A single value between two gaps has no width; a line joins its ends.
    beside = np.concatenate([[False], finite, [False]])
    alone = finite & ~beside[:-2] & ~beside[2:]
    line = {**kind, "alpha": min(1.0, kind.get("alpha", 1.0) + 0.3)}
    axes.vlines(x[alone], low[alone], high[alone], linewidth=3, **line)


def reach_of(values: np.ndarray) -> float:
    """Return the distance from zero at which the colours of a diverging map saturate."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(np.quantile(sizes, 0.98)) if len(sizes) and sizes.max() > 0 else 1.0


def draw_counts(axes: Axes, counts: np.ndarray, edges: np.ndarray, darkest: int) -> None:
    """Draw a histogram of two variables, given (x, y) counts, with shades on a log scale."""
    x, y = np.nonzero(counts)
    shades: dict[str, Any] = {"cmap": SHADES, "norm": LogNorm(1, darkest)}
    # The limits come from the norm.
    shades |= {"vmin": None, "vmax": None, "rasterized": True, "zorder": 1.5}
    sns.histplot(
        x=edges[x], y=edges[y], weights=counts[x, y], bins=(edges, edges), ax=axes, **shades
    )


def spread_out(
    heights: Sequence[float], extents: Sequence[float], low: float, high: float
) -> np.ndarray:
    """Return the middles of labels near some heights, so that the labels do not overlap.

    The labels lie between ``low`` and ``high``. Their ``extents`` are made smaller, all alike, if
    there is not enough room for all.
    """
    order = np.argsort(heights, kind="stable")
    sizes = np.asarray(extents, dtype=float)[order]
    sizes *= min(1.0, (high - low) / sizes.sum())
    # Distance of the middle of each label from the lower limit if all lie on it, stacked.
    stacked = np.cumsum(sizes) - sizes / 2
    wanted = np.asarray(heights, dtype=float)[order]
    # Each is raised above the one below it, then all are lowered below the upper limit.
    raised = np.maximum.accumulate(np.maximum(wanted - stacked, low)) + stacked
    spread = np.empty(len(heights))
    spread[order] = np.minimum(raised, high - sizes.sum() + stacked)
    return spread
