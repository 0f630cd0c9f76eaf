"""The figures: norms and coefficients by layer, the outcome against its lag, sites side by side.

Each layer is first reduced to what its part of a figure needs, so that one layer at a time is in
memory however long the corpus is.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import (
    BoundaryNorm,
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    LogNorm,
)
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag import writing
from attnlag.errors import UserError, counted
from attnlag.sizes import PAGE, Size, size_of
from attnlag.wording import ADJUSTMENTS, COVARIANCE

# Colours that readers with any colour vision tell apart: the palette "colorblind" of seaborn, which
# takes longer to import than most figures take to draw.
PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
)

# Shades of counts, light to dark: seaborn's mako, by nine of its colours.
SHADES = LinearSegmentedColormap.from_list(
    "counts",
    "#def5e5 #96ddb5 #49c1ad #359eaa #357aa2 #3c5598 #3e3469 #2a1b33 #0b0405".split(),
)

# What each format needs so that equal figures give equal bytes: no date, no version.
METADATA: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {"Software": None}}

STYLE = Path(__file__).with_suffix(".mplstyle")

# Tokens drawn as points in a layer, and first tokens of sequences beside them.
POINTS = 400
FIRST_POINTS = 15

# Rows that a figure is made from, so that its memory does not grow with the corpus.
MOST_SHOWN = 100_000

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

INK = ".15"
GREY = "0.35"
LINE = "#d55e00"
NORMS = "#2a6f8f"
# What the order of tokens does not explain.
NULL = "0.85"
NULL_LINE: dict[str, Any] = {"color": "0.25", "linestyle": (0, (4, 2.5)), "linewidth": 1.0}

PREDICTIVE = "Same-layer coefficients are predictive associations, not causes."
# What a site adds, as axes and titles say it.
ADDED = {"attention": "attention adjustment", "mlp": "MLP adjustment", "block": "block update"}

# The shares of tokens below the five lines of a layer's norms, median in the middle.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

# Of lags and leads, nearest first: shapes tell them apart where colours do not.
MARKERS = "osDvPXh<p>"

# A layer without a fit.
UNFITTED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "^",
    "markersize": 6,
    "markerfacecolor": "none",
}

# Up to here the panels of lags lie below each other; more of them are side by side.
MOST_BELOW = 3
# On a slide they are side by side, so many of them in a row.
MOST_BESIDE = 3

# Panels of single layers that these sizes have room for.
MOST_PANELS = {"column": 4, "slide": 10}
# For up to so many panels: how many side by side, and how wide each is, in inches.
SHAPES_OF_PANELS = {
    "page": ((1, 1, 4.4), (4, 2, 3.2), (12, 4, 2.05), (10**6, 6, 1.4)),
    "column": ((1, 1, 3.0), (4, 2, 1.4)),
    "slide": ((1, 1, 3.0), (4, 4, 1.8), (10, 5, 1.4)),
}

# Height of a line of a legend, in inches.
LEGEND_LINE = 0.2


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the project, whatever the user's own matplotlib settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            matplotlib.rc_params_from_file(STYLE, use_default_template=False)
        )
        yield


def save_in_sizes(draw: Callable[..., Figure], paths: Sequence[str | Path]) -> None:
    """Draw a figure in each size that the names of the paths stand for, and write it.

    Parameters
    ----------
    draw : callable
        Given a ``size``, returns the figure.
    paths : sequence of path
    """
    of_size: dict[Size, list[Path]] = {}
    for path in map(Path, paths):
        of_size.setdefault(size_of(path), []).append(path)
    for size, own in of_size.items():
        save(draw(size=size), own, size)


@style()
def save(figure: Figure, paths: Sequence[str | Path], size: Size = PAGE) -> None:
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
        options: dict[str, Any] = {}
        if path.suffix == ".png":
            options["pil_kwargs"] = {"dpi": (size.dpi, size.dpi)}
        with writing.written_whole(path) as temporary:
            figure.savefig(
                temporary,
                format=path.suffix[1:],
                # Dots to an inch of the canvas.
                dpi=round(size.dpi * size.magnification),
                metadata=METADATA[path.suffix],
                **options,
            )
            if path.suffix == ".svg" and size.magnification != 1:
                _magnify(temporary, size.magnification)


def _magnify(path: Path, magnification: float) -> None:
    """Change the size at which an SVG is shown. All that is in it stays, in units of its own."""
    text = path.read_text(encoding="utf-8")
    start = text.index("<svg ")
    end = text.index(">", start)

    def magnified(found: re.Match[str]) -> str:
        return f'{found[1]}="{magnification * float(found[2]):g}pt"'

    opening = re.sub(r'\b(width|height)="([\d.]+)pt"', magnified, text[start:end])
    path.write_text(text[:start] + opening + text[end:], encoding="utf-8")


def _settle(figure: Figure) -> None:
    """Lay a figure out once and for all.

    The solver of the layout is not exact in the last digits, and starts from where it ended
    before: without this neither a second run nor a second file would have equal bytes.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # Not "none", whose place holder makes matplotlib draw every file twice.
    figure.set_layout_engine(None)
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 5), round(bottom, 5), round(width, 5), round(height, 5)))


