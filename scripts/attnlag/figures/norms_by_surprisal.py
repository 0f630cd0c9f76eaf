"""Log norm against the surprisal of the token, and the slope by layer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import stats

from attnlag.adjustments.sites import SITES
from attnlag.errors import counted
from attnlag.figures.drawing import (
    NORMS,
    draw_band,
    evenly_chosen,
    frame,
    label_layers,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.norms import SurprisalInputs
from attnlag.figures.inputs.sampling import sample_norms
from attnlag.figures.legends import GREY, PALETTE, PERMUTED, layer_colours
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    tokens_shown,
)
from attnlag.regression import clustered
from attnlag.regression.clustered import RatioSums
from attnlag.storage import tables

DRAWN_BY = ("plot_surprisal",)

CATEGORY = "norms"

SUBCATEGORY = "by surprisal"

# Number of bins with equal numbers of tokens, and of layers with a line over them.
BINS, LINES = 15, 5

# Number of draws in which surprisal is permuted within documents.
DRAWS = 100

CONFIDENCE = 0.95


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    centres : (bins,) float array
        Mean surprisal of each bin, in nats.
    means, errors : (layers, bins) float array
        Mean log norm of a bin, minus that of the layer, and its standard error, clustered by
        document.
    slopes : pandas.DataFrame
        A row for each layer: ``estimate`` and ``std_error``, clustered by document, of log norm on
        surprisal; ``given_frequency`` and its error, with the token's log frequency held fixed;
        and the central 95% of the slopes with surprisal permuted within documents,
        ``permuted_low`` and ``permuted_high``.
    documents : int
    layers : list of int
    site : str
    tokens : int
        Number of tokens in the corpus, of which the figure may show a sample.
    """

    centres: np.ndarray
    means: np.ndarray
    errors: np.ndarray
    slopes: pd.DataFrame
    documents: int
    layers: list[int]
    site: str
    tokens: int


