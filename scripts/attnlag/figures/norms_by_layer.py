"""Norms of every layer, absolute and relative to the stream that the block receives.

Each layer has a ridge, the histogram of its tokens, with ticks for the first tokens of sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.adjustments.sites import SITES
from attnlag.errors import counted
from attnlag.figures.drawing import (
    LINE,
    TAIL,
    finite,
    frame,
    label_ratios,
    layer_ticks,
    quantiles_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.norms import NormsInputs
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    tokens_shown,
)

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "by layer"

# Largest number of first tokens with a tick in a layer.
TICKS = 200

FILL = "0.82"

# Height of the tallest bin of a layer, in units of the distance between layers.
HEIGHT = 1.3

# Smallest rank correlation of medians with depth that is called a trend.
TREND = 0.7


@dataclass
class LayerNorms:
    """Reduced log norms of one layer.

    Attributes
    ----------
    layer : int
    firsts : float array
        A sample of the first tokens of sequences.
    low, median, high : float
        Central 99% and median of all but the first tokens; NaN if there are none.
    edges, counts : float array
        Histogram of all but the first tokens, with Freedman-Diaconis bins.
    """

    layer: int
    firsts: np.ndarray
    low: float
    median: float
    high: float
    edges: np.ndarray
    counts: np.ndarray


def layer_norms(layer: int, log_norms: np.ndarray, first: np.ndarray) -> LayerNorms:
    """Reduce the log norms of a layer.

    Parameters
    ----------
    layer : int
    log_norms : (tokens,) float array
        Natural logarithms; NaN if a norm is zero or not finite.
    first : (tokens,) bool array
        True for the first tokens of sequences.
    """
    # The sample does not depend on the values, so that all layers show the same tokens.
    rows = np.flatnonzero(first)
    rows = np.random.default_rng(0).choice(rows, min(TICKS, len(rows)), replace=False)
    rest = finite(log_norms[~first])
    low, median, high = quantiles_of(rest, (TAIL, 0.5, 1 - TAIL))
    counts, edges = np.histogram(rest, bins="fd")
    return LayerNorms(layer, finite(log_norms[rows]), low, median, high, edges, counts)


def norm_limits(layers: Sequence[LayerNorms]) -> tuple[float, float]:
    """Return the limits of an axis of log norms.

    The limits include first tokens as long as these extend the range of the central tokens by no
    more than half on either side: a few distant tokens must not compress all others.
    """
    if np.isnan([part.low for part in layers]).all():
        return 0.0, 1.0  # There is nothing to show.
    low, high = np.nanmin([part.low for part in layers]), np.nanmax([part.high for part in layers])
    span = max(high - low, 1e-3)
    firsts = np.concatenate([part.firsts for part in layers])
    near = firsts[(firsts > low - span / 2) & (firsts < high + span / 2)]
    low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
    margin = 0.03 * max(high - low, span)
    return low - margin, high + margin


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    layers, relative : list of LayerNorms
        Norms, and norms relative to the stream, by layer.
    tokens : int
        Number of tokens in each layer, of which the histograms may hold a sample.
    site : str
    drop_first : int
        Number of tokens of each sequence that are marked as first tokens.
    """

    layers: list[LayerNorms]
    relative: list[LayerNorms]
    tokens: int
    site: str
    drop_first: int


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to histograms and first tokens."""
    drop_first = inputs.settings.drop_first
    layers, relative = (
        [
            layer_norms(layer, logs, sample.position < drop_first)
            for layer, logs in zip(sample.layers, sample.log_norms, strict=True)
        ]
        for sample in (inputs.sample, inputs.relative)
    )
    return Data(layers, relative, inputs.sample.tokens, inputs.site, drop_first)


def trend_of(layers: Sequence[LayerNorms]) -> str | None:
    """Return the change of the median with depth, and its range; None if no layer has a median."""
    known = [(part.median, part.layer) for part in layers if np.isfinite(part.median)]
    if not known:
        return None
    # Spearman's correlation of the medians with the layers.
    ranks = np.argsort(np.argsort([median for median, _ in known]))
    depth = np.arange(len(known))
    rho = np.corrcoef(depth, ranks)[0, 1] if len(known) > 1 else 0.0
    small, large = (
        f"{float(f'{np.exp(median):.2g}'):,g} (layer {layer})"
        for median, layer in (min(known), max(known))
    )
    if rho >= TREND:
        return f"grows with depth, from {small} to {large}"
    if rho <= -TREND:
        return f"falls with depth, from {large} to {small}"
    return f"is {small} to {large}"


def title_of(data: Data) -> str:
    """Return the change of the median norm with depth, absolute and relative to the stream."""
    norms, relative = trend_of(data.layers), trend_of(data.relative)
    if norms is None:
        return "No layer has a finite norm other than zero"
    return f"The median norm {norms}" + (
        f"; relative to the stream it {relative}" if relative else ""
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the norms of every layer as a ridge, and beside them the relative norms."""
    numbers = [part.layer for part in data.layers]
    rows = 2 if size.narrow else 1
    height = rows * float(np.clip(1.4 + 0.16 * len(numbers), 2.4, 6.2 if rows == 1 else 3.6))
    figure = Figure(figsize=size.tall(height + 1.3), layout="constrained")
    panels = list(figure.subplots(rows, 3 - rows, sharey=True))
    label = SITES[data.site].label
    labels = f"norm of {label}, |a|", "relative to the stream, |a| / |x|"
    beyond = False
    for axes, layers, text in zip(panels, (data.layers, data.relative), labels, strict=True):
        beyond |= _draw_ridges(axes, layers)
        axes.set_xlabel(f"{text}\n(log scale)")
        axes.set_ylabel("layer")
        if rows == 1:
            axes.label_outer()
    # At 1, the adjustment is as large as the stream.
    panels[1].axvline(0, color="0.5", linewidth=0.8, linestyle=(0, (4, 2.5)), zorder=0.5)
    panels[0].set_ylim(min(numbers) - 0.5, max(numbers) + HEIGHT + 0.2)
    panels[0].set_yticks(layer_ticks(numbers))
    panels[0].set_yticks(numbers, minor=True)
    sns.despine(figure)

    entries = {
        "tokens": Patch(facecolor=FILL, edgecolor="0.3", linewidth=0.6),
        "their median": Line2D([], [], color="k", marker="|", linestyle="none", ms=8, mew=1.4),
    }
    if any(len(part.firsts) for part in data.layers):
        many = data.drop_first > 1
        places = f"positions 0 to {data.drop_first - 1}" if many else "position 0"
        name = f"first {'tokens' if many else 'token'} of a sequence ({places})"
        entries[name] = Line2D([], [], color=LINE, marker="|", linestyle="none", ms=6)
    if beyond:
        entries["first tokens beyond the axis"] = Line2D(
            [], [], color=LINE, marker=">", linestyle="none", ms=4
        )
    firsts = max((len(part.firsts) for part in data.layers), default=0)
    shown = f"; ticks: {counted(firsts, 'first token')}, the same in all layers" if firsts else ""
    frame(
        figure,
        title,
        f"Ridges: {tokens_shown(data.tokens)}{' except first tokens' if firsts else ''}, "
        "Freedman-Diaconis bins of log norms; heights are tokens per bin, divided by the largest "
        f"of the layer{shown}. Relative: the norm of the adjustment a divided by that of the "
        "residual stream x that the block receives; dashed at 1: both are equal.",
        legends=[entries],
    )
    return figure


