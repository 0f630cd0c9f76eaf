"""Log norm against the surprisal of the token, and the slope by layer."""

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims.norms import surprisal_slopes
from attnlag.errors import counted
from attnlag.figures.drawing import NORMS, evenly_chosen
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE, layer_colours
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet, permuted
from attnlag.figures.wording import tokens_shown
from attnlag.quantities.means import RatioSums
from attnlag.regression.row_regression import regress_rows
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
CATEGORY = "norms"
SUBCATEGORY = "by surprisal"
NEEDS = "surprisal"

# Number of bins with equal numbers of tokens, and of layers with a line over them.
BINS = 15
LINES = 5

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
    sample = inputs.norms_sample.from_position(inputs.settings["drop_first"])
    tokens = pd.DataFrame(
        {
            "surprisal": tables.values_at(
                inputs.paths("surprisal"), "surprisal", sample.rows
            ).astype(float),
            "frequency": tables.values_at(
                inputs.paths("token_properties"), "log_frequency", sample.rows
            ),
            "document": pd.factorize(
                tables.values_at(inputs.paths("norms"), "document", sample.rows)
            )[0],
        }
    )
    tokens = tokens[np.isfinite(tokens["surprisal"])]
    ranks = tokens["surprisal"].rank(method="first") - 1
    tokens["bin"] = (ranks * BINS // max(len(tokens), 1)).astype(int)
    centres = tokens.groupby("bin")["surprisal"].mean().reindex(range(BINS)).to_numpy()
    order = exchanged(tokens["surprisal"].to_numpy(), tokens["document"].to_numpy(), DRAWS)
    layers_with_bins = evenly_chosen(sample.layers, LINES)
    bins = []
    slopes = []
    for layer, colour in zip(sample.layers, layer_colours(len(sample.layers)), strict=True):
        logs = sample.log_norms[layer].reindex(tokens.index).to_numpy()
        finite = np.isfinite(logs)
        y = logs[finite] - logs[finite].mean()
        finite_tokens = tokens[finite]
        x = finite_tokens["surprisal"].to_numpy()
        frequencies = finite_tokens["frequency"].to_numpy()
        documents = finite_tokens["document"].to_numpy()
        if layer in layers_with_bins:
            means = means_by_bin(y, documents, finite_tokens["bin"].to_numpy())
            low, high = BOUNDS
            name = f"layer {layer}"
            bins.append(Line(means["mean"], name, colour, means[low], means[high]))
        alone = slope_of(y, x[None], documents)
        given_frequency = slope_of(y, np.stack([x, frequencies]), documents)
        x = order[:, finite] - order[:, finite].mean(axis=1, keepdims=True)
        null = np.quantile(x @ y / (x**2).sum(axis=1), [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
        slopes.append((*alone, *given_frequency, *null))
    # The slope and its interval: alone, and with the frequency held fixed.
    slope, *ends_alone, given, given_low, given_high, low, high = np.array(slopes).T
    lines = [
        permuted(low, high),
        Line(slope, "surprisal alone", NORMS, *ends_alone),
        Line(given, "given log frequency", PALETTE[1], given_low, given_high),
    ]
    claims = surprisal_slopes(
        pd.Series(slope, index=sample.layers), pd.Series(low), pd.Series(high)
    )
    return Sheet(
        wording.title(claims, joined="; "),
        sample.layers,
        [
            Lines(
                bins,
                "mean log norm\n(minus the layer's mean)",
                "norms by surprisal",
                centres,
                "surprisal (nats)",
                direct=True,
            ),
            Lines(lines, "slope\n(log norm per nat)", "slope by layer", direct=True),
        ],
        f"Norms of the {inputs.site_label}, {tokens_shown(sample.tokens)} except dropped "
        f"ones; {BINS} bins of equal size. Given log frequency: that of the token held fixed. "
        f"Errors: clustered by document ({counted(tokens['document'].nunique(), 'document')}). "
        "An association, not a cause.",
        across=2,
        alpha=1 - CONFIDENCE,
        extent=counted(sample.tokens, "token"),
    )


def means_by_bin(y: np.ndarray, documents: np.ndarray, bins: np.ndarray) -> pd.DataFrame:
    """Return the mean of the rows of each bin with its interval, clustered by document."""
    means = []
    for n in range(BINS):
        sums = RatioSums.from_rows(y[bins == n], documents[bins == n])
        means.append(sums.columns(1 - CONFIDENCE))
    return pd.DataFrame(means)


def slope_of(y: np.ndarray, x: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Return the first slope of a fit with an intercept, and its interval, clustered."""
    slopes = regress_rows(np.concatenate([x, np.ones((1, len(y)))]), y, cluster).coefficients
    low, high = slopes.interval(1 - CONFIDENCE)
    return np.array([slopes.value[0], low[0], high[0]])
