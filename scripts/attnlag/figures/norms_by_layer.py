"""Log norms of every layer, as they are and relative to the stream that the block receives.

A sample of tokens as points, and histograms of the norms of all of them.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D

from attnlag.adjustments.sites import SITES
from attnlag.errors import counted
from attnlag.figures.drawing import (
    TAIL,
    finite,
    frame,
    is_below,
    label_layers,
    layer_ticks,
    quantiles_of,
    tokens_shown,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import NormsInputs
from attnlag.figures.legends import layer_colours
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "by layer"

# Tokens drawn as points in a layer, and first tokens of sequences beside them.
POINTS = 400
FIRST_POINTS = 15

# Where the scale of relative norms may be labelled.
RATIOS = [a * 10.0**b for b in range(-6, 7) for a in (1, 3)]

# More corners than this in the outlines of the histograms would make an SVG of many megabytes.
MOST_CORNERS = 50_000


@dataclass
class LayerNorms:
    """One layer's log norms, as much of them as the figure shows.

    Attributes
    ----------
    layer : int
    sample, first_sample : float array
        Of the tokens drawn as points, and of the first tokens of sequences among them.
    low, median, high : float
        Of all but the first tokens, the central 99% and the middle; NaN where there are none.
    edges, counts : float array
        Histogram of all but the first tokens, with Freedman-Diaconis bins.
    """

    layer: int
    sample: np.ndarray
    first_sample: np.ndarray
    low: float
    median: float
    high: float
    edges: np.ndarray
    counts: np.ndarray


def sampled(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` of the rows, in order: the same ones on every call."""
    chosen = np.random.default_rng(0).choice(rows, min(most, len(rows)), replace=False)
    return np.sort(chosen)


def layer_norms(layer: int, log_norms: np.ndarray, first: np.ndarray) -> LayerNorms:
    """Reduce a layer to what the figure shows of it.

    Parameters
    ----------
    layer : int
    log_norms : (tokens,) float array
        Natural logarithms, NaN where a norm has none.
    first : (tokens,) bool array
        True for the first tokens of sequences.
    """
    # Rows are drawn before values are looked at, so that all layers show the same tokens.
    sample = log_norms[sampled(np.flatnonzero(~first), POINTS)]
    first_sample = log_norms[sampled(np.flatnonzero(first), FIRST_POINTS)]
    rest = finite(log_norms[~first])
    low, median, high = quantiles_of(rest, (TAIL, 0.5, 1 - TAIL))
    counts, edges = np.histogram(rest, bins="fd")
    samples = finite(sample), finite(first_sample)
    return LayerNorms(layer, *samples, low, median, high, edges, counts)


def norm_limits(layers: Sequence[LayerNorms]) -> tuple[float, float]:
    """Return the limits of an axis of log norms.

    All points are inside as long as they widen the range of the central tokens by no more than
    half of it on either side: a few tokens far away must not squeeze all others.
    """
    if np.isnan([part.low for part in layers]).all():
        return 0.0, 1.0  # nothing to show
    low, high = np.nanmin([part.low for part in layers]), np.nanmax([part.high for part in layers])
    span = max(high - low, 1e-3)
    points = np.concatenate([np.r_[part.sample, part.first_sample] for part in layers])
    near = points[(points > low - span / 2) & (points < high + span / 2)]
    low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
    margin = 0.03 * max(high - low, span)
    return low - margin, high + margin


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    layers : list of LayerNorms
        In order.
    tokens : int
        Number of tokens in each layer; perhaps more than the histograms are of.
    site : str
    drop_first : int
        Number of tokens of each sequence that are marked as its first.
    relative : list of LayerNorms, or None
        The same of norms relative to the stream.
    """

    layers: list[LayerNorms]
    tokens: int
    site: str
    drop_first: int
    relative: list[LayerNorms] | None = None


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to points and histograms."""
    drop_first = inputs.settings.drop_first
    layers, relative = (
        [
            layer_norms(layer, logs, sample.position < drop_first)
            for layer, logs in zip(sample.layers, sample.log_norms, strict=True)
        ]
        for sample in (inputs.sample, inputs.relative)
    )
    return Data(layers, inputs.sample.tokens, inputs.site, drop_first, relative)


def ends_of(layers: Sequence[LayerNorms]) -> tuple[LayerNorms, LayerNorms] | None:
    """Return the layers with the smallest and the largest median; None where none has one."""
    known = np.array([part.median for part in layers])
    if np.isnan(known).all():
        return None
    return layers[int(np.nanargmin(known))], layers[int(np.nanargmax(known))]


