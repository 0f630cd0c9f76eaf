"""Log norm against the surprisal of the token, and the slope by layer."""

import numpy as np
import pandas as pd
from scipy import stats

from attnlag.adjustments.sites import SITES
from attnlag.errors import counted
from attnlag.figures.drawing import NORMS, evenly_chosen
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE, layer_colours
from attnlag.figures.sampling import sample_norms
from attnlag.figures.templates import Line, Lines, Sheet, permuted
from attnlag.figures.wording import tokens_shown
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import RatioSums
from attnlag.storage import tables

DRAWN_BY = ("plot_surprisal",)
CATEGORY = "norms"
SUBCATEGORY = "by surprisal"

# Number of bins with equal numbers of tokens, and of layers with a line over them.
BINS, LINES = 15, 5

# Number of draws in which surprisal is permuted within documents.
DRAWS = 100

CONFIDENCE = 0.95


def exchanged(x: np.ndarray, cluster: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
    """Return (draws, n) values that are permuted within each cluster."""
    random = np.random.default_rng(seed)
    home = np.argsort(cluster, kind="stable")
    permuted = np.empty((draws, len(x)))
    for draw in permuted:
        draw[home] = x[np.lexsort([random.random(len(x)), cluster])]
    return permuted


def figure(inputs: Inputs) -> Sheet:
    """Return mean log norms against surprisal for some layers, and the slope in every layer."""
    sample = sample_norms(inputs.norms, inputs.drop_first)
    surprisal = tables.values_of(inputs.surprisal, "surprisal", sample.rows).astype(float)
    frequency = tables.values_of(inputs.properties, "log_frequency", sample.rows)
    document = pd.factorize(tables.values_of(inputs.norms, "document", sample.rows))[0]
    known = np.isfinite(surprisal)
    surprisal, frequency, document = surprisal[known], frequency[known], document[known]
    documents = len(np.unique(document))
    ranked = pd.Series(surprisal).rank(method="first").to_numpy() - 1
    bin_of = (ranked * BINS // max(len(ranked), 1)).astype(int)
    centres = pd.Series(surprisal).groupby(bin_of).mean().reindex(range(BINS)).to_numpy()
    drawn = exchanged(surprisal, document, DRAWS)
    chosen = evenly_chosen(sample.layers, LINES)
    colours = dict(zip(sample.layers, layer_colours(len(sample.layers)), strict=True))
    bins, slopes = [], []
    for layer, values in zip(sample.layers, sample.log_norms, strict=True):
        logs = values[known]
        there = np.isfinite(logs)
        y, x, g, b = logs[there], surprisal[there], document[there], bin_of[there]
        y = y - y.mean()
        if layer in chosen:
            mean, reach = means_by_bin(y, b, g)
            own = mean - reach, mean + reach
            bins.append(Line(mean, f"layer {layer}", colours[layer], *own, marker="o"))
        alone = slope_of(y, x[None], g)
        given = slope_of(y, np.stack([x, frequency[there]]), g)
        order = drawn[:, there] - drawn[:, there].mean(axis=1, keepdims=True)
        null = order @ y / (order**2).sum(axis=1)
        slopes.append(
            (*alone, *given, *np.quantile(null, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]))
        )
    table = np.array(slopes)
    label = SITES[inputs.site].label
    low, high = int(table[:, 0].argmin()), int(table[:, 0].argmax())
    ends = np.expm1([table[low, 0], table[high, 0], table[:, 4].min(), table[:, 5].max()])
    lines = [
        Line(value, name, colour, value - reach, value + reach, marker=marker)
        for (value, reach), name, colour, marker in (
            (table[:, :2].T, "surprisal alone", NORMS, "o"),
            (table[:, 2:4].T, "the token's log frequency held fixed", PALETTE[1], "s"),
        )
    ]
    return Sheet(
        f"One more nat of surprisal changes the norm by {ends[0]:+.1%} (layer "
        f"{sample.layers[low]}) to {ends[1]:+.1%} (layer {sample.layers[high]}); in random order, "
        f"by {ends[2]:+.1%} to {ends[3]:+.1%}",
        sample.layers,
        [
            Lines(bins, "mean log norm,\nminus the layer's mean", "", centres, "surprisal (nats)"),
            Lines([permuted(table[:, 4], table[:, 5]), *lines], "slope (log norm per nat)"),
        ],
        f"Norms of the {label}, {tokens_shown(sample.tokens)} except dropped ones; {BINS} bins of "
        f"equal size. Bands: clustered by document ({counted(documents, 'document')}). "
        "An association, not a cause.",
        across=2,
        alpha=1 - CONFIDENCE,
    )


def means_by_bin(
    y: np.ndarray, bin_of: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each bin and half of its interval, clustered; NaN in an empty bin."""
    means, reach = np.full(BINS, np.nan), np.full(BINS, np.nan)
    for number in np.unique(bin_of):
        sums = RatioSums.of_rows(y[bin_of == number], cluster[bin_of == number])
        means[number] = sums.mean
        reach[number] = stats.t.ppf((1 + CONFIDENCE) / 2, sums.df) * sums.std_error
    return means, reach


def slope_of(y: np.ndarray, x: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Return the first slope of a fit with an intercept, and half of its interval, clustered."""
    fit = clustered.regression(np.concatenate([x, np.ones((1, len(y)))]), y, cluster)
    times = stats.t.ppf((1 + CONFIDENCE) / 2, fit.df[0])
    return float(fit.estimate[0]), float(times * np.sqrt(fit.covariance[0, 0]))
