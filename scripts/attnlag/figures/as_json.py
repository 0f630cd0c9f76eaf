"""A sheet as JSON, from which a page draws the panels that the files of a figure show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from attnlag.figures.drawing import LAYER_AXES, reach_of
from attnlag.figures.legends import NO_ATTENTION
from attnlag.figures.templates import Line, Lines, Map, Sheet
from attnlag.regression.labels import others_in_words

# Significant digits of numbers, of which the page shows three.
STORED_DIGITS = 5

# Lengths of dashes and gaps, in widths of the line.
DASHES: dict[str, list[float]] = {"-": [], "--": [4, 2], ":": [1, 1.6], "-.": [6, 1.6, 1, 1.6]}

# Greys by their largest lightness, as properties of the page's style, which has a dark mode.
GREYS = {0.2: "var(--ink)", 0.5: "var(--soft)", 0.7: "var(--band)", 1.0: "var(--thin)"}


def as_json(sheet: Sheet, mixers: Mapping[str, str]) -> dict[str, Any]:
    """Return a sheet: its claim, its caption and its panels in reading order.

    ``mixers`` are the layers without attention and what they have instead.
    A panel of lines has ``x``, and a line as many values; NaN is a gap. A map has a row of values
    for each name, and a dot where a cell is significant.
    """
    layers = list(map(int, sheet.layers))
    panels = []
    for panel in sheet.panels:
        if isinstance(panel, Map):
            described = map_as_json(panel, layers)
        else:
            described = lines_as_json(panel, layers)
        without_attention = []
        if panel.xlabel in LAYER_AXES:
            without_attention = [layer for layer in described["x"] if str(int(layer)) in mixers]
        described["withoutAttention"] = without_attention
        panels.append(described)
    caption = sheet.caption
    if any(panel["withoutAttention"] for panel in panels):
        caption = f"{caption} {NO_ATTENTION} {others_in_words(mixers)}.".strip()
    return {
        "claim": sheet.claim,
        "caption": caption,
        "across": sheet.across,
        "panels": panels,
    }


def lines_as_json(panel: Lines, layers: Sequence[int]) -> dict[str, Any]:
    """Return a panel of lines over the layers, or over an axis of its own."""
    x = layers if panel.x is None else panel.x
    low, high = panel.ylim
    return {
        "kind": "lines",
        "title": panel.title,
        "x": axis_values(x),
        "xLabel": panel.xlabel,
        "yLabel": one_line(panel.ylabel),
        "low": low,
        "high": high,
        "zero": panel.zero,
        "logScale": panel.log_scale,
        "linearTo": panel.linear_to,
        "share": panel.share,
        "missing": list(map(int, panel.missing)),
        "lines": [line_as_json(line, len(x)) for line in panel.lines],
    }


def line_as_json(line: Line, count: int) -> dict[str, Any]:
    """Return a line with its interval, its marks and its look."""
    values = np.broadcast_to(np.asarray(line.y, dtype=float), (count,))
    described: dict[str, Any] = {
        "name": one_line(line.label),
        "each": line.each,
        "colour": colour_in_page(line.color),
        "dashes": dashes_of(line.linestyle),
        "width": line.linewidth,
        "shade": line.shade,
        "bars": line.bars,
        "behind": line.behind,
        "y": rounded(values),
    }
    if line.low is not None:
        described["low"] = rounded(line.low)
        described["high"] = rounded(line.high)
    if line.x is not None:
        described["x"] = rounded(line.x)
    if line.weak is not None:
        negligible = np.broadcast_to(np.asarray(line.negligible, dtype=bool), (count,))
        described["marks"] = [
            marks(*tests) for tests in zip(line.weak.tolist(), negligible.tolist(), strict=True)
        ]
    return described


def marks(weak: bool, negligible: bool) -> list[str]:
    """Return the marks of a value, as in the file of a figure."""
    names = []
    if negligible:
        names.append("ring")
    if weak:
        names.append("cross")
    return names or ["dot"]


def map_as_json(panel: Map, layers: Sequence[int]) -> dict[str, Any]:
    """Return a map with the ends of its colours."""
    reach = reach_of(panel.values)
    low, high = panel.limits or (-reach, reach)
    described = {
        "kind": "map",
        "title": panel.title,
        "x": layers,
        "xLabel": panel.xlabel,
        "rows": list(panel.rows),
        "ticks": list(panel.ticks),
        "rowLabel": panel.ylabel,
        "label": one_line(panel.label),
        "low": float(low),
        "high": float(high),
        "diverging": panel.colours is None,
        "values": [rounded(row) for row in panel.values],
        "texts": {str(row): text for row, text in panel.texts.items()},
    }
    if panel.weak is not None:
        described["dots"] = (~panel.weak & np.isfinite(panel.values)).tolist()
    return described


def rounded(values: Any) -> list[float]:
    """Return numbers with so many digits as a page stores."""
    numbers = np.asarray(values, dtype=float)
    return [float(f"{number:.{STORED_DIGITS}g}") for number in numbers]


def axis_values(x: Any) -> list[float]:
    """Return the values along an axis; whole numbers, such as steps, are not rounded."""
    values = np.asarray(x, dtype=float)
    if (values == values.round()).all():
        return values.tolist()
    return rounded(values)


def one_line(text: str) -> str:
    """Return a text without line ends."""
    return " ".join(text.split())


def dashes_of(linestyle: Any) -> list[float]:
    """Return the lengths of the dashes of a line, none if it is solid."""
    if isinstance(linestyle, str):
        return DASHES[linestyle]
    return list(linestyle[1])


def colour_in_page(colour: Any) -> str:
    """Return a colour, or for a grey the property of the page that has it."""
    red, green, blue = to_rgb(colour)
    if red == green == blue:
        return next(name for lightness, name in GREYS.items() if red <= lightness)
    return str(to_hex(colour))