def _draw_ridges(axes: Axes, layers: Sequence[LayerNorms]) -> bool:
    """Draw a ridge and ticks of first tokens per layer; return whether some are off the axis."""
    low, high = norm_limits(layers)
    axes.set_xlim(low, high)
    beyond = False
    for part in layers:
        # Each layer covers the lower part of the layer above, which lies behind it.
        order = 3 - part.layer / 1000
        axes.axhline(part.layer, color="0.85", linewidth=0.5, zorder=order - 0.0004)
        if part.counts.any():
            # Each layer has its own scale, because densities differ by factors of ten.
            heights = part.layer + HEIGHT * part.counts / part.counts.max()
            kind: dict[str, Any] = {"facecolor": FILL, "edgecolor": "0.3", "linewidth": 0.6}
            kind |= {"baseline": part.layer, "fill": True, "zorder": order}
            axes.stairs(heights, part.edges, **kind)
            axes.vlines(
                part.median, part.layer, part.layer + 0.75, color="k", linewidth=1.4, zorder=4
            )
        inside = part.firsts[(part.firsts >= low) & (part.firsts <= high)]
        # Hundreds of vector ticks would make the file slow to display.
        ends = part.layer - 0.05, part.layer + 0.5
        axes.vlines(inside, *ends, color=LINE, linewidth=0.6, zorder=3.5, rasterized=True)
        for outside, edge, marker in (
            (part.firsts < low, low, "<"),
            (part.firsts > high, high, ">"),
        ):
            if outside.any():
                beyond = True
                axes.plot(edge, part.layer + 0.2, marker, color=LINE, ms=4, clip_on=False, zorder=5)
    label_ratios(axes.xaxis, low, high)
    return beyond
