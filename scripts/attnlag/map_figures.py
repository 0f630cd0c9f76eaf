"""Figures that are maps: norms along the text, norms and coefficients by group of documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from attnlag.figures import (
    ADDED,
    GREY,
    MOST_SHOWN,
    NORMS,
    PREDICTIVE,
    correction_text,
    frame,
    label_layers,
    layer_ticks,
    layers_labelled,
    named,
    open_frames,
    panel_width,
    shortened,
    style,
)
from attnlag.sizes import PAGE, Size
from attnlag.wording import COVARIANCE

# Blue below, white at zero, red above: as light on either side for the same distance.
DIVERGING = colormaps["RdBu_r"]
# Positions that have a column of their own; beyond, columns are this many to a doubling.
SINGLE = 8
PER_DOUBLING = 3
# The fewest tokens that a column shows the mean of.
FEWEST_TOKENS = 5
LONGEST_NAME = 22


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


@dataclass
class GroupPanel:
    """One group of documents.

    Attributes
    ----------
    group : str
    documents : int
    quantiles : (5,) float array
        Of its log norms in all layers, each less its layer's mean and over its standard
        deviation.
    means : (layers,) float array
        Of its log norms, less the mean of the layer.
    """

    group: str
    documents: int
    quantiles: np.ndarray
    means: np.ndarray


@style()
def groups_by_layer(
    panels: Sequence[GroupPanel],
    coefficients: pd.DataFrame,
    *,
    term: str,
    title: str,
    site: str,
    alpha: float,
    adjust: str,
    tokens: int,
    size: Size = PAGE,
) -> Figure:
    """Draw norms and the nearest coefficient by group of documents, a row each.

    Parameters
    ----------
    panels : sequence of GroupPanel
        From the top.
    coefficients : pandas.DataFrame
        The tidy table of one term, with the groups as subsets.
    term : str
    title : str
    site : str
    alpha : float
        Level of significance.
    adjust : str
        The correction behind ``p_adjusted``.
    tokens : int
        Tokens of the corpus, of which the norms perhaps are a sample.
    size : Size
    """
    layers = sorted(coefficients["layer"].unique())
    names = [panel.group for panel in panels]
    estimates, p_values = (
        coefficients.pivot(index="subset", columns="layer", values=value)
        .reindex(index=names, columns=layers)
        .to_numpy(dtype=float)
        for value in ("estimate", "p_adjusted")
    )
    means = np.stack([panel.means for panel in panels])
    if size.narrow:
        height = 3 * (0.9 + 0.15 * len(panels)) + 2.2
        figure = Figure(figsize=size.tall(height), layout="constrained")
        spread, levels, slopes = figure.subplots(3, 1, sharey=True)
    else:
        figure = Figure(figsize=size.tall(2.5 + 0.27 * len(panels)), layout="constrained")
        spread, levels, slopes = figure.subplots(1, 3, width_ratios=[1, 1.25, 1.25], sharey=True)

    for place, panel in enumerate(panels):
        lowest, low, middle, high, highest = panel.quantiles
        spread.hlines(place, lowest, highest, color=NORMS, linewidth=1.2)
        spread.hlines(place, low, high, color=NORMS, linewidth=6, alpha=0.55)
        spread.plot(middle, place, marker="|", color="k", markersize=9, markeredgewidth=1.6)
    spread.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    spread.set_ylim(len(panels) - 0.5, -0.5)
    spread.set_yticks(
        range(len(panels)),
        [f"{shortened(panel.group, LONGEST_NAME)} ({panel.documents:,})" for panel in panels],
    )
    gap = " " if size.narrow else "\n"
    spread.set_xlabel(f"log norm (SD from the{gap}layer's mean), all layers")
    spread.grid(axis="x", color="0.9", linewidth=0.6)
    spread.set_title("norms", loc="left", weight="bold")

    for axes, values, heading, label in (
        (levels, means, "norms by layer", "mean log norm,\nless the layer's mean"),
        (
            slopes,
            estimates,
            f"coefficient of {named(term)}",
            "coefficient\n(log norm per log norm)",
        ),
    ):
        reach = reach_of(values)
        scale = Normalize(-reach, reach)
        draw_map(axes, values, layers, scale, DIVERGING)
        label_layers(axes, layers, most=layers_labelled(panel_width(axes)))
        axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
        axes.set_title(heading, loc="left", weight="bold")
        figure.colorbar(
            ScalarMappable(scale, DIVERGING),
            ax=axes,
            location="right" if size.narrow else "bottom",
            label=label,
            extend="both",
            aspect=22,
            pad=0.02,
        )
    row, layer = np.nonzero(p_values >= alpha)
    # A cross for what is not significant: colours say how large, not how sure.
    slopes.plot(
        np.asarray(layers)[layer], row, linestyle="none", marker="x", color=GREY, markersize=3.2
    )
    open_frames(figure)
    kinds = coefficients["vcov_type"].iloc[0]
    of = "all tokens" if tokens <= MOST_SHOWN else f"a sample of {MOST_SHOWN:,} tokens"
    frame(
        figure,
        title,
        f"{ADDED[site][0].upper()}{ADDED[site][1:]}, {of} but the dropped ones, documents in "
        f"brackets. Norms: median, middle 50% and middle 90%. Coefficients: each group's own "
        f"regression; crosses where p ≥ {alpha:g}, {correction_text(adjust)}; standard errors "
        f"{COVARIANCE.get(kinds, kinds)}. Grey: not fitted. Colours end where 2% of the cells are "
        f"beyond. {PREDICTIVE}",
    )
    return figure
