"""Mean log norm by position in the sequence and layer, and less the mean of the layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    frame,
    label_cells,
    panel_width,
    reach_of,
    sample_shown,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import NormsInputs
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "along the text"

# Positions that have a column of their own; beyond, columns are this many to a doubling.
SINGLE = 8
PER_DOUBLING = 3

# The fewest tokens that a column shows the mean of.
FEWEST_TOKENS = 5

# Nearer to the layer's typical norm than this factor, first tokens do not stand out.
STANDS_OUT = 1.25


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    means : (columns, layers) float array
        Mean log norms.
    typical : (layers,) float array
        Mean log norms of all tokens that the regressions keep.
    edges : (columns + 1,) int array
        Positions at which columns begin.
    layers : list of int
    site : str
    drop_first : int
        Number of tokens of each sequence that the regressions leave out; their columns are marked.
    tokens : int
        Number of tokens in the corpus, of which the map perhaps shows a sample.
    """

    means: np.ndarray
    typical: np.ndarray
    edges: np.ndarray
    layers: list[int]
    site: str
    drop_first: int
    tokens: int


def position_edges(longest: int) -> np.ndarray:
    """Return the edges of the columns for positions 0 to ``longest``.

    One column for each of the first positions, then ever wider ones: what happens at the start of
    a text happens within a few tokens.
    """
    steps = np.arange(0, PER_DOUBLING * 40)
    wide = np.rint(SINGLE * 2 ** (steps / PER_DOUBLING)).astype(np.int64)
    edges = np.unique(np.concatenate([np.arange(SINGLE), wide]))
    return edges[: int(np.searchsorted(edges, longest, side="right")) + 1]


def means_by_column(log_norms: np.ndarray, column: np.ndarray, columns: int) -> np.ndarray:
    """Return the mean of a layer's log norms in each column; NaN with fewer than five of them.

    Parameters
    ----------
    log_norms : (tokens,) float array
        NaN where a norm has none.
    column : (tokens,) int array
    columns : int
    """
    by_column = pd.Series(log_norms).groupby(column)
    means = by_column.mean().where(by_column.count() >= FEWEST_TOKENS)
    return means.reindex(range(columns)).to_numpy()


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to their means by position and layer."""
    sample, drop_first = inputs.sample, inputs.settings.drop_first
    edges = position_edges(int(sample.position.max(initial=0)))
    column = np.searchsorted(edges, sample.position, side="right") - 1
    kept = sample.position >= drop_first
    means = np.empty((len(edges) - 1, len(sample.layers)))
    typical = np.empty(len(sample.layers))
    for place, logs in enumerate(sample.log_norms):
        means[:, place] = means_by_column(logs, column, len(means))
        typical[place] = pd.Series(logs[kept]).mean()
    return Data(means, typical, edges, sample.layers, inputs.site, drop_first, sample.tokens)


def title_of(data: Data) -> str:
    """Return by which factor first tokens differ from the others of their layer."""
    difference = data.means[0] - data.typical
    if not np.isfinite(difference).any():
        return "Norms along the text"
    large, small = np.exp([np.nanmax(difference), -np.nanmin(difference)])
    parts: list[str] = []
    if large > STANDS_OUT:
        layer = data.layers[np.nanargmax(difference)]
        parts.append(f"up to {large:.2g} times as large (layer {layer})")
    if small > STANDS_OUT:
        layer = data.layers[np.nanargmin(difference)]
        parts.append(f"down to 1/{small:.2g} (layer {layer})")
    if not parts:
        return "First tokens are like the others"
    return f"First tokens against the others: {', '.join(parts)}"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the mean log norm by position and layer, as it is and against the layer's own mean."""
    means, edges, layers = data.means, data.edges, data.layers
    figure = Figure(figsize=size.tall(6.2), layout="constrained")
    rows = 1 if size.flat else 2
    panels = list(figure.subplots(rows, 3 - rows, sharex=True, sharey=True))
    viridis = sns.color_palette("viridis", as_cmap=True)
    width = panel_width(panels[0])
    difference = means - data.typical
    dropped = int(np.searchsorted(edges, data.drop_first))
    reach = reach_of(difference[dropped:])
    known = means[np.isfinite(means)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    label = "mean log norm"
    bar: dict[str, Any] = {"pad": 0.01, "aspect": 18}
    draw_map(panels[0], means.T, viridis, low, high, label=label, **bar)
    label = f"{label},\nless the layer's mean"
    draw_map(panels[1], difference.T, DIVERGING, -reach, reach, label=label, extend="both", **bar)
    for axes in panels:
        axes.set_ylabel("layer")
        axes.label_outer()
        if dropped:
            axes.axvspan(0, dropped, facecolor="none", edgecolor="k", hatch="///", linewidth=0)
            axes.axvline(dropped, color="k", linewidth=1.2)
    # The first layer at the bottom.
    panels[0].set_ylim(0, len(layers))
    label_cells(panels[0].yaxis, layers, 10)
    ticks = [place for place in range(len(means)) if place < SINGLE or place % PER_DOUBLING == 2]
    if width < 6:
        # Every other one, so that numbers of three digits do not touch.
        ticks = [place for place in ticks if place % 2 == 0]
    middles = [place + 0.5 for place in ticks]
    panels[1].set_xticks(middles, [f"{edges[place]:,}" for place in ticks])
    if dropped:
        panels[0].annotate(
            "dropped",
            (dropped, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )
    sns.despine(figure)
    second = "Right" if rows == 1 else "Below"
    marked = "Hatched: dropped from the regressions, as outcome and as lag. " if dropped else ""
    frame(
        figure,
        title,
        f"Natural logarithm of the norm of the {SITES[data.site].label}. From position {SINGLE} "
        f"on, a column holds several positions, {PER_DOUBLING} columns to a doubling; ticks name "
        f"the first one. {marked}{second}: colours end where 2% of the cells lie beyond, dropped "
        f"ones aside; arrows at the scale say so. Grey: fewer than {FEWEST_TOKENS} tokens. "
        + sample_shown(data.tokens, "tokens"),
        x_label="position in the sequence (tokens, first of its column)",
    )
    return figure
