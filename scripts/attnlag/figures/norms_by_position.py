"""Mean log norm by position in the sequence and layer, minus the mean of the layer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    frame,
    label_cells,
    panel_width,
    reach_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.norms import NormsInputs
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    sample_shown,
)
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "along the text"

# Number of positions with a column of their own, and the columns per doubling beyond them.
SINGLE = 8
PER_DOUBLING = 3

# Smallest number of tokens whose mean a column shows.
FEWEST_TOKENS = 5

# Columns with fewer documents are faded; in a small corpus, those with fewer than half of them.
FEW_DOCUMENTS = 20

# First tokens stand out if they differ from the layer's typical norm by at least this factor.
STANDS_OUT = 1.25


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    means : (columns, layers) float array
        Mean log norms, minus the mean of all tokens of the layer that the regressions keep.
    documents : (columns,) int array
        Number of documents in each column.
    edges : (columns + 1,) int array
        Positions at which columns begin.
    layers : list of int
    site : str
    drop_first : int
        Number of tokens of each sequence that the regressions leave out; their columns are marked.
    tokens : int
        Number of tokens in the corpus, of which the map may show a sample.
    """

    means: np.ndarray
    documents: np.ndarray
    edges: np.ndarray
    layers: list[int]
    site: str
    drop_first: int
    tokens: int


def position_edges(longest: int) -> np.ndarray:
    """Return the edges of the columns for positions 0 to ``longest``.

    Each of the first positions has a column; later columns are ever wider, because norms change
    fastest within the first few tokens.
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
        NaN if a norm is zero or not finite.
    column : (tokens,) int array
    columns : int
    """
    by_column = pd.Series(log_norms).groupby(column)
    means = by_column.mean().where(by_column.count() >= FEWEST_TOKENS)
    return means.reindex(range(columns)).to_numpy()


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to means by position and layer."""
    sample, drop_first = inputs.sample, inputs.settings.drop_first
    edges = position_edges(int(sample.position.max(initial=0)))
    column = np.searchsorted(edges, sample.position, side="right") - 1
    kept = sample.position >= drop_first
    means = np.empty((len(edges) - 1, len(sample.layers)))
    for place, logs in enumerate(sample.log_norms):
        means[:, place] = means_by_column(logs, column, len(means)) - pd.Series(logs[kept]).mean()
    document = pd.Series(tables.values_of(inputs.norms, "document", sample.rows))
    documents = document.groupby(column).nunique().reindex(range(len(means)), fill_value=0)
    return Data(
        means, documents.to_numpy(), edges, sample.layers, inputs.site, drop_first, sample.tokens
    )


def title_of(data: Data) -> str:
    """Return the factor by which first tokens differ from the others of their layer."""
    first = data.means[0]
    if not np.isfinite(first).any():
        return "Norms along the text"
    large, small = np.exp([np.nanmax(first), -np.nanmin(first)])
    parts: list[str] = []
    if large > STANDS_OUT:
        parts.append(f"up to {large:.2g} times (layer {data.layers[np.nanargmax(first)]})")
    if small > STANDS_OUT:
        parts.append(f"down to 1/{small:.2g} (layer {data.layers[np.nanargmin(first)]})")
    if not parts:
        return "First tokens have about the same norms as later ones"
    return f"First tokens stand out, with norms {' and '.join(parts)} their layer's norm"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the mean log norm by position and layer, minus the layer's mean."""
    means, edges, layers = data.means, data.edges, data.layers
    height = float(np.clip(2.6 + 0.1 * len(layers), 3.2, 5.4))
    figure = Figure(figsize=size.tall(height), layout="constrained")
    axes = figure.subplots()
    width = panel_width(axes)
    dropped = int(np.searchsorted(edges, data.drop_first))
    reach = reach_of(means[dropped:])
    label = "mean log norm,\nminus the layer's mean"
    draw_map(
        axes, means.T, DIVERGING, -reach, reach, label=label, extend="both", pad=0.01, aspect=22
    )
    axes.set_ylabel("layer")
    # The first layer at the bottom.
    axes.set_ylim(0, len(layers))
    label_cells(axes.yaxis, layers, 10)
    ticks = [place for place in range(len(means)) if place < SINGLE or place % PER_DOUBLING == 2]
    if width < 6:
        # Every second column is labelled, so that numbers of three digits do not touch.
        ticks = [place for place in ticks if place % 2 == 0]
    axes.set_xticks([place + 0.5 for place in ticks], [f"{edges[place]:,}" for place in ticks])
    few = min(FEW_DOCUMENTS, -(-int(data.documents.max(initial=0)) // 2))
    faded = np.flatnonzero(data.documents < few).tolist()
    notes = []
    if dropped:
        axes.axvspan(0, dropped, facecolor="none", edgecolor="k", hatch="///", linewidth=0)
        axes.axvline(dropped, color="k", linewidth=1.2)
        _name(axes, 0, "dropped", "left")
        notes.append("Hatched: dropped from the regressions, as outcome and as lag. ")
    if len(faded):
        for place in faded:
            axes.axvspan(place, place + 1, facecolor="w", alpha=0.65, linewidth=0)
        axes.axvline(faded[0], color="0.5", linewidth=0.8, linestyle=(0, (4, 2.5)))
        _name(axes, len(means), f"faded: fewer than {few} documents", "right")
    sns.despine(figure)
    frame(
        figure,
        title,
        f"Natural logarithm of the norm of the {SITES[data.site].label}. From position {SINGLE} "
        f"on, a column holds several positions, with {PER_DOUBLING} columns per doubling; ticks "
        f"name the first one. {''.join(notes)}Colours saturate for the most extreme 2% of the "
        f"cells, without dropped ones; arrows on the scale indicate this. Grey: fewer than "
        f"{FEWEST_TOKENS} tokens. " + sample_shown(data.tokens, "tokens"),
        x_label="position in the sequence (tokens; first of the column)",
    )
    return figure


def _name(axes: Axes, place: float, text: str, side: str) -> None:
    """Name columns above the map."""
    axes.annotate(
        text,
        (place, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha=side,
        va="bottom",
    )