def title_of(data: Data) -> str:
    """Return the smallest and the largest typical norm, with their layers, and the shares."""
    ends = ends_of(data.layers)
    if ends is None:
        return "No layer has a norm that is finite and not zero"
    low, high = ends
    title = (
        f"Median norm from {np.exp(low.median):.2g} (layer {low.layer}) to "
        f"{np.exp(high.median):.3g} (layer {high.layer})"
    )
    if data.relative and (ends := ends_of(data.relative)):
        low, high = ends
        title += (
            f"; over the stream's from {np.exp(low.median):.2g} (layer {low.layer}) to "
            f"{np.exp(high.median):.3g} (layer {high.layer})"
        )
    return title


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the log norms of every layer as points, beside their histograms."""
    layers = data.layers
    numbers = [part.layer for part in layers]
    colours = layer_colours(len(layers))
    low, high = norm_limits(layers)
    label = f"log norm of {SITES[data.site].label} (natural log)"

    figure, strip, ridges, shares = _panels(size, data.relative is not None)

    samples, firsts = [part.sample for part in layers], [part.first_sample for part in layers]
    strip.set_ylim(low, high)
    _draw_points(strip, numbers, samples, list(colours))
    _draw_points(strip, numbers, firsts, None)
    strip.set_ylim(low, high)
    label_layers(strip, numbers, most=None if size.narrow else 16)
    if shares is not None and data.relative:
        _draw_shares(shares, data.relative, list(colours), SITES[data.site].label, size)
        if is_below(shares, strip):
            # The panel below shows the same layers in the same places.
            strip.tick_params(labelbottom=False)
            strip.set_xlabel("")
    strip.set_ylabel(textwrap.fill(label, 34) if size.narrow else label)
    points = np.concatenate(samples + firsts)
    beyond = bool(((points < low) | (points > high)).any())
    _legend_of_norms(strip, size, colours, data.drop_first, any(map(len, firsts)), beyond)

    corners = sum(2 * len(part.edges) for part in layers)
    for part, colour in zip(layers, colours, strict=True):
        ridges.axhline(part.layer, color="0.85", linewidth=0.5, zorder=0)
        if not part.counts.any():
            continue
        # Each to its own height: densities of layers differ by factors of ten.
        sns.histplot(
            x=(part.edges[:-1] + part.edges[1:]) / 2,
            weights=0.92 * part.counts / part.counts.max(),
            bins=list(part.edges),
            element="step",
            ax=ridges,
            transform=Affine2D().translate(0, part.layer) + ridges.transData,
            color=colour,
            alpha=1,
            linewidth=0.6,
            rasterized=corners > MOST_CORNERS,
        )
    ridges.set_xlim(low, high)
    ridges.set_ylim(min(numbers) - 0.5, max(numbers) + 1.3)
    ridges.set_yticks(layer_ticks(numbers))
    ridges.set_yticks(numbers, minor=True)
    ridges.set_ylabel("layer")
    ridges.set_xlabel(label)
    sns.despine(figure)

    bar = figure.colorbar(
        ScalarMappable(
            BoundaryNorm(np.arange(len(layers) + 1) + min(numbers) - 0.5, len(layers)),
            ListedColormap(colours),
        ),
        ax=ridges,
        ticks=layer_ticks(numbers),
        aspect=45,
        pad=0.02,
    )
    bar.ax.minorticks_off()
    bar.set_label("layer")

    note = ""
    if shares is not None:
        note = (
            " Relative: the norm of what is added, over that of the residual stream that the block "
            "receives; line: the median of all tokens but first ones."
        )
    drawn = f"a sample of {counted(len(samples[0]), 'token')} in each layer"
    histograms = tokens_shown(data.tokens)
    if len(firsts[0]):
        drawn += f" and {counted(len(firsts[0]), 'first token')}"
        histograms += " but first tokens"
    frame(
        figure,
        title,
        f"Points: {drawn}, of {data.tokens:,}, the same ones in each. Histograms: {histograms}, "
        "Freedman-Diaconis bins; heights are tokens per bin, over the largest of the layer."
        f"{note}",
    )
    return figure


def _panels(size: Size, with_shares: bool) -> tuple[Figure, Axes, Axes, Axes | None]:
    """Return a figure with axes of the points, the histograms and, if asked, the relative norms.

    Relative norms lie below the points, layer by layer.
    """
    if size.narrow:
        figure = Figure(figsize=size.tall(10.2 if with_shares else 8.2), layout="constrained")
        panels = figure.subplots(
            2 + with_shares, 1, height_ratios=[1, 0.75, 1.1] if with_shares else [1, 1.1]
        )
        return figure, panels[0], panels[-1], panels[1] if with_shares else None
    figure = Figure(figsize=size.tall(8.0 if with_shares else 5.8), layout="constrained")
    grid = figure.add_gridspec(
        1 + with_shares, 2, width_ratios=[1.5, 1], height_ratios=[1.5, 1][: 1 + with_shares]
    )
    strip, ridges = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[:, 1])
    return figure, strip, ridges, figure.add_subplot(grid[1, 0]) if with_shares else None


def _draw_shares(
    axes: Axes, layers: Sequence[LayerNorms], colours: list, label: str, size: Size
) -> None:
    """Draw relative norms of every layer as points, with their medians, on a scale of ratios."""
    numbers = [part.layer for part in layers]
    low, high = norm_limits(layers)
    # One is where a sublayer adds as much as there is.
    low, high = min(low, -0.1), max(high, 0.1)
    axes.set_ylim(low, high)
    axes.axhline(0, color="0.5", linewidth=0.8, zorder=0.5)
    _draw_points(axes, numbers, [part.sample for part in layers], colours)
    _draw_points(axes, numbers, [part.first_sample for part in layers], None)
    axes.plot(numbers, [part.median for part in layers], color="k", linewidth=1.4, zorder=4)
    axes.set_ylim(low, high)
    # Logarithms, as above, with the ratios that they are of.
    ticks = [tick for tick in np.log(RATIOS) if low <= tick <= high]
    axes.set_yticks(ticks, [f"{np.exp(tick):g}" for tick in ticks])
    label_layers(axes, numbers, most=None if size.narrow else 16)
    axes.set_ylabel(textwrap.fill(f"relative norm of {label} (log scale)", 26))


def _draw_points(
    axes: Axes, layers: Sequence[int], values: Sequence[np.ndarray], colours: list | None
) -> None:
    """Draw the tokens of each layer, at the edge of the axis if they lie beyond.

    First tokens have no colours: they are open and dark, to be told from the rest in any case.
    """
    low, high = axes.get_ylim()
    points = pd.DataFrame(
        {"layer": np.repeat(layers, list(map(len, values))), "value": np.concatenate(values)}
    )
    above, below = points["value"] > high, points["value"] < low
    points["value"] = points["value"].clip(low, high)
    kind: dict[str, Any] = {"color": "k", "edgecolor": "k", "linewidth": 0.7}
    if colours is not None:
        palette = dict(zip(layers, colours, strict=True))
        kind = {"hue": "layer", "palette": palette, "alpha": 0.55, "linewidth": 0}
    before = len(axes.collections)
    for chosen, marker, size in (
        (~above & ~below, "D" if colours is None else "o", 3.7 if colours is None else 2.2),
        (above, "^", 4.2),
        (below, "v", 4.2),
    ):
        if chosen.any():
            sns.stripplot(
                points[chosen],
                x="layer",
                y="value",
                ax=axes,
                jitter=0.32,
                marker=marker,
                size=size,
                native_scale=True,
                legend=False,
                clip_on=not (above | below)[chosen].any(),
                # Thousands of points as vectors would make the file slow to show.
                rasterized=True,
                **kind,
            )
    if colours is None:
        for collection in axes.collections[before:]:
            collection.set_facecolor("none")


def _legend_of_norms(
    axes: Axes, size: Size, colours: np.ndarray, drop_first: int, any_first: bool, beyond: bool
) -> None:
    middle = colours[len(colours) // 2]
    hollow: dict[str, Any] = {"markerfacecolor": "none", "color": "k", "markersize": 4.5}
    diamond, up, down = (
        Line2D([], [], linestyle="none", marker=marker, **hollow) for marker in "D^v"
    )
    entries: dict[str, Any] = {
        "token": Line2D([], [], linestyle="none", marker="o", markersize=4, color=middle)
    }
    if any_first:
        places = "position 0" if drop_first == 1 else f"positions 0 to {drop_first - 1}"
        entries[f"first of its sequence ({places})"] = diamond
    if beyond:
        entries["beyond the axis"] = up, down
    axes.legend(
        list(entries.values()),
        list(entries),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2 if size.narrow else 3,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.2,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )
