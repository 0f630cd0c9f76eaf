"""The figures: norms and coefficients by layer, the outcome against its lag, sites side by side.

Each layer is first reduced to what its part of a figure needs, so that one layer at a time is in
memory however long the corpus is. Figures are 10 inches wide or less: in a report, where they are
about 1000 pixels wide, a font of 9 points is then as large as the text around it.
"""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag import tables
from attnlag.errors import UserError, counted

# What each format needs so that equal figures give equal bytes: no date, no version.
METADATA: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {"Software": None}}

DPI = 150

# Tokens drawn as points in a layer, and first tokens of sequences beside them.
POINTS = 400
FIRST_POINTS = 15

# Up to here the points of a lag are drawn one by one; more of them hide each other.
MOST_POINTS = 2000

# Side of the squares in which more are counted, and the reach of the counts, in standard
# deviations of the layer.
BIN = 0.1
REACH = 10.0

# Share of the tokens that the shared axes of all layers leave out on either side.
TAIL = 0.005

# More corners than this in the outlines of the histograms would make an SVG of many megabytes.
MOST_CORNERS = 50_000

GREY = "0.35"
LINE = "#d55e00"
NORMS = "#2a6f8f"

PREDICTIVE = "Same-layer coefficients are predictive associations, not causes."
# What a site adds, as axes and titles say it.
ADDED = {"attention": "attention adjustment", "mlp": "MLP adjustment", "block": "block update"}

# The shares of tokens below the five lines of a layer's norms, median in the middle.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

COVARIANCE = {"cluster": "clustered by document (CRV1)", "nonrobust": "nonrobust"}
ADJUSTMENTS = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the project, whatever the user's own matplotlib settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(sns.axes_style("ticks"))
        matplotlib.rcParams.update(
            {
                "font.family": "DejaVu Sans",
                "font.size": 9,
                "axes.titlesize": 10,
                "axes.labelsize": 10,
                "xtick.labelsize": 9,
                "ytick.labelsize": 9,
                "legend.fontsize": 9,
                "legend.frameon": False,
                "figure.titlesize": 11,
                "axes.linewidth": 0.8,
                "xtick.major.width": 0.8,
                "ytick.major.width": 0.8,
                "xtick.major.size": 4,
                "ytick.major.size": 4,
                "xtick.minor.size": 2,
                "axes.edgecolor": GREY,
                # Otherwise the names inside an SVG are drawn at random.
                "svg.hashsalt": "attnlag",
            }
        )
        yield


@style()
def save(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Write a figure to each path, in the format of its suffix, each whole or not at all.

    Raises
    ------
    UserError
        For a suffix that is no format of figures; nothing is written then.
    """
    unknown = [path for path in map(Path, paths) if path.suffix not in METADATA]
    if unknown:
        raise UserError(
            f"{path}: found the suffix '{path.suffix}', expected {' or '.join(METADATA)}"
            for path in unknown
        )
    _settle(figure)
    for path in map(Path, paths):
        with tables.written_whole(path) as temporary:
            figure.savefig(
                temporary, format=path.suffix[1:], dpi=DPI, metadata=METADATA[path.suffix]
            )


def _settle(figure: Figure) -> None:
    """Lay a figure out once and for all.

    The solver of the layout is not exact in the last digits, and starts from where it ended
    before: without this neither a second run nor a second file would have equal bytes.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 5), round(bottom, 5), round(width, 5), round(height, 5)))


def layer_colours(layers: int) -> np.ndarray:
    """Return one RGBA colour per layer, dark to light in the order of the layers."""
    # The last tenth of the map is a yellow that white paper swallows.
    return sns.color_palette("viridis", as_cmap=True)(np.linspace(0, 0.9, layers))


def layer_ticks(layers: Sequence[int], most: int = 16) -> list[int]:
    """Return the layers that get a label where there is room for about ``most``."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if len(layers) <= most * step)
    return [layer for layer in layers if layer % step == 0]


def label_layers(axes: Axes, layers: Sequence[int], most: int = 16) -> None:
    """Make the layers the x axis: all of them ticks, some of them labels."""
    axes.set_xlim(min(layers) - 0.7, max(layers) + 0.7)
    axes.set_xticks(layer_ticks(layers, most))
    axes.set_xticks(list(layers), minor=True)
    axes.set_xlabel("layer")


def _wrapped(footnote: str, width: float) -> list[str]:
    # A character of 8 points is about 0.06 inches wide.
    return textwrap.wrap(footnote, int((width - 0.2) / 0.061))


def frame(
    figure: Figure,
    title: str,
    footnote: str,
    x_label: str = "",
    y_label: str = "",
    strip: float = 0.0,
) -> None:
    """Put a title above all else in a figure, labels of all its axes and a footnote around it.

    Below the title, a strip of so many inches is left free.
    """
    width, height = figure.get_size_inches()
    lines = _wrapped(footnote, width)
    # The layout makes room for titles and labels of axes, but not for text in the margin.
    note = 0.14 * len(lines) + 0.12
    bottom = (note + (0.24 if x_label else 0)) / height
    left = (0.3 if y_label else 0) / width
    rect = (left, bottom, 1 - left, 1 - bottom - strip / height)
    figure.set_layout_engine("constrained", h_pad=0.06, rect=rect)
    middle = (bottom + 1 - 0.3 / height) / 2
    figure.text(0.5, (note + 0.05) / height, x_label, fontsize=10, ha="center", va="bottom")
    figure.text(0.1 / width, middle, y_label, fontsize=10, rotation=90, ha="left", va="center")
    figure.text(0.1 / width, 0.06 / height, "\n".join(lines), fontsize=8, color=GREY, va="bottom")
    figure.suptitle(
        textwrap.fill(title, int((width - 0.2) / 0.1)), x=0.1 / width, ha="left", weight="bold"
    )


def finite(values: np.ndarray) -> np.ndarray:
    """Return the values that are numbers, as float64."""
    return values[np.isfinite(values)].astype(np.float64)


@dataclass
class LayerNorms:
    """One layer's log norms, as much of them as the figure shows.

    Attributes
    ----------
    layer : int
    sample, first_sample : float array
        Of the tokens drawn as points, and of the first tokens of sequences among them.
    low, high : float
        The central 99% of all but the first tokens; NaN where there are none.
    edges, counts : float array
        Histogram of all but the first tokens, with Freedman-Diaconis bins.
    """

    layer: int
    sample: np.ndarray
    first_sample: np.ndarray
    low: float
    high: float
    edges: np.ndarray
    counts: np.ndarray


def sampled(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` of the rows, in order: the same ones on every call."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def layer_norms(layer: int, log_norms: np.ndarray, first: np.ndarray) -> LayerNorms:
    """Reduce a layer to what `norms_by_layer` draws of it.

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
    low, high = np.quantile(rest, [TAIL, 1 - TAIL]) if len(rest) else (np.nan, np.nan)
    edges = np.histogram_bin_edges(rest, bins="fd")
    return LayerNorms(
        layer=layer,
        sample=finite(sample),
        first_sample=finite(first_sample),
        low=float(low),
        high=float(high),
        edges=edges,
        counts=np.histogram(rest, edges)[0],
    )


def norm_limits(layers: Sequence[LayerNorms]) -> tuple[float, float]:
    """Return the limits of an axis of log norms.

    All points are inside as long as they widen the range of the central tokens by no more than
    half of it on either side: a few tokens far away must not squeeze all others.
    """
    known = [part for part in layers if np.isfinite(part.low)]
    if not known:
        return 0.0, 1.0
    low, high = min(part.low for part in known), max(part.high for part in known)
    span = max(high - low, 1e-3)
    points = np.concatenate([np.r_[part.sample, part.first_sample] for part in layers])
    near = points[(points > low - span / 2) & (points < high + span / 2)]
    low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
    margin = 0.03 * (high - low) or span
    return low - margin, high + margin