def layer_colours(layers: int) -> np.ndarray:
    """Return one RGBA colour per layer, dark to light in the order of the layers."""
    # The last tenth of the map is a yellow that white paper swallows.
    return colormaps["viridis"](np.linspace(0, 0.9, layers))


def open_frames(figure: Figure) -> None:
    """Leave out the lines above all axes of a figure and at their right."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)


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


def layers_labelled(width: float) -> int:
    """Return how many layers an x axis of so many inches has labels for."""
    return round(3 + 1.3 * width)


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


def shortened(name: str, longest: int) -> str:
    """Return a name that has at most so many characters, cut off where it has more."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


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
    median : float
        Of the same tokens.
    edges, counts : float array
        Histogram of all but the first tokens, with Freedman-Diaconis bins.
    """

    layer: int
    sample: np.ndarray
    first_sample: np.ndarray
    low: float
    high: float
    median: float
    edges: np.ndarray
    counts: np.ndarray


def sampled(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` of the rows, in order: the same ones on every call."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def rows_shown(count: int) -> np.ndarray:
    """Return the rows, of so many, that a figure is made from: all, or ``MOST_SHOWN`` of them.

    One at random out of each of equally many equal stretches, the same ones on every call.
    """
    if count <= MOST_SHOWN:
        return np.arange(count)
    edges = np.arange(MOST_SHOWN + 1) * count // MOST_SHOWN
    inside = np.random.default_rng(0).random(MOST_SHOWN) * np.diff(edges)
    return edges[:-1] + inside.astype(np.int64)


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
    quantiles = [TAIL, 0.5, 1 - TAIL]
    low, median, high = np.quantile(rest, quantiles) if len(rest) else (np.nan,) * 3
    edges = np.histogram_bin_edges(rest, bins="fd")
    return LayerNorms(
        layer=layer,
        sample=finite(sample),
        first_sample=finite(first_sample),
        low=float(low),
        high=float(high),
        median=float(median),
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
    layers: Sequence[LayerNorms],
    *,
    title: str,
    tokens: int,
    site: str,
    drop_first: int,
    size: Size = PAGE,
) -> Figure:
    """Draw figure 1: log norms of every layer as points, beside their histograms.

    Parameters
    ----------
    layers : sequence of LayerNorms
        In order.
    title : str
    tokens : int
        Tokens in each layer, for the footnote; perhaps more than the histograms are of.
    site : str
        The sublayer, for the labels of the axes.
    drop_first : int
        How many tokens of each sequence are marked as its first.
    size : Size
    """
    numbers = [part.layer for part in layers]
    colours = layer_colours(len(layers))
    low, high = norm_limits(layers)
    label = f"log norm of {ADDED[site]} (natural log)"

    figure = Figure(figsize=size.tall(8.2 if size.narrow else 5.8), layout="constrained")
    if size.narrow:
        strip, ridges = figure.subplots(2, 1, height_ratios=[1, 1.1])
    else:
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
    label_layers(strip, numbers, most=layers_labelled(size.canvas) if size.narrow else 16)
    strip.set_ylabel(textwrap.fill(label, 34) if size.narrow else label)
    _legend_of_norms(
        strip, size, colours, drop_first, any(len(p.first_sample) for p in layers), beyond
    )

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
    open_frames(figure)

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
    of = "all tokens" if tokens <= MOST_SHOWN else f"a sample of {MOST_SHOWN:,} tokens"
    histograms = f"{of} but first tokens" if firsts else of
    frame(
        figure,
        title,
        f"{drawn}, of {tokens:,}, the same ones in each. "
        f"Histograms: {histograms}, Freedman-Diaconis bins; "
        "heights are tokens per bin, over the largest of the layer.",
    )
    return figure


def _legend_of_norms(
    axes: Axes, size: Size, colours: np.ndarray, drop_first: int, any_first: bool, beyond: bool
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
        ncols=2 if size.narrow else 3,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.2,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def lags_among(terms: Sequence[str]) -> list[str]:
    """Return the lags among the terms of a regression, nearest first, and then its leads."""
    found = {term for term in terms if term.startswith(("lag_", "lead_"))}
    return sorted(found, key=lambda term: (is_lead(term), distance(term)))


def is_lead(term: str) -> bool:
    """Return whether a lag or lead is a lead."""
    return term.startswith("lead_")


def distance(term: str) -> int:
    """Return how many tokens away a lag or lead is."""
    return int(term.rpartition("_")[2])


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


def spread(layers: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the layers, spread evenly from the first to the last."""
    places = np.linspace(0, len(layers) - 1, min(most, len(layers)))
    return [layers[place] for place in np.floor(places + 0.5).astype(int)]


