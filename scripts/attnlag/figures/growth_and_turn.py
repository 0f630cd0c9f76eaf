"""Whether adjustments grow the residual stream or turn it, by layer, beside random pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.adjustments.outcomes import STREAM_GROWTH
from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import draw_band, frame, label_layers, mark_size, rule_values
from attnlag.figures.files import style
from attnlag.figures.inputs.vectors import GeometryInputs
from attnlag.figures.legends import GREY, PALETTE, RANDOM_LINE, band_text, strip_height
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_geometry",)

CATEGORY = "directions"

SUBCATEGORY = "growth and turn"

# Style of the control: adjustments compared with the stream of a token of another document.
PAIRED: dict[str, Any] = {"color": PALETTE[1], "linestyle": (0, (1, 1.2)), "linewidth": 2.0}

# Heading, unit, the quantity and its scale.
PANELS = (
    ("along the stream", "part along the stream\n(% of its norm)", "parallel_relative", 100.0),
    (
        "at right angles",
        "part at right angles\n(% of the stream's norm)",
        "orthogonal_relative",
        100.0,
    ),
    ("growth of the stream", "change of its log norm", "log_growth", 1.0),
    ("turn of the stream", "angle (degrees)", "angle", 180 / np.pi),
)


@dataclass
class Data:
    """Means of each layer.

    Attributes
    ----------
    quantities : dict of str to pandas.DataFrame
        Means, intervals, random pairs and random weights, by layer.
    site : str
    alpha : float
        Intervals cover 1 - ``alpha``.
    growth : float
        Factor by which the stream grows in the median layer; NaN with a single layer.
    """

    quantities: dict[str, pd.DataFrame]
    site: str
    alpha: float
    growth: float


def reduce(inputs: GeometryInputs) -> Data:
    """Select the rows of each quantity."""
    means = inputs.means
    quantities = {
        name: means[means["quantity"] == name].set_index("layer").sort_index()
        for _, _, name, _ in PANELS
    }
    steps = means.loc[means["quantity"] == STREAM_GROWTH, "mean"]
    growth = float(np.exp(steps.median())) if len(steps) else np.nan
    return Data(quantities, means["site"].iloc[0], inputs.alpha, growth)


def title_of(data: Data) -> str:
    """Return the median turn and growth, and those of random pairs."""
    angle = np.degrees(data.quantities["angle"][["mean", "random_pairs"]].median())
    along = 100 * data.quantities["parallel_relative"][["mean", "random_pairs"]].median()
    return (
        f"Turn: {angle['mean']:.0f}° in the median layer ({angle['random_pairs']:.0f}° by "
        f"adjustments to other tokens), along the stream {along['mean']:+.1f}% "
        f"({along['random_pairs']:+.1f}%)"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the parts of adjustments, the growth and the turn, a panel each."""
    entries: dict[str, Any] = {
        "mean over tokens": Line2D([], [], color=PALETTE[0], marker="o", ms=5, linewidth=1.5),
        band_text(data.alpha): Patch(color=PALETTE[0], alpha=0.25, linewidth=0),
        "adjustment to a token of another document": Line2D([], [], **PAIRED),
    }
    first = next(iter(data.quantities.values()))
    if first["random_weights"].notna().any():
        entries["random weights, untrained"] = Line2D([], [], **RANDOM_LINE)
    columns = 1 if size.narrow else 2
    height = (9.0 if size.narrow else 5.6) + strip_height([entries], size.canvas)
    figure = Figure(figsize=size.tall(height), layout="constrained")
    grid = figure.subplots(4 // columns, columns, sharex=True)
    for axes, (heading, label, name, scale) in zip(np.ravel(grid), PANELS, strict=True):
        _draw_panel(axes, data.quantities[name], scale)
        axes.set_title(heading, loc="left", weight="bold")
        axes.set_ylabel(label)
        label_layers(axes, list(data.quantities[name].index))
        if axes.get_subplotspec().rowspan.stop < 4 // columns:
            axes.set_xlabel("")
    grown = ""
    if np.isfinite(data.growth):
        grown = (
            f" From one block to the next the stream grows by a factor of {data.growth:.3f} in "
            "the median layer, all sublayers together."
        )
    label = SITES[data.site].label
    frame(
        figure,
        title,
        f"The stream is the input of the block, to which the {label} is added. Dotted: the {label} "
        "of one token compared with the stream of a token of another document, which shows what "
        f"all tokens have in common.{grown} First tokens are left out.",
        legends=[entries],
    )
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, scale: float) -> None:
    """Draw the means of a quantity by layer with their band and controls."""
    layers = rows.index.to_numpy(dtype=float)

    def scaled(name: str) -> np.ndarray:
        return scale * rows[name].to_numpy(dtype=float)

    rule_values(axes)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    draw_band(axes, layers, scaled("conf_low"), scaled("conf_high"), color=PALETTE[0], alpha=0.25)
    axes.plot(layers, scaled("random_weights"), zorder=1.7, **RANDOM_LINE)
    axes.plot(layers, scaled("random_pairs"), zorder=1.8, **PAIRED)
    mark: dict[str, Any] = {"marker": "o", "ms": min(5.0, mark_size(len(layers))), "linewidth": 1.5}
    axes.plot(layers, scaled("mean"), color=PALETTE[0], zorder=2, **mark)
