"""Cosine of adjustments by layer and distance in tokens, beside random pairs and weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.adjustments.directions import QUANTITY
from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import (
    draw_band,
    draw_map,
    frame,
    label_cells,
    label_layers,
    mark_size,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.vectors import GeometryInputs
from attnlag.figures.legends import GREY, PALETTE, RANDOM_LINE, band_text, strip_height
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_geometry",)

CATEGORY = "directions"

SUBCATEGORY = "cosines"

KINDS = {"cosine_previous": "not centred", QUANTITY: "minus the layer's mean"}


@dataclass
class Data:
    """Mean cosines.

    Attributes
    ----------
    neighbours : dict of str to pandas.DataFrame
        Cosines of neighbours by layer, as measured and, if known, after subtracting the layer's
        mean.
    by_distance : pandas.DataFrame
        Cosines after subtracting the layer's mean, a row per layer and a column per distance; may
        be empty.
    site : str
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    neighbours: dict[str, pd.DataFrame]
    by_distance: pd.DataFrame
    site: str
    alpha: float


def reduce(inputs: GeometryInputs) -> Data:
    """Select the rows of cosines, and arrange those of centred vectors by distance."""
    means = inputs.means
    near = means[means["distance"] == 1]
    neighbours = {
        kind: near[near["quantity"] == kind].set_index("layer").sort_index()
        for kind in KINDS
        if (near["quantity"] == kind).any()
    }
    centred = means[means["quantity"] == QUANTITY]
    by_distance = centred.astype({"distance": float}).pivot(
        index="layer", columns="distance", values="mean"
    )
    by_distance.columns = by_distance.columns.astype(int)
    return Data(neighbours, by_distance, means["site"].iloc[0], inputs.alpha)


def title_of(data: Data) -> str:
    """Return the median cosine of neighbours, of the most distant tokens and of random pairs."""
    kind = list(data.neighbours)[-1]
    near = data.neighbours[kind][["mean", "random_pairs", "random_weights"]].median()
    text = f"Cosine of neighbours {KINDS[kind]}: {near['mean']:.2f} in the median layer"
    if len(data.by_distance):
        furthest = data.by_distance.columns[-1]
        text += f", {data.by_distance[furthest].median():.2f} at {furthest} tokens"
    text += f"; {near['random_pairs']:.2f} for random pairs"
    if np.isnan(near["random_weights"]):
        return text
    return f"{text}, {near['random_weights']:.2f} with random weights"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the cosines of neighbours by layer, and the centred cosines at all distances."""
    entries: dict[str, Any] = {}
    for place, kind in enumerate(data.neighbours):
        line: dict[str, Any] = {
            "color": PALETTE[place],
            "marker": "os"[place],
            "ms": 5,
            "linewidth": 1.5,
        }
        entries[KINDS[kind]] = Line2D([], [], **line)
    entries["random pairs (same colour)"] = Line2D(
        [], [], color=GREY, linestyle=(0, (1, 1.2)), linewidth=2.0
    )
    if any(rows["random_weights"].notna().any() for rows in data.neighbours.values()):
        line = {**RANDOM_LINE, "color": GREY}
        entries["random weights (of the same colour)"] = Line2D([], [], **line)
    entries[band_text(data.alpha)] = Patch(color=GREY, alpha=0.25, linewidth=0)
    both = len(data.by_distance) > 0
    height = (6.4 if size.narrow and both else 3.9) + strip_height([entries], size.canvas)
    figure = Figure(figsize=size.tall(height), layout="constrained")
    shape = (1 + both, 1) if size.narrow else (1, 1 + both)
    panels = np.ravel(figure.subplots(*shape, squeeze=False))
    layers = list(next(iter(data.neighbours.values())).index)
    rule_values(panels[0])
    panels[0].axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    for place, rows in enumerate(data.neighbours.values()):
        _draw_cosines(panels[0], rows, PALETTE[place], "os"[place])
    panels[0].set_title("neighbours", loc="left", weight="bold")
    panels[0].set_ylabel("mean cosine")
    label_layers(panels[0], layers)
    if both:
        values = data.by_distance.to_numpy(dtype=float)
        reach = float(np.nanmax(np.abs(values)))
        low = min(0.0, float(np.nanmin(values)))
        colours = sns.color_palette("viridis", as_cmap=True)
        bar: dict[str, Any] = {"label": "mean cosine, centred", "pad": 0.02, "aspect": 22}
        draw_map(panels[1], values, colours, low, reach, **bar)
        panels[1].set_ylim(0, len(values))
        label_cells(panels[1].yaxis, layers, 10)
        distances = list(map(int, data.by_distance.columns))
        shown = [place for place, distance in enumerate(distances) if distance % 2 or distance == 1]
        panels[1].set_xticks([p + 0.5 for p in shown], [str(distances[p]) for p in shown])
        panels[1].set_xlabel("distance (tokens)")
        panels[1].set_ylabel("layer")
        panels[1].set_title("by distance", loc="left", weight="bold")
    label = SITES[data.site].label
    frame(
        figure,
        title,
        f"Cosine between the {label} of a token and that of an earlier token of the same sequence. "
        "Random pairs: two tokens of different documents. Centred: the layer's mean vector is "
        "subtracted from both. First tokens are left out.",
        legends=[entries],
    )
    return figure


def _draw_cosines(axes: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    """Draw mean cosines by layer with their band and those of random pairs and random weights."""
    layers = rows.index.to_numpy(dtype=float)
    mean, low, high, pairs, untrained = (
        rows[name].to_numpy(dtype=float)
        for name in ("mean", "conf_low", "conf_high", "random_pairs", "random_weights")
    )
    draw_band(axes, layers, low, high, color=colour, alpha=0.25)
    axes.plot(layers, pairs, color=colour, linestyle=(0, (1, 1.2)), linewidth=2.0)
    axes.plot(layers, untrained, **{**RANDOM_LINE, "color": colour, "linewidth": 1.4})
    mark: dict[str, Any] = {
        "marker": marker,
        "ms": min(5.0, mark_size(len(layers))),
        "linewidth": 1.5,
    }
    axes.plot(layers, mean, color=colour, **mark)
