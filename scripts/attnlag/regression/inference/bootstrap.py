"""The bootstrap of clusters (documents or groups of them), from their cross-products.

It draws as many clusters as there are, with replacement. Each draw holds the same clusters in all
layers, which depend on each other, and so gives the distribution of medians over layers.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import special

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression.inference import response
from attnlag.regression.inference.layer_fit import LayerFit
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import effective_number
from attnlag.regression.settings import BootstrapSettings
from attnlag.regression.terms import lag_places

# Weights in one block of draws: 8 MB, whatever the numbers of clusters and draws; and those of all
# draws that are kept, so that layers share them.
NUMBERS_AT_ONCE = 2**20
NUMBERS_KEPT = 2**24

# Draws behind intervals that hold for many subsets at once, and those that are computed together.
# The standard deviation of so many medians is within 1% of that of infinitely many.
JOINT_DRAWS = 10_000
DRAWS_AT_ONCE = 1000


def weights_of_draws(clusters: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each draw takes each cluster: (block, clusters) float64 arrays.

    The draws do not depend on the size of the blocks.
    """
    random = np.random.default_rng(seed)
    block = max(1, NUMBERS_AT_ONCE // max(clusters, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = random.integers(clusters, size=(size, clusters))
        drawn += clusters * np.arange(size)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=size * clusters)
        yield counts.reshape(size, clusters).astype(np.float64)


class Draws:
    """The weights of `weights_of_draws`, to be iterated over once for each layer."""

    def __init__(self, clusters: int, draws: int, seed: int) -> None:
        self.of = clusters, draws, seed
        few = clusters * draws <= NUMBERS_KEPT
        self.kept = list(weights_of_draws(*self.of)) if few else None

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(weights_of_draws(*self.of) if self.kept is None else self.kept)