def exchanged(x: np.ndarray, cluster: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
    """Return draws of values that are permuted within each cluster.

    Parameters
    ----------
    x : (n,) float array
    cluster : (n,) int array
    draws, seed : int

    Returns
    -------
    permuted : (draws, n) float array
    """
    random = np.random.default_rng(seed)
    home = np.argsort(cluster, kind="stable")
    permuted = np.empty((draws, len(x)))
    for draw in permuted:
        draw[home] = x[np.lexsort([random.random(len(x)), cluster])]
    return permuted


def reduce(inputs: SurprisalInputs) -> Data:
    """Reduce norms and surprisal to means by bin and slopes by layer."""
    sample = sample_norms(inputs.norms, inputs.drop_first)
    surprisal = tables.values_of(inputs.surprisal, "surprisal", sample.rows).astype(float)
    frequency = tables.values_of(inputs.properties, "log_frequency", sample.rows)
    document = pd.factorize(tables.values_of(inputs.norms, "document", sample.rows))[0]
    known = np.isfinite(surprisal)
    surprisal, frequency, document = surprisal[known], frequency[known], document[known]
    ranked = pd.Series(surprisal).rank(method="first").to_numpy() - 1
    bin_of = (ranked * BINS // max(len(ranked), 1)).astype(int)
    centres = pd.Series(surprisal).groupby(bin_of).mean().reindex(range(BINS)).to_numpy()
    shape = len(sample.layers), BINS
    means, errors = np.full(shape, np.nan), np.full(shape, np.nan)
    permuted = exchanged(surprisal, document, DRAWS)
    rows = []
    for place, values in enumerate(sample.log_norms):
        logs = values[known]
        there = np.isfinite(logs)
        y, x, g, b = logs[there], surprisal[there], document[there], bin_of[there]
        y = y - y.mean()
        for number in np.unique(b):
            sums = RatioSums.of_rows(y[b == number], g[b == number])
            means[place, number], errors[place, number] = sums.mean, sums.std_error
        ones = np.ones_like(x)
        alone = clustered.regression(np.stack([x, ones]), y, g)
        given = clustered.regression(np.stack([x, frequency[there], ones]), y, g)
        drawn = permuted[:, there]
        drawn = drawn - drawn.mean(axis=1, keepdims=True)
        null = drawn @ y / (drawn**2).sum(axis=1)
        low, high = np.quantile(null, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        own = [
            value
            for fit in (alone, given)
            for value in (fit.estimate[0], np.sqrt(fit.covariance[0, 0]))
        ]
        rows.append((*own, low, high))
    names = ("estimate", "std_error", "given_frequency", "given_error")
    slopes = pd.DataFrame(rows, columns=[*names, "permuted_low", "permuted_high"])
    documents = len(np.unique(document))
    return Data(
        centres, means, errors, slopes, documents, sample.layers, inputs.site, sample.tokens
    )


def title_of(data: Data) -> str:
    """Return the change of the norm per nat, and the change if there were no relation."""
    slope = data.slopes["estimate"].to_numpy()
    low, high = int(slope.argmin()), int(slope.argmax())
    null = data.slopes[["permuted_low", "permuted_high"]].to_numpy()
    change = np.expm1([slope[low], slope[high], null.min(), null.max()])
    return (
        f"One more nat of surprisal goes with a change of the norm by {change[0]:+.1%} (layer "
        f"{data.layers[low]}) to {change[1]:+.1%} (layer {data.layers[high]}); if permuted within "
        f"documents, by {change[2]:+.1%} to {change[3]:+.1%}"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw mean log norms against surprisal for some layers, and the slope in every layer."""
    figure = Figure(figsize=size.tall(8.8 if size.narrow else 4.6), layout="constrained")
    shape = (2, 1) if size.narrow else (1, 2)
    over, by_layer = figure.subplots(*shape, squeeze=False).flat
    times = stats.t.ppf((1 + CONFIDENCE) / 2, max(data.documents - 1, 1))
    colours = layer_colours(len(data.layers))
    chosen = evenly_chosen(list(range(len(data.layers))), LINES)
    for place in chosen:
        mean, reach = data.means[place], times * data.errors[place]
        draw_band(over, data.centres, mean - reach, mean + reach, color=colours[place], alpha=0.2)
        over.plot(data.centres, mean, color=colours[place], marker="o", ms=3, linewidth=1.3)
    over.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    over.set_xlabel("surprisal of the token (nats)")
    over.set_ylabel("mean log norm,\nminus the layer's mean")
    rule_values(over)

    slopes, x = data.slopes, np.asarray(data.layers)
    draw_band(
        by_layer,
        x,
        slopes["permuted_low"].to_numpy(),
        slopes["permuted_high"].to_numpy(),
        color=PERMUTED,
        zorder=1.5,
    )
    lines = (
        ("estimate", "std_error", NORMS, "o"),
        ("given_frequency", "given_error", PALETTE[1], "s"),
    )
    for name, error, colour, marker in lines:
        estimate, reach = slopes[name].to_numpy(), times * slopes[error].to_numpy()
        draw_band(by_layer, x, estimate - reach, estimate + reach, color=colour, alpha=0.22)
        by_layer.plot(x, estimate, color=colour, marker=marker, ms=3.5, linewidth=1.3)
    by_layer.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    label_layers(by_layer, data.layers)
    by_layer.set_ylabel("slope (log norm per nat)")
    rule_values(by_layer)
    sns.despine(figure)
    layer_lines = {
        f"layer {data.layers[place]}": Line2D([], [], color=colours[place], marker="o", ms=4)
        for place in chosen
    }
    slope_lines = {
        "surprisal alone": Line2D([], [], color=NORMS, marker="o", ms=4),
        "the token's log frequency held fixed": Line2D([], [], color=PALETTE[1], marker="s", ms=4),
        f"permuted within documents ({CONFIDENCE:.0%} of {DRAWS} draws)": Patch(
            color=PERMUTED, linewidth=0
        ),
    }
    added, shown = SITES[data.site].label, tokens_shown(data.tokens)
    first, second = ("Above", "Below") if size.narrow else ("Left", "Right")
    frame(
        figure,
        title,
        f"{added[0].upper()}{added[1:]}, {shown} except the dropped ones. {first}: {BINS} bins "
        f"with equal numbers of tokens. {second}: least squares in each layer. Bands: "
        f"{CONFIDENCE:.0%}, clustered by document ({counted(data.documents, 'document')}). "
        "Surprisal is that of the token under the model, given the tokens before it. An "
        "association, not a cause.",
        legends=(layer_lines, slope_lines),
    )
    return figure