def correction_text(adjust: str, over: str = "the layers") -> str:
    """Return how p-values were corrected, for a footnote."""
    if adjust == "none":
        return "p-values not corrected for the number of layers"
    return f"p-values corrected over {over}, per term ({ADJUSTMENTS.get(adjust, adjust)})"


def spread_text(covariance: str, adjust: str, n_obs: int, n_documents: int) -> str:
    """Return how uncertainty was reckoned, and from how much, for a footnote."""
    return (
        f"Standard errors: {COVARIANCE.get(covariance, covariance)}; {correction_text(adjust)}. "
        f"{counted(n_obs, 'row')} from {counted(n_documents, 'document')}."
    )


def is_permuted(coefficients: pd.DataFrame) -> bool:
    """Return whether a tidy table is that of a permuted regression."""
    return bool((coefficients["vcov_type"] == "permutation").any())


def as_observed(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Return a tidy table whose estimates are those in the order that the tokens have.

    In the table of a permuted regression the estimate is the location of the null, and that in
    the real order stands beside it; its intervals, those of the null, stay.
    """
    if not is_permuted(coefficients):
        return coefficients
    return coefficients.assign(estimate=coefficients["observed"])


def unfitted_layers(coefficients: pd.DataFrame, numbers: Sequence[int]) -> list[int]:
    """Return those of the layers in which no lag or lead has an estimate."""
    lags = coefficients["term"].isin(lags_among(list(coefficients["term"])))
    fitted = coefficients[lags & coefficients["estimate"].notna()]
    return sorted(set(numbers) - set(fitted["layer"]))


def with_joint_bands(
    coefficients: pd.DataFrame, critical_values: Mapping[str, float]
) -> pd.DataFrame:
    """Return a tidy table with the intervals estimate ± critical value × standard error.

    Parameters
    ----------
    coefficients : pandas.DataFrame
    critical_values : mapping of term to float
        Of the largest |t| of all layers; a term that is not among them has no interval then.
    """
    reach = coefficients["term"].map(dict(critical_values)) * coefficients["std_error"]
    return coefficients.assign(
        conf_low=coefficients["estimate"] - reach, conf_high=coefficients["estimate"] + reach
    )


@style()
def coefficients_by_layer(
    coefficients: pd.DataFrame,
    fits: pd.DataFrame,
    *,
    title: str,
    alpha: float,
    adjust: str,
    critical_values: Mapping[str, float] | None = None,
    null: pd.DataFrame | None = None,
    size: Size = PAGE,
) -> Figure:
    """Draw figure 2: the coefficient of each lag by layer, with R² below.

    Parameters
    ----------
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression. A layer without estimates is a gap, marked below. Of a
        permuted regression, the coefficients in the order that the tokens have are drawn, before
        the null; it has no R² if ``fits`` has none.
    title : str
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    critical_values : mapping of term to float, optional
        Makes the bands joint over the layers.
    null : pandas.DataFrame, optional
        The tidy table of a permuted regression with the same terms. With a null each lag has a
        panel of its own: the nulls of several lags would hide each other.
    size : Size
    """
    fits = fits.sort_values("layer")
    numbers = fits["layer"].tolist()
    terms = lags_among(list(coefficients["term"]))
    palette = lag_colours(terms)
    covariance = coefficients["vcov_type"].iloc[0]
    permuted = is_permuted(coefficients)
    band: str | None = band_text(alpha, joint=critical_values is not None)
    if permuted:
        null, band = coefficients, None
        coefficients = as_observed(coefficients).assign(conf_low=np.nan, conf_high=np.nan)
    elif critical_values is not None:
        coefficients = with_joint_bands(coefficients, critical_values)
    r_squared = fits["r_squared"].to_numpy(dtype=float)
    missing = unfitted_layers(coefficients, numbers)

    groups = [terms] if null is None else [[term] for term in terms]
    entries = mark_entries(alpha, adjust, band=band, null=null is not None, unfitted=bool(missing))
    if null is None:
        entries = {**{named(term): handle_of(term, palette) for term in terms}, **entries}
    columns = legend_columns(list(entries), size.canvas - 0.3)
    strip = strip_height(-(-len(entries) // columns))

    with_r_squared = not permuted or bool(np.isfinite(r_squared).any())
    figure, panels, bottom = _panels_of_groups(len(groups), with_r_squared, strip, size)
    scale = mark_scale(panel_width(panels[0]), len(numbers))
    # Panels that are not high enough for the unit leave it to the footnote.
    unit = "" if size.narrow else "\n(log norm per log norm)"
    for axes, group in zip(panels, groups, strict=True):
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
        if null is not None:
            draw_null(axes, null[null["term"] == group[0]], numbers)
            axes.set_ylabel(f"coefficient of {named(group[0])}{unit}")
        else:
            axes.set_ylabel(f"coefficient{unit}")
        _draw_lags(axes, coefficients, numbers, palette, alpha, scale=scale, terms=group)
        mark_unfitted(axes, missing, 0.03)
        axes.margins(y=0.08)
    if bottom is not None:
        mark_unfitted(bottom, missing, 0.1)
        bottom.plot(numbers, r_squared, color="k", linewidth=1.1, marker="o", markersize=3)
        largest = np.nanmax(r_squared) if np.isfinite(r_squared).any() else 1.0
        bottom.set_ylim(0, 1.15 * largest if largest > 0 else 1.0)
        bottom.set_ylabel("R²" if size.narrow else "R²\n(share of variance)")
        bottom.locator_params(axis="y", nbins=4)
    for axes in figure.axes:
        label_layers(axes, numbers, most=layers_labelled(panel_width(axes)))
        if any(_is_below(other, axes) for other in figure.axes):
            # The panel below shows the same layers in the same places.
            axes.tick_params(labelbottom=False)
            axes.set_xlabel("")
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    open_frames(figure)
    figure.align_ylabels()
    notes = [PREDICTIVE]
    if size.narrow:
        notes.append("Coefficients: log norm per log norm. R²: share of variance.")
    if critical_values is not None and not permuted:
        notes.append("Joint bands hold all layers of a term at once (max-t over the bootstrap).")
    if permuted:
        notes.append(
            "Lines: the coefficients in the order that the tokens have; p-values by permutation "
            "of the tokens within each document."
        )
    notes.append(
        spread_text(covariance, adjust, int(fits["n_obs"].max()), int(fits["n_documents"].max()))
    )
    frame(figure, title, " ".join(notes), strip=strip)
    legends_in_strip(figure, [(entries, columns)])
    return figure


def _panels_of_groups(
    groups: int, with_r_squared: bool, strip: float, size: Size
) -> tuple[Figure, list[Axes], Axes | None]:
    """Return a figure with a panel for each group of lags and one for R² after them all."""
    if size.flat:
        # Side by side, in two rows if there are many.
        rows = 1 if groups + with_r_squared <= MOST_BESIDE else 2
        columns = -(-(groups + with_r_squared) // rows)
    else:
        columns = 1 if groups <= MOST_BELOW else 2
        rows = -(-groups // columns)
    # A place that is left beside the last group is as good as a row of its own.
    beside = groups < rows * columns
    each = (2.3 if groups == 1 else 1.7) if size.narrow else 3.5 if groups == 1 else 2.1
    heights = [each] * rows + [1.1 if size.narrow else 1.3] * (with_r_squared and not beside)
    figure = Figure(figsize=size.tall(sum(heights) + strip + 1.3), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels: list[Axes] = []
    for place in range(groups):
        first = panels[0] if panels else None
        cell = grid[place // columns, place % columns]
        # One scale for all lags, so that they can be held against each other.
        panels.append(figure.add_subplot(cell, sharex=first, sharey=first))
    bottom = None
    if with_r_squared:
        cell = grid[groups // columns, groups % columns] if beside else grid[rows, :]
        # A panel as wide as two has room for more numbers.
        wide = columns == 2 and not beside
        bottom = figure.add_subplot(cell, sharex=None if wide else panels[0])
    return figure, panels, bottom


def panel_width(axes: Axes) -> float:
    """Return how wide a panel's place is, in inches."""
    cell = _place_of(axes)
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(figure.get_size_inches()[0]) * len(cell.colspan) / cell.get_gridspec().ncols


def _place_of(axes: Axes) -> SubplotSpec:
    place = axes.get_subplotspec()
    assert place is not None
    return place


def mark_scale(width: float, layers: int) -> float:
    """Return the scale of marks: those of many layers in so many inches must not grow together."""
    return float(np.clip(7.2 * width / layers, 0.45, 1.0))


def _is_below(axes: Axes, other: Axes) -> bool:
    """Return whether a panel is just below another, and as wide."""
    one, two = _place_of(axes), _place_of(other)
    return one.colspan == two.colspan and one.rowspan.start == two.rowspan.stop


def lag_colours(lags: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each lag and lead, nearest first."""
    if len(lags) <= 4:
        return dict(zip(lags, PALETTE, strict=False))
    # Ten lags have an order that hues do not. Leads have one of their own.
    behind = [lag for lag in lags if not is_lead(lag)]
    ahead = [lag for lag in lags if is_lead(lag)]
    warm = colormaps["YlOrBr_r"](np.linspace(0.1, 0.5, len(ahead)))
    return {
        **dict(zip(behind, layer_colours(len(behind)), strict=True)),
        **dict(zip(ahead, warm, strict=True)),
    }


def lag_markers(lags: Sequence[str]) -> dict[str, str]:
    """Return a shape for each lag and lead, nearest first."""
    return {lag: MARKERS[place % len(MARKERS)] for place, lag in enumerate(lags)}


def handle_of(term: str, palette: Mapping[str, Any]) -> Line2D:
    """Return a lag's or lead's line and mark in a legend, one of those in a palette."""
    return Line2D(
        [],
        [],
        color=palette[term],
        linewidth=1.6,
        linestyle=_dashes(term),
        marker=lag_markers(list(palette))[term],
        markersize=6,
        markeredgewidth=0,
    )


def _dashes(term: str) -> Any:
    """Return the dashes of a term: leads are told from lags without their colour."""
    return (0, (5, 1.5)) if is_lead(term) else "-"


def draw_band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, **kind: Any) -> None:
    """Fill between two lines with gaps in them.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    x, low, high : (layers,) float array
        NaN where there is a gap.
    kind : Any
        Of the filling: its colour, alpha and zorder.
    """
    axes.fill_between(x, low, high, linewidth=0, **kind)
    known = np.isfinite(low) & np.isfinite(high)
    # A band between two gaps has no width: its ends are joined by a line.
    beside = np.concatenate([[False], known, [False]])
    alone = known & ~beside[:-2] & ~beside[2:]
    line = {**kind, "alpha": min(1.0, kind.get("alpha", 1.0) + 0.3)}
    axes.vlines(x[alone], low[alone], high[alone], linewidth=3, **line)


def draw_profile(
    axes: Axes,
    x: np.ndarray,
    rows: pd.DataFrame,
    colour: Any,
    alpha: float,
    *,
    shade: float,
    size: float,
    linestyle: Any = "-",
    zorder: float = 2,
    marker: str = "o",
) -> None:
    """Draw one coefficient along the layers: line, band, marks full where significant, else open.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    x : (layers,) array
    rows : pandas.DataFrame
        A row of a tidy table for each x: ``estimate``, NaN where there is a gap, ``conf_low``,
        ``conf_high`` and ``p_adjusted``.
    colour : Any
    alpha : float
        Level of significance.
    shade : float
        Opacity of the band.
    size : float
        Of the marks, in points.
    linestyle, zorder : Any
    marker : str
    """
    x = np.asarray(x)
    estimate = rows["estimate"].to_numpy(dtype=float)
    low, high = (rows[end].to_numpy(dtype=float) for end in ("conf_low", "conf_high"))
    draw_band(axes, x, low, high, color=colour, alpha=shade, zorder=zorder)
    axes.plot(x, estimate, color=colour, linestyle=linestyle, linewidth=1.3, zorder=zorder + 1)
    known = np.isfinite(estimate)
    significant = rows["p_adjusted"].to_numpy(dtype=float) < alpha
    edge = 0.4 + 0.14 * size
    for chosen, face in ((significant, colour), (~significant, "w")):
        axes.plot(
            x[known & chosen],
            estimate[known & chosen],
            linestyle="none",
            marker=marker,
            markersize=size - edge,
            markeredgewidth=edge,
            markeredgecolor=colour,
            markerfacecolor=face,
            zorder=zorder + 2,
        )


def draw_null(axes: Axes, null: pd.DataFrame, numbers: list[int]) -> None:
    """Draw the location and the band of one coefficient when the order of tokens is permuted."""
    rows = null.set_index("layer").reindex(numbers)
    x = np.asarray(numbers)
    low, high = (rows[end].to_numpy(dtype=float) for end in ("conf_low", "conf_high"))
    draw_band(axes, x, low, high, color=NULL, zorder=1.5)
    axes.plot(x, rows["estimate"].to_numpy(dtype=float), zorder=1.7, **NULL_LINE)


def _draw_lags(
    axes: Axes,
    coefficients: pd.DataFrame,
    numbers: list[int],
    palette: dict[str, Any],
    alpha: float,
    *,
    scale: float,
    terms: Sequence[str] | None = None,
) -> None:
    """Draw the profile of each lag, or of some of them. ``scale`` is that of the marks."""
    few = len(palette) <= 4
    markers = lag_markers(list(palette))
    for lag in palette if terms is None else terms:
        rows = coefficients[coefficients["term"] == lag].set_index("layer").reindex(numbers)
        draw_profile(
            axes,
            np.asarray(numbers),
            rows,
            palette[lag],
            alpha,
            shade=0.22 if few else 0.1,
            size=scale * (6.6 if few else 5.6),
            linestyle=_dashes(lag),
            marker=markers[lag],
        )


def mark_unfitted(
    axes: Axes, places: Sequence[float] | np.ndarray, height: float, color: Any = GREY
) -> None:
    """Mark the layers without a fit, at a height from 0 to 1 of the axes."""
    if len(places):
        axes.plot(
            places,
            [height] * len(places),
            transform=axes.get_xaxis_transform(),
            color=color,
            clip_on=False,
            **UNFITTED,
        )


def band_text(alpha: float, joint: bool = False) -> str:
    """Return what a band is, for a legend."""
    return f"{100 * (1 - alpha):g}% {'joint ' if joint else ''}confidence band"


def null_text(alpha: float) -> str:
    """Return what the band of a null is, for a legend."""
    return f"order of tokens permuted ({100 * (1 - alpha):g}% of draws)"


def mark_entries(
    alpha: float, adjust: str, *, band: str | None, null: bool = False, unfitted: bool = False
) -> dict[str, Any]:
    """Return the entries of a legend for what all profiles share, by their labels.

    Parameters
    ----------
    alpha : float
    adjust : str
    band : str or None
        What the bands are; None if there are none.
    null : bool
        Whether the null of a permuted regression is drawn.
    unfitted : bool
        Whether a layer is marked as not fitted.
    """
    corrected = "" if adjust == "none" else f", {ADJUSTMENTS.get(adjust, adjust)}"
    mark: dict[str, Any] = {
        "linestyle": "none",
        "color": GREY,
        "marker": "o",
        "markersize": 5.3,
        "markeredgewidth": 1.3,
    }
    entries: dict[str, Any] = {
        f"p < {alpha:g}{corrected}": Line2D([], [], **mark),
        f"p ≥ {alpha:g}{corrected}": Line2D([], [], markerfacecolor="w", **mark),
    }
    if band:
        entries[band] = Patch(color=GREY, alpha=0.25, linewidth=0)
    if null:
        entries[null_text(alpha)] = (
            Patch(color=NULL, linewidth=0),
            Line2D([], [], **NULL_LINE),
        )
    if unfitted:
        entries["not fitted"] = Line2D([], [], color=GREY, **UNFITTED)
    return entries


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return the columns of a legend that has no more lines than ``width`` inches ask for.

    A legend is filled column by column, each as wide as its longest label.
    """
    columns = len(labels)
    for lines in range(1, len(labels) + 1):
        columns = -(-len(labels) // lines)
        longest = [max(map(len, column)) for column in np.array_split(labels, columns)]
        # A character of 9 points is about 0.07 inches wide; the line and the gaps come to 0.65.
        if sum(0.65 + 0.07 * size for size in longest) <= width:
            break
    return columns


def strip_height(lines: int) -> float:
    """Return the height in inches that a strip for so many lines of legends has."""
    return LEGEND_LINE * lines + 0.05


def legends_in_strip(figure: Figure, legends: Sequence[tuple[Mapping[str, Any], int]]) -> None:
    """Put legends below each other into the strip that `frame` left free below the title.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    legends : sequence of (entries by label, columns)
    """
    width, height = figure.get_size_inches()
    top = height - 0.2 * figure.get_suptitle().count("\n") - 0.36
    for entries, columns in legends:
        legend = figure.legend(
            list(entries.values()),
            list(entries),
            loc="upper left",
            bbox_to_anchor=(0.1 / width, top / height),
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.6,
            labelspacing=0.35,
            borderaxespad=0,
            borderpad=0,
        )
        # It has its room already.
        legend.set_in_layout(False)
        top -= LEGEND_LINE * -(-len(entries) // columns)


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
def outcome_by_lag(
    panels: Sequence[LagPanel], *, title: str, lag: str, rows: int = 0, size: Size = PAGE
) -> Figure:
    """Draw figure 3: a panel per layer with the outcome against a lag or lead, and the fitted line.

    Parameters
    ----------
    panels : sequence of LagPanel
        In the order of the layers.
    title : str
    lag : str
        The term, as in ``lag_1`` or ``lead_1``.
    rows : int
        Rows of the design, of which the panels perhaps show a sample.
    size : Size
        Where there is room for a few panels only, they are spread over the layers.
    """
    layers = [panel.layer for panel in panels]
    shown = spread(layers, MOST_PANELS.get(size.name, len(panels)))
    panels = [panel for panel in panels if panel.layer in shown]
    some = f"{len(shown)} of {len(layers)} layers. " if len(shown) < len(layers) else ""
    sample = f"Shown: a sample of {MOST_SHOWN:,} of {rows:,} rows. " if rows > MOST_SHOWN else ""
    columns, side = next(
        (columns, side)
        for most, columns, side in SHAPES_OF_PANELS[size.name]
        if len(panels) <= most
    )
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    largest = max((int(p.counts.max()) for p in panels if p.counts is not None), default=0)
    # The scale of colours takes more than half an inch.
    width = columns * side + (1.5 if largest else 0.9) if size is PAGE else size.canvas
    footnote = (
        f"{some}Both axes: natural logarithm of the norm, less the mean of the layer's outcome, in "
        f"its standard deviations (SD), so that all panels share them; the central "
        f"{100 * (1 - 2 * TAIL):g}% of every layer is inside. Above each panel at the right: that "
        f"mean ± SD. Line: the regression's prediction by {named(lag)}, its other terms at their "
        f"means. R²: of the whole regression. {sample}{PREDICTIVE}"
    )
    height = lines * (side + 0.27) + 0.14 * len(_wrapped(footnote, width)) + 1.1
    figure = Figure(figsize=(width, size.tall(height)[1]), layout="constrained")
    # All have the same limits and ticks. Were they shared, every panel would look through all
    # others whenever it is drawn.
    grid = figure.subplots(lines, columns, squeeze=False)
    limits = lag_limits(panels)
    shades = LogNorm(1, max(largest, 10))
    colours = SHADES
    unit = "(SD)" if size.narrow else "(SD from the layer's mean)"

    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        panel = panels[place]
        _draw_panel(axes, panel, limits, colours, shades)
        # Where nothing below shows the numbers of this column, and at the left of the rows.
        axes.tick_params(labelbottom=place + columns >= len(panels), labelleft=place % columns == 0)
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
        x_label=f"log norm at token t {'+' if is_lead(lag) else '−'} {distance(lag)} {unit}",
        y_label=f"log norm at token t {unit}",
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
    sites: Sequence[SitePanels],
    *,
    title: str,
    alpha: float,
    adjust: str,
    drop_first: int,
    tokens: int = 0,
    size: Size = PAGE,
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
    tokens : int
        Tokens of the corpus, of which the norms perhaps are a sample.
    size : Size
        In a narrow one each site has a row, with its coefficients at the right.
    """
    palette = lag_colours(lags_among(list(sites[0].coefficients["term"])))
    permuted = is_permuted(sites[0].coefficients)
    tables = [as_observed(panels.coefficients) for panels in sites]
    missing = [
        unfitted_layers(table, panels.layers) for table, panels in zip(tables, sites, strict=True)
    ]
    entries = {
        **{named(lag): handle_of(lag, palette) for lag in palette},
        **mark_entries(
            alpha,
            adjust,
            band=null_text(alpha) if permuted else band_text(alpha),
            unfitted=any(missing),
        ),
    }
    columns = legend_columns(list(entries), size.canvas - 0.3)
    strip = strip_height(-(-len(entries) // columns))
    if size.narrow:
        figure = Figure(figsize=size.tall(1.8 * len(sites) + strip + 1.8), layout="constrained")
        pairs = figure.subplots(len(sites), 2, sharex=True, sharey="col", squeeze=False)
    else:
        figure = Figure(figsize=size.tall(5.3 + strip + 1.1), layout="constrained")
        pairs = figure.subplots(2, len(sites), sharex=True, sharey="row", squeeze=False).T
    for panels, table, without, (norms, slopes) in zip(sites, tables, missing, pairs, strict=True):
        numbers = panels.layers
        lowest, low, middle, high, highest = panels.quantiles.T
        for below, above, alpha_of_band in ((lowest, highest, 0.2), (low, high, 0.35)):
            norms.fill_between(
                numbers, below, above, color=NORMS, alpha=alpha_of_band, linewidth=0, zorder=2
            )
        norms.plot(numbers, middle, color=NORMS, linewidth=1.5, marker="o", markersize=3, zorder=3)
        norms.set_title(ADDED[panels.site], loc="left", weight="bold")
        slopes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        width = panel_width(slopes)
        _draw_lags(slopes, table, numbers, palette, alpha, scale=mark_scale(width, len(numbers)))
        mark_unfitted(slopes, without, 0.03)
        slopes.margins(y=0.08)
        for axes in (norms, slopes):
            label_layers(axes, numbers, most=layers_labelled(width))
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            if any(_is_below(other, axes) for other in figure.axes):
                axes.set_xlabel("")
        if size.narrow:
            norms.set_ylabel("log norm")
            slopes.set_ylabel("coefficient")
        elif panels is sites[0]:
            norms.set_ylabel("log norm\n(natural log)")
            slopes.set_ylabel("coefficient\n(log norm per log norm)")
    open_frames(figure)
    for line in pairs.T:
        figure.align_ylabels(list(line if size.narrow else line[:1]))

    covariance = sites[0].coefficients["vcov_type"].iloc[0]
    n_obs = max(int(panels.fits["n_obs"].max()) for panels in sites)
    n_documents = max(int(panels.fits["n_documents"].max()) for panels in sites)
    of = "all" if tokens <= MOST_SHOWN else f"a sample of {MOST_SHOWN:,}"
    dropped = f" but the first {drop_first} of each sequence" if drop_first > 1 else ""
    dropped = " but the first of each sequence" if drop_first == 1 else dropped
    places = ("Left", "Right") if size.narrow else ("Above", "Below")
    units = "Natural logarithms. Coefficients: log norm per log norm. " if size.narrow else ""
    frame(
        figure,
        title,
        f"{places[0]}: median of the norms in each layer, and bands with the middle 50% and 90% of "
        f"{of} tokens{dropped}. {places[1]}: the coefficients of the regression in each layer. "
        f"{units}{PREDICTIVE} {spread_text(covariance, adjust, n_obs, n_documents)}",
        strip=strip,
    )
    legends_in_strip(figure, [(entries, columns)])
    return figure
