"""Figures that are maps: norms along the text, norms and coefficients by group of documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from attnlag.figures.drawing import (
    ADDED,
    MOST_SHOWN,
    frame,
    layer_ticks,
    open_frames,
    panel_width,
)
from attnlag.figures.files import style
from attnlag.figures.sizes import PAGE, Size

# Blue below, white at zero, red above: as light on either side for the same distance.
DIVERGING = colormaps["RdBu_r"]

# Positions that have a column of their own; beyond, columns are this many to a doubling.
SINGLE = 8

PER_DOUBLING = 3

# The fewest tokens that a column shows the mean of.
FEWEST_TOKENS = 5


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
    known = np.isfinite(log_norms)
    counts = np.bincount(column[known], minlength=columns)
    sums = np.bincount(column[known], weights=log_norms[known], minlength=columns)
    enough = counts >= FEWEST_TOKENS
    return np.divide(sums, counts, out=np.full(columns, np.nan), where=enough)


def reach_of(values: np.ndarray) -> float:
    """Return the distance from zero at which the colours of a diverging map end."""
    known = np.abs(values[np.isfinite(values)])
    return float(np.quantile(known, 0.98)) if len(known) and known.max() > 0 else 1.0


def draw_map(
    axes: Axes, values: np.ndarray, layers: Sequence[int], scale: Normalize, colours: Any
) -> None:
    """Draw (rows, layers) values as cells, with layers along the x axis."""
    axes.imshow(
        np.ma.masked_invalid(values),
        extent=(min(layers) - 0.5, max(layers) + 0.5, len(values) - 0.5, -0.5),
        aspect="auto",
        interpolation="none",
        cmap=colours,
        norm=scale,
    )
    axes.set_facecolor("0.9")


@style()
def norms_by_position(
    means: np.ndarray,
    typical: np.ndarray,
    edges: np.ndarray,
    layers: Sequence[int],
    *,
    title: str,
    site: str,
    drop_first: int,
    tokens: int,
    size: Size = PAGE,
) -> Figure:
    """Draw the mean log norm by position and layer, as it is and against the layer's own mean.

    Parameters
    ----------
    means : (columns, layers) float array
    typical : (layers,) float array
        The mean over all tokens but the dropped ones.
    edges : (columns + 1,) int array
        The positions at which columns begin.
    layers : sequence of int
    title : str
    site : str
    drop_first : int
        Tokens of each sequence that the regressions leave out; their columns are marked.
    tokens : int
        Tokens of the corpus, of which the map perhaps shows a sample.
    size : Size
    """
    columns = len(means)
    figure = Figure(figsize=size.tall(6.2), layout="constrained")
    rows = 1 if size.flat else 2
    panels = list(figure.subplots(rows, 3 - rows, sharex=True, sharey=True))
    width = panel_width(panels[0])
    difference = means - typical
    dropped = int(np.searchsorted(edges, drop_first))
    reach = reach_of(difference[dropped:])
    known = means[np.isfinite(means)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    for axes, values, scale, colours, label in (
        (panels[0], means, Normalize(low, high), colormaps["viridis"], "mean log norm"),
        (
            panels[1],
            difference,
            Normalize(-reach, reach),
            DIVERGING,
            "mean log norm,\nless the layer's mean",
        ),
    ):
        axes.imshow(
            np.ma.masked_invalid(values.T),
            extent=(-0.5, columns - 0.5, min(layers) - 0.5, max(layers) + 0.5),
            origin="lower",
            aspect="auto",
            interpolation="none",
            cmap=colours,
            norm=scale,
        )
        axes.set_facecolor("0.9")
        if rows == 2 or axes is panels[0]:
            axes.set_ylabel("layer")
        axes.set_yticks(layer_ticks(layers, 10))
        if dropped:
            axes.axvspan(
                -0.5, dropped - 0.5, facecolor="none", edgecolor="k", hatch="///", linewidth=0
            )
            axes.axvline(dropped - 0.5, color="k", linewidth=1.2)
        figure.colorbar(
            ScalarMappable(scale, colours),
            ax=axes,
            label=label,
            extend="both" if colours is DIVERGING else "neither",
            pad=0.01,
            aspect=18,
        )
    ticks = [place for place in range(columns) if place < SINGLE or place % PER_DOUBLING == 2]
    if width < 6:
        # Every other one, so that numbers of three digits do not touch.
        ticks = [place for place in ticks if place % 2 == 0]
    panels[1].set_xticks(ticks, [f"{edges[place]:,}" for place in ticks])
    if dropped:
        panels[0].annotate(
            "dropped",
            (dropped - 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )
    open_frames(figure)
    sample = "" if tokens <= MOST_SHOWN else f"Shown: a sample of {MOST_SHOWN:,} of {tokens:,}. "
    second = "Right" if rows == 1 else "Below"
    marked = "Hatched: dropped from the regressions, as outcome and as lag. " if dropped else ""
    frame(
        figure,
        title,
        f"Natural logarithm of the norm of the {ADDED[site]}. From position {SINGLE} on a column "
        f"holds several positions, {PER_DOUBLING} columns to a doubling; ticks name the first one. "
        f"{marked}{second}: colours end where 2% of the cells are beyond, dropped ones aside; "
        f"arrows at the scale say so. Grey: fewer than {FEWEST_TOKENS} tokens. {sample}",
        x_label="position in the sequence (tokens, first of its column)",
    )
    return figure


# Nearer to the layer's typical norm than this factor, first tokens do not stand out.
STANDS_OUT = 1.25


def of_positions(first: np.ndarray, typical: np.ndarray, layers: Sequence[int]) -> str:
    """Return by which factor first tokens differ from the others of their layer.

    Parameters
    ----------
    first, typical : (layers,) float array
        Mean log norm of first tokens, and of those that the regressions keep.
    layers : sequence of int
    """
    difference = np.asarray(first) - np.asarray(typical)
    if not np.isfinite(difference).any():
        return "Norms along the text"
    factor = np.exp(np.abs(difference))
    large, small = factor[difference > 0], factor[difference < 0]
    parts: list[str] = []
    if len(large) and np.nanmax(large) > STANDS_OUT:
        place = int(np.nanargmax(difference))
        parts.append(f"up to {np.nanmax(large):.2g} times as large (layer {layers[place]})")
    if len(small) and np.nanmax(small) > STANDS_OUT:
        place = int(np.nanargmin(difference))
        parts.append(f"down to 1/{np.nanmax(small):.2g} (layer {layers[place]})")
    if not parts:
        return "First tokens are like the others"
    return f"First tokens against the others: {', '.join(parts)}"