@style()
def norms_by_layer(
    layers: Sequence[LayerNorms], *, title: str, tokens: int, site: str, drop_first: int
) -> Figure:
    """Draw figure 1: log norms of every layer as points, beside their histograms.

    Parameters
    ----------
    layers : sequence of LayerNorms
        In order.
    title : str
    tokens : int
        Tokens in each layer, for the footnote.
    site : str
        The sublayer, for the labels of the axes.
    drop_first : int
        How many tokens of each sequence are marked as its first.
    """
    numbers = [part.layer for part in layers]
    colours = layer_colours(len(layers))
    low, high = norm_limits(layers)
    label = f"log norm of {ADDED[site]} (natural log)"

    figure = Figure(figsize=(10, 5.8), layout="constrained")
    strip, ridges = figure.subplots(1, 2, width_ratios=[1.5, 1])

    beyond = False
    random = np.random.default_rng(0)
    for part, colour in zip(layers, colours, strict=True):
        for values, kind in (
            (part.sample, {"marker": "o", "s": 5, "color": colour, "alpha": 0.55, "linewidths": 0}),
            # Open and dark, so that they are told from the rest without their colour.
            (
                part.first_sample,
                {
                    "marker": "D",
                    "s": 14,
                    "facecolors": "none",
                    "edgecolors": "k",
                    "linewidths": 0.7,
                },
            ),
        ):
            places = part.layer + random.uniform(-0.32, 0.32, len(values))
            inside = (values >= low) & (values <= high)
            # Thousands of points as vectors would make the file slow to show.
            strip.scatter(places[inside], values[inside], rasterized=True, zorder=2, **kind)
            for outside, edge, marker in ((values > high, high, "^"), (values < low, low, "v")):
                if outside.any():
                    beyond = True
                    ends = np.full(int(outside.sum()), edge)
                    strip.scatter(
                        places[outside],
                        ends,
                        zorder=3,
                        clip_on=False,
                        rasterized=True,
                        **{**kind, "marker": marker, "s": 18},
                    )
    strip.set_ylim(low, high)
    label_layers(strip, numbers)
    strip.set_ylabel(label)
    _legend_of_norms(strip, colours, drop_first, any(len(p.first_sample) for p in layers), beyond)

    corners = sum(2 * len(part.edges) for part in layers)
    for part, colour in zip(layers, colours, strict=True):
        ridges.axhline(part.layer, color="0.85", linewidth=0.5, zorder=0)
        if not part.counts.any():
            continue
        # Each to its own height: densities of layers differ by factors of ten.
        ridges.stairs(
            part.layer + 0.92 * part.counts / part.counts.max(),
            part.edges,
            baseline=part.layer,
            fill=True,
            facecolor=colour,
            edgecolor=colour,
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

    firsts = sum(len(part.first_sample) for part in layers[:1])
    points = sum(len(part.sample) for part in layers[:1])
    drawn = f"Points: a sample of {counted(points, 'token')} in each layer"
    if firsts:
        drawn += f" and {counted(firsts, 'first token')}"
    histograms = "all tokens but first tokens" if firsts else "all tokens"
    frame(
        figure,
        title,
        f"{drawn}, of {tokens:,}, the same ones in each. "
        f"Histograms: {histograms}, Freedman-Diaconis bins; "
        "heights are tokens per bin, over the largest of the layer.",
    )
    return figure


def _legend_of_norms(
    axes: Axes, colours: np.ndarray, drop_first: int, any_first: bool, beyond: bool
) -> None:
    middle = colours[len(colours) // 2]
    point = Line2D([], [], linestyle="none", marker="o", markersize=4, color=middle)
    handles: list = [point]
    labels = ["token"]
    hollow: dict[str, Any] = {
        "linestyle": "none",
        "markerfacecolor": "none",
        "color": "k",
        "markersize": 4.5,
    }
    if any_first:
        handles.append(Line2D([], [], marker="D", **hollow))
        places = "position 0" if drop_first == 1 else f"positions 0 to {drop_first - 1}"
        labels.append(f"first of its sequence ({places})")
    if beyond:
        handles.append((Line2D([], [], marker="^", **hollow), Line2D([], [], marker="v", **hollow)))
        labels.append("beyond the axis")
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.2,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def lags_among(terms: Sequence[str]) -> list[str]:
    """Return the lags among the terms of a regression, nearest first."""
    lags = {term for term in terms if term.startswith("lag_")}
    return sorted(lags, key=lambda term: int(term.removeprefix("lag_")))


def named(term: str) -> str:
    """Return a term as a reader says it: ``lag 1``."""
    return term.replace("_", " ")


def study(fits: pd.DataFrame) -> str:
    """Return what was regressed: model, corpus, site and regression, as in the tidy tables."""
    return ", ".join(fits.loc[fits.index[0], ["model", "corpus", "site", "regression"]])


def chosen_layers(wanted: Sequence[int] | None, present: Sequence[int]) -> list[int]:
    """Return the layers that get a panel, in order; all of them if none is named.

    Raises
    ------
    UserError
        For each layer that the data does not have.
    """
    if wanted is None:
        return sorted(present)
    absent = sorted(set(wanted) - set(present))
    if absent:
        there = f"{min(present)} to {max(present)}"
        raise UserError(
            f"figures.layers: found {layer}, expected layers of this model: {there}"
            for layer in absent
        )
    return sorted(set(wanted))


def spread_text(covariance: str, adjust: str, n_obs: int, n_documents: int) -> str:
    """Return how uncertainty was reckoned, and from how much, for a footnote."""
    if adjust == "none":
        correction = "p-values not corrected for the number of layers"
    else:
        correction = (
            f"p-values corrected over the layers, per term ({ADJUSTMENTS.get(adjust, adjust)})"
        )
    return (
        f"Standard errors: {COVARIANCE.get(covariance, covariance)}; {correction}. "
        f"{counted(n_obs, 'row')} from {counted(n_documents, 'document')}."
    )


@style()
def coefficients_by_layer(
    coefficients: pd.DataFrame, fits: pd.DataFrame, *, title: str, alpha: float, adjust: str
) -> Figure:
    """Draw figure 2: the coefficient of each lag by layer, with R² below.

    Parameters
    ----------
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression. A layer without estimates is a gap, marked below.
    title : str
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    """
    fits = fits.sort_values("layer")
    numbers = fits["layer"].tolist()
    palette = lag_colours(lags_among(list(coefficients["term"])))

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    _draw_lags(top, coefficients, numbers, palette, alpha)
    r_squared = fits["r_squared"].to_numpy()
    missing = [layer for layer, value in zip(numbers, r_squared, strict=True) if np.isnan(value)]
    _mark_missing(top, missing, 0.03)
    _mark_missing(bottom, missing, 0.1)
    bottom.plot(numbers, r_squared, color="k", linewidth=1.1, marker="o", markersize=3)
    top.set_ylabel("coefficient\n(log norm per log norm)")
    top.margins(y=0.08)
    largest = np.nanmax(r_squared) if np.isfinite(r_squared).any() else 1.0
    bottom.set_ylim(0, 1.15 * largest if largest > 0 else 1.0)
    bottom.set_ylabel("R²\n(share of variance)")
    bottom.locator_params(axis="y", nbins=4)
    label_layers(bottom, numbers)
    for axes in (top, bottom):
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    sns.despine(figure)
    figure.align_ylabels([top, bottom])
    _legend_of_coefficients(top, palette, alpha, adjust, bool(missing))
    covariance = coefficients["vcov_type"].iloc[0]
    rows_text = spread_text(
        covariance, adjust, int(fits["n_obs"].max()), int(fits["n_documents"].max())
    )
    frame(figure, title, f"{PREDICTIVE} {rows_text}")
    return figure


def lag_colours(lags: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each lag, nearest first."""
    # Ten lags have an order that hues do not.
    palette = sns.color_palette("colorblind") if len(lags) <= 4 else layer_colours(len(lags))
    return dict(zip(lags, palette, strict=False))


def _draw_lags(
    axes: Axes,
    coefficients: pd.DataFrame,
    numbers: list[int],
    palette: dict[str, Any],
    alpha: float,
    scale: float = 1.0,
) -> None:
    """Draw a line with its band for each lag: dots where it is significant, crosses where not.

    ``scale`` is that of the marks, for panels that are narrow.
    """
    few = len(palette) <= 4
    for lag, colour in palette.items():
        rows = coefficients[coefficients["term"] == lag].set_index("layer").reindex(numbers)
        estimate = rows["estimate"].to_numpy()
        low, high = rows["conf_low"].to_numpy(), rows["conf_high"].to_numpy()
        axes.fill_between(
            numbers, low, high, color=colour, alpha=0.22 if few else 0.1, linewidth=0, zorder=2
        )
        axes.plot(numbers, estimate, color=colour, linewidth=1.3, zorder=3)
        known = np.isfinite(estimate)
        # A band between two gaps has no width: its ends are joined by a line.
        beside = np.concatenate([[False], known, [False]])
        alone = known & ~beside[:-2] & ~beside[2:]
        where = np.asarray(numbers)
        axes.vlines(where[alone], low[alone], high[alone], color=colour, alpha=0.5, linewidth=3)
        significant = rows["p_adjusted"].to_numpy() < alpha
        for chosen, marker, size in ((significant, "o", 5 if few else 4), (~significant, "x", 6)):
            shown = known & chosen
            axes.plot(
                where[shown],
                estimate[shown],
                linestyle="none",
                marker=marker,
                markersize=scale * size,
                markeredgewidth=scale * 1.6,
                color=colour,
                zorder=4,
            )


def _mark_missing(axes: Axes, missing: Sequence[int], height: float) -> None:
    """Mark the layers without a fit, at a height from 0 to 1 of the axes."""
    if missing:
        axes.plot(
            missing,
            [height] * len(missing),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="^",
            markersize=6,
            markerfacecolor="none",
            color=GREY,
            clip_on=False,
        )


def _legend_of_coefficients(
    axes: Axes, palette: dict[str, Any], alpha: float, adjust: str, missing: bool
) -> Legend:
    handles: list = [Line2D([], [], color=colour, linewidth=2) for colour in palette.values()]
    labels = [named(lag) for lag in palette]
    corrected = "" if adjust == "none" else f", {ADJUSTMENTS.get(adjust, adjust)}"
    mark: dict[str, Any] = {"linestyle": "none", "color": GREY, "markeredgewidth": 1.6}
    handles += [
        Line2D([], [], marker="o", markersize=5, **mark),
        Line2D([], [], marker="x", markersize=6, **mark),
        Patch(color=GREY, alpha=0.25, linewidth=0),
    ]
    labels += [
        f"p < {alpha:g}{corrected}",
        f"p ≥ {alpha:g}{corrected}",
        f"{100 * (1 - alpha):g}% confidence band",
    ]
    if missing:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="^",
                markersize=6,
                markerfacecolor="none",
                color=GREY,
            )
        )
        labels.append("not fitted")
    return axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        # One row as long as there is room for it.
        ncols=len(handles) if len(handles) <= 6 else 5,
        handlelength=1.5,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


@dataclass
class LagPanel:
    """One layer's outcome against one lag, in standard deviations from the outcome's mean.

    Attributes
    ----------
    layer, rows : int
    mean, sd : float
        Of the outcome; NaN without rows.
    lag_mean : float
        Of the lag, standardised as the outcome is.
    low, high : float
        The central 99% of both.
    points : (rows, 2) float array or None
        Lag and outcome, if there are few rows.
    counts : (bins, bins) int array or None
        Rows in squares of ``BIN``, by lag and outcome, if there are many.
    slope, r_squared : float
        NaN where the layer was not fitted.
    """

    layer: int
    rows: int
    mean: float
    sd: float
    lag_mean: float
    low: float
    high: float
    points: np.ndarray | None
    counts: np.ndarray | None
    slope: float
    r_squared: float


def bin_edges() -> np.ndarray:
    """Return the edges of the squares in which rows are counted."""
    return np.arange(-round(REACH / BIN), round(REACH / BIN) + 1) * BIN


def lag_panel(
    layer: int, lag: np.ndarray, outcome: np.ndarray, slope: float, r_squared: float
) -> LagPanel:
    """Reduce a layer to what `outcome_by_lag` draws of it.

    Both are measured from the outcome's mean in the outcome's standard deviations: layers then
    share their axes whatever their level and spread, and a slope stays what it is.

    Parameters
    ----------
    layer : int
    lag, outcome : (rows,) float array
        Log norms, NaN where the layer drops the row.
    slope, r_squared : float
        Of the regression.
    """
    known = np.isfinite(lag) & np.isfinite(outcome)
    lag, outcome = lag[known], outcome[known]
    rows = len(outcome)
    mean = float(outcome.mean()) if rows else np.nan
    sd = float(outcome.std(ddof=1)) if rows > 1 else np.nan
    panel = LagPanel(layer, rows, mean, sd, np.nan, np.nan, np.nan, None, None, slope, r_squared)
    if not sd > 0:
        return panel
    lag, outcome = (lag - mean) / sd, (outcome - mean) / sd
    panel.lag_mean = float(lag.mean())
    tails = np.quantile([lag, outcome], [TAIL, 1 - TAIL], axis=1)
    panel.low, panel.high = float(tails.min()), float(tails.max())
    if rows <= MOST_POINTS:
        panel.points = np.column_stack([lag, outcome])
    else:
        panel.counts = np.histogram2d(lag, outcome, bins=[bin_edges()] * 2)[0].astype(np.int64)
    return panel


def lag_limits(panels: Sequence[LagPanel]) -> tuple[float, float]:
    """Return the limits that both axes of all panels share."""
    known = [panel for panel in panels if np.isfinite(panel.low)]
    if not known:
        return -3.0, 3.0
    low = min(panel.low for panel in known)
    high = max(panel.high for panel in known)
    margin = 0.05 * (high - low)
    return max(low - margin, -REACH), min(high + margin, REACH)


@style()
def outcome_by_lag(panels: Sequence[LagPanel], *, title: str, lag: str) -> Figure:
    """Draw figure 3: a panel per layer with the outcome against a lag and the fitted line.

    Parameters
    ----------
    panels : sequence of LagPanel
        In the order of the layers.
    title : str
    lag : str
        The term, as in ``lag_1``.
    """
    columns, size = next(
        (columns, size)
        for most, columns, size in ((1, 1, 4.4), (4, 2, 3.2), (12, 4, 2.05), (10**6, 6, 1.4))
        if len(panels) <= most
    )
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    largest = max((int(p.counts.max()) for p in panels if p.counts is not None), default=0)
    # The scale of colours takes more than half an inch.
    width = columns * size + (1.5 if largest else 0.9)
    footnote = (
        "Both axes: natural logarithm of the norm, less the mean of the layer's outcome, in its "
        f"standard deviations (SD), so that all panels share them; the central "
        f"{100 * (1 - 2 * TAIL):g}% of every layer is inside. Above each panel at the right: that "
        f"mean ± SD. Line: the regression's prediction by {named(lag)}, its other terms at their "
        f"means. R²: of the whole regression. {PREDICTIVE}"
    )
    height = rows * (size + 0.27) + 0.14 * len(_wrapped(footnote, width)) + 1.1
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    limits = lag_limits(panels)
    shades = LogNorm(1, max(largest, 10))
    colours = sns.color_palette("mako_r", as_cmap=True)

    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        panel = panels[place]
        _draw_panel(axes, panel, limits, colours, shades)
        if place + columns >= len(panels):
            # Nothing below shows the numbers of this column.
            axes.tick_params(labelbottom=True)
    if largest:
        figure.colorbar(
            ScalarMappable(shades, colours),
            ax=grid,
            label=f"tokens per square of {BIN:g} SD (log scale)",
            format="{x:,.0f}",
            fraction=0.02,
            aspect=40,
            pad=0.01,
        )
    frame(
        figure,
        title,
        footnote,
        x_label=f"log norm at token t − {lag.removeprefix('lag_')} (SD from the layer's mean)",
        y_label="log norm at token t (SD from the layer's mean)",
    )
    return figure


def _draw_panel(
    axes: Axes,
    panel: LagPanel,
    limits: tuple[float, float],
    colours: Colormap,
    shades: LogNorm,
) -> None:
    low, high = limits
    axes.set_title(f"layer {panel.layer}", loc="left", pad=3)
    if np.isfinite(panel.sd):
        level = f"{panel.mean:.2f} ± {panel.sd:.2f}"
        axes.set_title(level, loc="right", pad=3, fontsize=8, color=GREY)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    ticks = [tick for tick in range(-12, 13, 2) if low <= tick <= high]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    if panel.points is not None:
        lag, outcome = panel.points.T
        axes.scatter(
            lag, outcome, s=4, color=colours(0.6), alpha=0.5, linewidths=0, rasterized=True
        )
    if panel.counts is not None:
        # Drawn as an image, of the squares inside the axes only: a file of 48 panels stays small.
        edges = bin_edges()
        start, stop = np.searchsorted(edges, [low, high]) + [-1, 0]
        start, stop = max(start, 0), min(stop, len(edges) - 1)
        counts = panel.counts[start:stop, start:stop].T
        axes.imshow(
            np.ma.masked_equal(counts, 0),
            extent=(edges[start], edges[stop], edges[start], edges[stop]),
            origin="lower",
            interpolation="none",
            cmap=colours,
            norm=shades,
        )
        axes.set(xlim=limits, ylim=limits)
    if np.isfinite(panel.slope) and np.isfinite(panel.lag_mean):
        # Least squares goes through the means, and the outcome's is 0 here.
        ends = np.array(limits)
        axes.plot(
            ends,
            panel.slope * (ends - panel.lag_mean),
            color=LINE,
            linewidth=1.6,
            path_effects=[patheffects.withStroke(linewidth=2.8, foreground="w")],
        )
    fitted = np.isfinite(panel.r_squared)
    axes.text(
        0.05,
        0.95,
        f"R² {panel.r_squared:.3f}" if fitted else "not fitted",
        transform=axes.transAxes,
        va="top",
        bbox={"facecolor": "w", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )


@dataclass
class SitePanels:
    """One site's column of panels.

    Attributes
    ----------
    site : str
    layers : list of int
    quantiles : (layers, 5) float array
        Of the log norms, from `norm_quantiles`.
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression.
    """

    site: str
    layers: list[int]
    quantiles: np.ndarray
    coefficients: pd.DataFrame
    fits: pd.DataFrame


def norm_quantiles(log_norms: np.ndarray) -> np.ndarray:
    """Return the ``QUANTILES`` of a layer's log norms, NaN where there are none."""
    known = finite(log_norms)
    return np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan)


@style()
def sites_by_layer(
    sites: Sequence[SitePanels], *, title: str, alpha: float, adjust: str, drop_first: int
) -> Figure:
    """Draw figure 4: the sites side by side, norms by layer above coefficients by layer.

    Parameters
    ----------
    sites : sequence of SitePanels
        A column each; the axes of a row are shared.
    title : str
    alpha : float
        Level of significance; the bands are those of the tables, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    drop_first : int
        Tokens of each sequence that the norms leave out, for the footnote.
    """
    palette = lag_colours(lags_among(list(sites[0].coefficients["term"])))
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    grid = figure.subplots(2, len(sites), sharex=True, sharey="row", squeeze=False)
    unfitted = False
    for panels, (top, bottom) in zip(sites, grid.T, strict=True):
        numbers = panels.layers
        lowest, low, middle, high, highest = panels.quantiles.T
        for below, above, alpha_of_band in ((lowest, highest, 0.2), (low, high, 0.35)):
            top.fill_between(
                numbers, below, above, color=NORMS, alpha=alpha_of_band, linewidth=0, zorder=2
            )
        top.plot(numbers, middle, color=NORMS, linewidth=1.5, marker="o", markersize=3, zorder=3)
        top.set_title(ADDED[panels.site], loc="left", weight="bold")

        fits = panels.fits.set_index("layer")["r_squared"].reindex(numbers)
        missing = [int(layer) for layer in fits.index[fits.isna()]]
        unfitted |= bool(missing)
        bottom.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        crowded = len(sites) * len(numbers) > 40
        _draw_lags(
            bottom, panels.coefficients, numbers, palette, alpha, scale=0.7 if crowded else 1.0
        )
        _mark_missing(bottom, missing, 0.03)
        bottom.margins(y=0.08)
        label_layers(bottom, numbers, most=16 if len(sites) < 3 else 10)
        for axes in (top, bottom):
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
    grid[0, 0].set_ylabel("log norm\n(natural log)")
    grid[1, 0].set_ylabel("coefficient\n(log norm per log norm)")
    sns.despine(figure)
    figure.align_ylabels(list(grid[:, 0]))
    legend = _legend_of_coefficients(grid[1, 0], palette, alpha, adjust, unfitted)
    # It stands above all columns, so the first must not be made wide for it; an empty title
    # keeps the height that it takes.
    legend.set_in_layout(False)
    rows = 1 if len(legend.texts) <= 6 else -(-len(legend.texts) // 5)
    grid[1, 0].set_title("\n" * (rows - 1) + " ", loc="left", pad=8)

    covariance = sites[0].coefficients["vcov_type"].iloc[0]
    n_obs = max(int(panels.fits["n_obs"].max()) for panels in sites)
    n_documents = max(int(panels.fits["n_documents"].max()) for panels in sites)
    dropped = f" but the first {drop_first} of each sequence" if drop_first > 1 else ""
    dropped = " but the first of each sequence" if drop_first == 1 else dropped
    frame(
        figure,
        title,
        "Above: median of the norms in each layer, and bands with the middle 50% and 90% of all "
        f"tokens{dropped}. Below: the coefficients of the regression in each layer. {PREDICTIVE} "
        f"{spread_text(covariance, adjust, n_obs, n_documents)}",
    )
    return figure