def medians_of_draws(draws: np.ndarray) -> np.ndarray:
    """Return the medians over layers, (draws, …), of (draws, layers, …) estimates.

    They are those of ``numpy.median``, NaN where an estimate is. Sorting takes a sixth of its time.
    """
    ordered = np.sort(draws, axis=1)
    layers = ordered.shape[1]
    medians = (ordered[:, (layers - 1) // 2] + ordered[:, layers // 2]) / 2
    # NaN comes last.
    return np.where(np.isnan(ordered[:, -1]), np.nan, medians)


def median_interval(
    estimates: np.ndarray, draws: np.ndarray, alpha: float, effective: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the medians of (layers, …) estimates, and the ends of their intervals.

    The interval is m ± t/z max(m - q₁, q₂ - m) for the quantiles q of the medians of the draws. The
    median of noisy estimates is biased towards where other layers are near, by as much as its
    error, so that neither the quantiles alone (percentile interval) nor their reflections (basic
    interval) cover at few and at many documents; this interval contains both. The quantiles of
    draws do not allow for few clusters; t/z does, the quantile of Student's distribution, with one
    degree of freedom fewer than the effective number of clusters, in units of the normal one.

    Parameters
    ----------
    estimates : (layers, …) array
        One of each layer.
    draws : (draws, layers, …) array
        Estimates in draws of clusters; without draws the ends are NaN.
    alpha : float
        One minus the level.
    effective : float
        As `effective_number` returns it.

    Returns
    -------
    tuple of array
        The medians and both ends, (…).
    """
    median = np.median(estimates, axis=0)
    if not len(draws):
        return median, median * np.nan, median * np.nan
    low, high = np.quantile(medians_of_draws(draws), [alpha / 2, 1 - alpha / 2], axis=0)
    student = special.stdtrit(effective - 1, 1 - alpha / 2)
    margin = student / special.ndtri(1 - alpha / 2) * np.maximum(median - low, high - median)
    return median, median - margin, median + margin


def medians_over_layers(fits: Sequence[LayerFit], draws: np.ndarray, alpha: float) -> pd.DataFrame:
    """Return the median of each coefficient over the layers, with its interval, a row per term.

    Rows of the responses that lags imply follow (`response.response_terms`). The draws are
    (draws, layers, K) estimates. In the table, ``draws`` counts those in which every
    fitted layer could be estimated, which intervals and standard errors come from, and ``clusters``
    the documents or groups with rows.
    """
    terms = fits[0].names
    fitted = [index for index, fit in enumerate(fits) if fit.reason is None]
    names = [*terms, *response.response_terms(terms)]
    columns = ["median", "std_error", "conf_low", "conf_high", "lowest", "highest"]
    estimates = draws[:0]
    values = [np.full(len(names), np.nan)] * len(columns)
    if fitted:
        by_layer = with_responses(terms, np.stack([fits[index].estimate for index in fitted]))
        estimates = draws[:, fitted]
        estimates = estimates[np.isfinite(estimates).all(axis=(1, 2))]
        estimates = with_responses(terms, estimates)
        effective = min(fits[index].effective_clusters for index in fitted)
        median, low, high = median_interval(by_layer, estimates, alpha, effective)
        error = pd.DataFrame(medians_of_draws(estimates)).std().to_numpy()
        values = [median, error, low, high, by_layer.min(axis=0), by_layer.max(axis=0)]
    table = pd.DataFrame({"term": names, **dict(zip(columns, values, strict=True))})
    return table.assign(
        level=level_of(alpha),
        draws=len(estimates),
        clusters=max(fit.clusters for fit in fits),
    )


def with_responses(terms: Sequence[str], estimates: np.ndarray) -> np.ndarray:
    """Return (…, K) coefficients followed by the responses that they imply, along the last axis."""
    return np.concatenate([estimates, response.responses(terms, estimates)], axis=-1)


def medians_of_jackknife(
    fits: Sequence[LayerFit], settings: BootstrapSettings, subsets: int = 1
) -> pd.DataFrame:
    """Return the median over layers of each lag and lead, with intervals that hold for all subsets.

    Parameters
    ----------
    fits : sequence of LayerFit
        The layers of one subset, with the estimates without each document.
    settings : BootstrapSettings
        ``alpha`` and ``seed``; without ``bootstrap`` there are no intervals.
    subsets : int
        Number of subsets for which the intervals hold at once (Bonferroni).

    Returns
    -------
    DataFrame
        ``median``, ``median_low`` and ``median_high`` by ``term``. The ends are NaN with fewer
        documents than ``MIN_DOCUMENTS``, and all columns are if no layer was fitted.
    """
    names = fits[0].names
    lags = lag_places(names)
    fits = [fit for fit in fits if fit.reason is None]
    index = pd.Index([names[place] for place in lags], name="term")
    if not fits:
        columns = ["median", "median_low", "median_high"]
        return pd.DataFrame(np.nan, index=index, columns=columns)
    estimates = np.stack([fit.estimate[lags] for fit in fits])
    left_out = [fit.left_out for fit in fits if fit.left_out is not None]
    documents = left_out[0].count
    influence = np.zeros((documents, *estimates.shape))
    rows = np.zeros(documents)
    for layer, each in enumerate(left_out):
        rows[each.places] = np.maximum(rows[each.places], each.n_obs)
        share = 1 - 1 / max(len(each.places), 1)
        change = estimates[layer] - each.coefficients[:, lags]
        influence[each.places, layer] = np.sqrt(share) * change
    median = np.median(estimates, axis=0)
    margin = np.full(len(lags), np.nan)
    if settings.bootstrap and documents >= MIN_DOCUMENTS and np.isfinite(influence).all():
        alpha = settings.alpha / subsets
        margin = joint_margin(estimates, influence, rows, alpha, settings.seed)
    ends = {"median": median, "median_low": median - margin, "median_high": median + margin}
    return pd.DataFrame(ends, index=index)


def joint_margin(
    estimates: np.ndarray, influence: np.ndarray, rows: np.ndarray, alpha: float, seed: int
) -> np.ndarray:
    """Return half the width of the interval of medians over layers, at any level.

    A draw moves an estimate b by Σ (ω_g - 1) ψ_g, where ψ_g = (b - b₍g₎) √((G - 1) / G) is what
    leaving out document g changes. The variance over draws is then that of the jackknife (CRV3).
    The margin is t s + abs(d): s is the standard deviation of the medians of ``JOINT_DRAWS`` draws,
    d how far their mean lies from the median, and t the quantile of Student's distribution with one
    degree of freedom fewer than the effective number of documents. Quantiles of the draws at a
    level for many subsets would be those of a few draws, which the seed moves.

    Parameters
    ----------
    estimates : (layers, terms) array
        b.
    influence : (documents, layers, terms) array
        ψ_g.
    rows : (documents,) array
        The rows of each document.
    alpha : float
        One minus the level.
    seed : int
        Seed of the draws.

    Returns
    -------
    (terms,) array
        The margin of each term.
    """
    documents = len(influence)
    flat = influence.reshape(documents, -1)
    medians = []
    for block in weights_of_draws(documents, JOINT_DRAWS, seed):
        for start in range(0, len(block), DRAWS_AT_ONCE):
            weights = block[start : start + DRAWS_AT_ONCE]
            moved = ((weights - 1) @ flat).reshape(-1, *estimates.shape)
            medians.append(medians_of_draws(estimates + moved))
    drawn = np.concatenate(medians)
    bias = drawn.mean(axis=0) - np.median(estimates, axis=0)
    df = effective_number(rows) - 1
    medians_drawn = Estimates(value=drawn.mean(axis=0), std_error=drawn.std(axis=0), df=df)
    return medians_drawn.margin(alpha) + np.abs(bias)
