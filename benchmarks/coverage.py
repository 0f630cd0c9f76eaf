"""Bias of the estimators and coverage of their intervals in simulations with a known truth.

    python benchmarks/coverage.py --replications 200 --of single classes   # tables in Markdown

Documents have different levels and share their dynamics,

    y_t = mu_g + 0.3 y_(t-1) + e_t,   mu_g and e_t standard normal,

and begin in their stationary state. Regressions with a constant for each document (within) estimate
0.3; the pooled regression mistakes differences between documents for dynamics and tends to another
number, which its intervals should cover. The lengths of documents are equal, or are quantiles of a
log-normal distribution with sigma 1 and the same mean. Replications are the layers of one design,
so that estimates, errors and p-values come from the pipeline's code.

``single``: bias, and the share of intervals that cover, by estimator and covariance. ``uneven``:
half-panel intervals if documents differ in slope (SD 0.1) and noise (log SD 0.5). ``halves``: how
often equal halves of documents are rejected, with two lags. ``dominated``: the coverage if one
document has nearly half the rows. ``means``: that of means over tokens if documents are skewed.
``mean-group``: lags of the default run weighted by document and not, which needs its results.
``medians``: the coverage of intervals of the median over layers. ``responses``: that of the
responses two, three and five tokens later in the median layer, from a third of the replications.
``groups``: the coverage of medians over layers in 13 groups at once. ``redrawn``: that of pooled
and within lags if documents of the default run are drawn anew, which needs its results.
``classes``: that of slopes by class of tokens, and how often equal slopes are rejected if they are
equal and if they are not. ``classes-redrawn``: how often they are rejected if they are equal and
documents of the default run are drawn anew, which needs its results. ``order``: how often
the permutation test rejects, by what the order of tokens means, from a fifth of the replications.
``omitted``: how often the test of omitted lags rejects if two lags are enough and if a third is
lacking, and the coverage of the sum of the omitted coefficients. ``training``: the coverage of the
difference before minus after training, from a fifth of the replications.
``checkpoints``: the coverage of a checkpoint's lag in the median layer, and of the mean difference
from the final weights, from a fifth of the replications.
``shares``: the coverage of an effect's share of its prediction, and how often one is decided.
``proportions``: that of the slope of finite effects on small ones.
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import signal, stats

from attnlag.interventions import elasticities
from attnlag.quantities.columns import layer_name, layers_in
from attnlag.quantities.means import RatioSums
from attnlag.regression import properties
from attnlag.regression.design.counts import Counts
from attnlag.regression.design.design import Formula, designs
from attnlag.regression.estimation.least_squares import Solution, solve
from attnlag.regression.inference import bootstrap, controls, diagnostics, permutation, response
from attnlag.regression.inference import equal_halves as halves_test
from attnlag.regression.inference import training as path_of_training
from attnlag.regression.inference.layer_fit import LayerFit, fit_layer
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.in_memory import moments_of_numbers
from attnlag.regression.moments.moments import (
    Moments,
    PreparedMoments,
    Stored,
    effective_number,
    with_clusters,
)
from attnlag.regression.moments.packed_files import unpacked
from attnlag.regression.residuals import omitted_lags, residuals
from attnlag.regression.settings import (
    ClassesSettings,
    DesignSettings,
    Errors,
    PermutationsSettings,
    RegressionSettings,
    TrainingSettings,
)
from attnlag.regression.slopes import classes
from attnlag.regression.units import layer_units
from attnlag.storage import tables

LAG, ALPHA, LAYERS = 0.3, 0.05, 30
# Two rows in each half of a document, and the two tokens that give no row.
MIN_TOKENS = 6
# Numbers per array of replications that are simulated at once.
NUMBERS = 2_000_000
# Tokens before a simulated autoregression, after which it is stationary.
BURN_IN = 50

# Tables of the default run.
RESULTS = Path(__file__).parents[1] / "results/smollm2-135m-instruct/prompts"

COVARIANCES = {
    "nonrobust": "nonrobust",
    "CRV1": "cluster-crv1",
    "CR2": "cluster",
    "CRV3": "cluster-jackknife",
}
# The limit of the pooled coefficient is (v + 0.3 s) / (v + s): v is the variance of the documents'
# levels mu_g / (1 - 0.3), s that within.
V, S = 1 / (1 - LAG) ** 2, 1 / (1 - LAG**2)
ESTIMATORS = {"pooled": (V + LAG * S) / (V + S), "within": LAG, "half-panel": LAG}

CLASSES = {"NOUN": 0.5, "VERB": 0.3, "DET": 0.15, "INTJ": 0.05}
SLOPES = (0.5, 0.2, 0.0, 0.3)


def at_least_one(replications: int, part: int) -> int:
    """Return the number of replications of a table that takes that many times as long."""
    return max(replications // part, 1)


# --- simulation ----------------------------------------------------------------------------


def rows_of(documents: int, tokens: int, lengths: str) -> np.ndarray:
    """Return the rows of each document, given their mean length and its inequality."""
    sizes = np.ones(documents)
    if lengths == "lognormal":
        sizes = np.exp(stats.norm.ppf((np.arange(documents) + 0.5) / documents))
    sizes *= tokens / sizes.mean()
    return np.maximum(np.rint(sizes).astype(np.int64), MIN_TOKENS) - 2


def simulated(
    rows: np.ndarray,
    replications: int,
    random: np.random.Generator,
    slope: float | np.ndarray = LAG,
    scale: float | np.ndarray = 1.0,
    skewed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes and their lags, (rows, replications) each, document after document.

    The slope and the size of the noise may differ between replications, and between documents.
    Skewed noise is exponential, less its mean.
    """
    starts = np.cumsum(rows) - rows
    order = np.argsort(-rows, kind="stable")  # Longer documents come first.
    y, lag = np.empty((2, rows.sum(), replications))
    effect = random.normal(size=(len(rows), replications))
    slope, scale = (np.broadcast_to(each, effect.shape) for each in (slope, scale))
    now = effect / (1 - slope) + scale * random.normal(size=effect.shape) / np.sqrt(1 - slope**2)
    effect, slope, scale, now = effect[order], slope[order], scale[order], now[order]
    for t in range(rows.max()):
        active = int((rows > t).sum())
        places = starts[order[:active]] + t
        lag[places] = now[:active]
        if skewed:
            noise = random.exponential(size=(active, replications)) - 1
        else:
            noise = random.normal(size=(active, replications))
        now = effect[:active] + slope[:active] * now[:active] + scale[:active] * noise
        y[places] = now
    return y, lag


def blocks(rows: np.ndarray, replications: int) -> Iterator[int]:
    """Yield numbers of replications that fit in memory, until there are enough."""
    most = max(1, NUMBERS // int(rows.sum()))
    yield from (min(most, replications - begun) for begun in range(0, replications, most))


def products_of(rows: np.ndarray, *terms: np.ndarray) -> np.ndarray:
    """Return (documents, halves, replications, packed) cross-products of [1, y, lags]."""
    starts = np.cumsum(rows) - rows
    segments = np.stack([starts, starts + (rows + 1) // 2], axis=1).reshape(-1)
    w = [np.ones_like(terms[0]), *terms]
    pairs = itertools.combinations_with_replacement(w, 2)
    sums = [np.add.reduceat(one * other, segments, axis=0) for one, other in pairs]
    return np.stack(sums, axis=-1).reshape(len(rows), 2, terms[0].shape[1], len(sums))


def moments_of(products: np.ndarray, terms: Sequence[str]) -> list[Moments]:
    """Return moments, a layer each, of (documents, cells, layers, packed) ones."""
    names = [f"document {place}" for place in range(len(products))]
    p = 1 + len(terms)
    return [
        Moments(
            layer=layer,
            terms=list(terms),
            clusters=names,
            centre=np.zeros(p),
            products=unpacked(products[:, :, layer].swapaxes(0, 1), p),
            documents=len(names),
        )
        for layer in range(products.shape[2])
    ]


def layers_of(products: np.ndarray, estimator: str, lags: int = 1) -> list[PreparedMoments]:
    """Return the moments that regressions are solved from; layers are the replications."""
    if estimator != "half-panel":
        products = products.sum(axis=1, keepdims=True)
    terms = ["y", *(f"lag_{lag}" for lag in range(1, lags + 1))]
    effects = estimator != "pooled"
    return [layer.prepared(fixed_effects=effects) for layer in moments_of(products, terms)]


def fitted(layers: Sequence[PreparedMoments], kinds: Iterable[str]) -> dict[str, np.ndarray]:
    """Return estimates, errors and degrees of freedom of lag 1, (3, replications), by errors."""
    place = layers[0].names.index("lag_1")
    found = {}
    for name in kinds:
        fits = [fit_layer(solve(layer), COVARIANCES[name]) for layer in layers]
        numbers = [
            (f.estimate[place], f.covariance[place, place] ** 0.5, f.df[place]) for f in fits
        ]
        found[name] = np.array(numbers).T
    return found


def covers(numbers: np.ndarray, truth: float) -> np.ndarray:
    """Return which intervals contain the truth."""
    estimate, error, df = numbers
    return np.abs(estimate - truth) <= stats.t.ppf(1 - ALPHA / 2, df) * error


# --- tables --------------------------------------------------------------------------------


def show(*cells: object) -> None:
    """Print a row of a table in Markdown; numbers have three decimals."""
    texts = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
    print(f"| {' | '.join(texts)} |", flush=True)


def header(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def single(replications: int, draws: int, random: np.random.Generator) -> None:
    header("estimator", "tokens", "documents", "lengths", "target", "bias", *COVARIANCES)
    for tokens, documents, lengths in itertools.product((20, 200), *SIZES):
        rows = rows_of(documents, tokens, lengths)
        made = [products_of(rows, *simulated(rows, n, random)) for n in blocks(rows, replications)]
        for estimator, truth in ESTIMATORS.items():
            parts = [fitted(layers_of(products, estimator), COVARIANCES) for products in made]
            found = {name: np.hstack([part[name] for part in parts]) for name in COVARIANCES}
            shares = [covers(numbers, truth).mean() for numbers in found.values()]
            bias = found["CR2"][0].mean() - truth
            show(estimator, tokens, documents, lengths, truth, bias, *shares)


def uneven(replications: int, draws: int, random: np.random.Generator) -> None:
    """The target is the mean of the estimates, because documents with more noise weigh more."""
    header("documents", "lengths", *COVARIANCES, "median df of CR2")
    for documents, lengths in itertools.product((6, *SIZES[0]), SIZES[1]):
        rows, parts = rows_of(documents, 200, lengths), []
        for n in blocks(rows, replications):
            shape = documents, n
            slope = np.clip(LAG + 0.1 * random.normal(size=shape), -0.6, 0.9)
            made = simulated(rows, n, random, slope, np.exp(random.normal(size=shape) / 2))
            layers = layers_of(products_of(rows, *made), "half-panel")
            parts.append(fitted(layers, COVARIANCES))
        found = {name: np.hstack([part[name] for part in parts]) for name in COVARIANCES}
        shares = [covers(numbers, numbers[0].mean()).mean() for numbers in found.values()]
        show(documents, lengths, *shares, np.median(found["CR2"][2]))


def equal_halves(replications: int, draws: int, random: np.random.Generator) -> None:
    """Documents have one slope, or slopes of their own; noise is normal or exponential."""
    header("documents", "tokens", "lengths", *HALVES)
    for tokens, documents, lengths in itertools.product((50, 200), (13, 40, 128), SIZES[1]):
        rows = rows_of(documents, tokens, lengths)
        # Each document loses a row to the second lag.
        later = np.delete(np.arange(rows.sum()), np.cumsum(rows) - rows)
        rejected = []
        for spread, skewed in HALVES.values():
            p_values = []
            for n in blocks(rows, replications):
                slope = np.clip(LAG + spread * random.normal(size=(documents, n)), -0.6, 0.9)
                y, lag = simulated(rows, n, random, slope, skewed=skewed)
                products = products_of(rows - 1, y[later], lag[later], lag[later - 1])
                layers = layers_of(products, "half-panel", lags=2)
                for layer in layers:
                    solution = solve(layer)
                    assert isinstance(solution, Solution)
                    p_values.append(halves_test.equal_halves(solution).p_value)
            rejected.append(float(np.mean(np.array(p_values) < ALPHA)))
        show(documents, tokens, lengths, *rejected)


# Standard deviation of the slopes of documents, and whether the noise is skewed.
HALVES = {
    "one slope": (0.0, False),
    "skewed noise": (0.0, True),
    "slopes vary": (0.1, False),
    "both": (0.1, True),
}


def dominated(replications: int, draws: int, random: np.random.Generator) -> None:
    """One document of 3,000 tokens among 127 of 20 to 60, slopes of documents have an SD of 0.1.

    The truth is the mean of the estimates over the replications, because estimates weight documents
    by their rows.
    """
    header("longest", "effective number of documents", "estimator", *COVARIANCES)
    for longest in (60, 500, 3000):
        rows = np.append(np.linspace(20, 60, 127).astype(np.int64), longest) - 2
        parts: dict[str, list[Any]] = {"within": [], "half-panel": []}
        for n in blocks(rows, replications):
            slope = np.clip(LAG + 0.1 * random.normal(size=(len(rows), n)), -0.6, 0.9)
            products = products_of(rows, *simulated(rows, n, random, slope))
            for estimator, found in parts.items():
                found.append(fitted(layers_of(products, estimator), COVARIANCES))
        for estimator, found in parts.items():
            shares = []
            for name in COVARIANCES:
                numbers = np.hstack([part[name] for part in found])
                shares.append(float(covers(numbers, numbers[0].mean()).mean()))
            show(longest, float(rows.sum() ** 2 / (rows**2).sum()), estimator, *shares)


def means(replications: int, draws: int, random: np.random.Generator) -> None:
    """Means over 64 tokens of each document, whose own means have one of three distributions.

    Tokens scatter about the mean of their document as much as these means do among each other.
    """
    header("documents", *MEANS)
    for documents in (13, 26, 40, 128):
        covered = []
        for distribution in MEANS.values():
            own = distribution.rvs(size=(documents, replications), random_state=random)
            own = (own - distribution.mean()) / distribution.std()
            totals = 64 * own + np.sqrt(64) * random.normal(size=own.shape)
            columns = RatioSums.of(totals, np.full(own.shape, 64.0)).columns(ALPHA)
            covered.append(float(((columns["conf_low"] <= 0) & (columns["conf_high"] >= 0)).mean()))
        show(documents, *covered)


MEANS = {
    "normal": stats.norm(),
    "exponential (skewness 2)": stats.expon(),
    "log-normal, sigma 1 (skewness 6.2)": stats.lognorm(1),
}


def mean_group(replications: int, draws: int, random: np.random.Generator) -> None:
    """Two estimands where slopes differ by document: of the default run, which is not simulated.

    The pooled estimate weights the slopes of documents by the variation of their lags, the mean
    over documents (Pesaran and Smith 1995) does not. Documents of fewer rows than 50 are left out
    of both. Both are corrected by the half-panel jackknife; medians are over the layers, of which
    no more than the replications are taken.
    """
    header("lag", "documents", "pooled", "mean over documents", "its standard error")
    path = RESULTS / "attention/within/crossproducts/0000.parquet"
    stored = list(Stored([path], keep=True))[:replications]
    long = np.flatnonzero(stored[0].products[:, :, 0, 0].sum(axis=0) >= 50)
    kept = [stored[0].clusters[place] for place in long]
    pooled, slopes = [], []
    for layer in stored:
        pooled.append(_lags_of(layer.only(kept)))
        slopes.append([_lags_of(layer.only([name])) for name in kept])
    by_document = np.median(slopes, axis=0)
    over_documents = np.median(np.mean(slopes, axis=1), axis=0)
    errors = by_document.std(axis=0, ddof=1) / np.sqrt(len(kept))
    for place, lag in enumerate(("lag 1", "lag 2")):
        whole = float(np.median(pooled, axis=0)[place])
        show(lag, len(kept), whole, float(over_documents[place]), float(errors[place]))


def _lags_of(moments: Moments) -> np.ndarray:
    """Return the coefficients of two lags within documents, corrected by halves."""
    prepared = moments.prepared(fixed_effects=True)
    estimate = solve(prepared).estimate
    return estimate[[prepared.names.index(lag) for lag in ("lag_1", "lag_2")]]


def medians(replications: int, draws: int, random: np.random.Generator) -> None:
    """Layers correlate by 0.25, and documents deviate by sizes of their own."""
    header("documents", "lengths", "SD of slopes", "covers")
    # Fewer documents than in other tables: as few as have an interval.
    sizes = (MIN_DOCUMENTS, *SIZES[0])
    for documents, lengths, spread in itertools.product(sizes, SIZES[1], (0.0, 0.1)):
        rows = rows_of(documents, 60, lengths)[:, None].astype(float)
        effective = effective_number(rows)
        inside = []
        for seed in range(replications):
            slopes = LAG + spread * random.normal(size=LAYERS)
            shared, own = (
                random.normal(size=(documents, 1)),
                random.normal(size=(documents, LAYERS)),
            )
            size = 0.15 * np.exp(random.normal(size=(documents, 1)) / 2)
            sums = rows * size * (0.5 * shared + 0.75**0.5 * own)
            weights = np.concatenate(list(bootstrap.weights_of_draws(documents, draws, seed)))
            drawn = slopes + weights @ sums / (weights @ rows)
            estimates = slopes + sums.sum(axis=0) / rows.sum()
            _, low, high = bootstrap.median_interval(estimates, drawn, ALPHA, effective)
            inside.append(low <= np.median(slopes) <= high)
        show(documents, lengths, spread, np.mean(inside))


def responses(replications: int, draws: int, random: np.random.Generator) -> None:
    """Ten layers with dynamics of their own, whose innovations correlate by 0.25."""
    first = np.linspace(0.05, 0.5, 10)
    second = np.linspace(-0.03, 0.12, 10)[[3, 7, 0, 9, 5, 1, 8, 4, 2, 6]]
    dynamics = np.stack([first, second], axis=1)
    truth = np.median(response.responses(["lag_1", "lag_2"], dynamics), axis=0)
    distances = (2, 3, 5)
    header("documents", "lengths", *(f"{distance} tokens" for distance in distances))
    for documents, lengths in itertools.product((13, 40, 128), SIZES[1]):
        rows = rows_of(documents, 220, lengths)
        inside = []
        for seed in range(at_least_one(replications, 3)):
            products = products_of(rows, *simulated_with_two_lags(rows, dynamics, random))
            weights = list(bootstrap.weights_of_draws(documents, draws, seed))
            fits = [
                fit_layer(solve(layer), "cluster", draws=weights)
                for layer in layers_of(products, "half-panel", lags=2)
            ]
            drawn = np.stack([fit.drawn for fit in fits], axis=1)
            table = bootstrap.medians_over_layers(fits, drawn, ALPHA).set_index("term")
            rows_of_response = table.loc[[f"response_{distance}" for distance in distances]]
            targets = truth[[distance - 1 for distance in distances]]
            low, high = rows_of_response["conf_low"], rows_of_response["conf_high"]
            inside.append((low <= targets) & (targets <= high))
        show(documents, lengths, *np.mean(inside, axis=0).tolist())


def simulated_with_two_lags(
    rows: np.ndarray, dynamics: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes and two lags, (rows, layers) each, given the (layers, 2) coefficients."""
    burnt = 30
    shape = burnt + 2 + rows.max(), len(rows), len(dynamics)
    shared = random.normal(size=(*shape[:2], 1))
    y = 0.5 * shared + 0.75**0.5 * random.normal(size=shape)
    level = random.normal(size=shape[1:])
    y[0] += level
    y[1] += level
    for t in range(2, shape[0]):
        y[t] += level + dynamics[:, 0] * y[t - 1] + dynamics[:, 1] * y[t - 2]
    kept = [y[burnt : burnt + 2 + count, place] for place, count in enumerate(rows)]
    outcome = np.concatenate([each[2:] for each in kept])
    lag_1 = np.concatenate([each[1:-1] for each in kept])
    lag_2 = np.concatenate([each[:-2] for each in kept])
    return outcome, lag_1, lag_2


def redrawn(replications: int, draws: int, random: np.random.Generator) -> None:
    """Documents of the default run are drawn with replacement; its estimates are the truth.

    Layers and lags are taken together where one layer is asked. From a tenth of the replications.
    """
    header("regression", "documents", *REDRAWN)
    for regression, documents in itertools.product(("notebook", "within"), (13, 40, 128)):
        path = RESULTS / "attention" / regression / "crossproducts/0000.parquet"
        stored = list(Stored([path], keep=True))
        within = regression == "within"
        prepared = [layer.prepared(fixed_effects=within) for layer in stored]
        whole = [fit_layer(solve(layer), "cluster") for layer in prepared]
        lags = [whole[0].names.index(name) for name in ("lag_1", "lag_2")]
        truth = np.stack([fit.estimate[lags] for fit in whole])
        covered = []
        for seed in range(at_least_one(replications, 10)):
            taken = random.integers(len(stored[0].clusters), size=documents)
            names = [f"{place}" for place in range(documents)]
            shared = bootstrap.Draws(documents, draws, seed)
            fits = []
            for layer in stored:
                drawn = with_clusters(layer, names, layer.products[:, taken])
                solution = solve(drawn.prepared(fixed_effects=within))
                fits.append(fit_layer(solution, "cluster", draws=shared))
            covered.append(_covered(fits, lags, truth))
        show(regression, documents, *np.nanmean(covered, axis=0))


REDRAWN = [
    *("one layer, lag 1", "one layer, lag 2"),
    *("median over the layers, lag 1", "median over the layers, lag 2"),
]


def _covered(fits: Sequence[LayerFit], lags: Sequence[int], truth: np.ndarray) -> np.ndarray:
    """Return the share of covered layers, and whether the medians are covered, by lag."""
    estimates = np.stack([fit.estimate[lags] for fit in fits])
    errors = np.stack([np.sqrt(np.diag(fit.covariance))[lags] for fit in fits])
    df = np.stack([fit.df[lags] for fit in fits])
    in_layers = np.abs(estimates - truth) <= stats.t.ppf(1 - ALPHA / 2, df) * errors
    drawn = np.stack([fit.drawn[:, lags] for fit in fits], axis=1)
    effective = min(fit.effective_clusters for fit in fits)
    _, low, high = bootstrap.median_interval(estimates, drawn, ALPHA, effective)
    middle = np.median(truth, axis=0)
    return np.concatenate([in_layers.mean(axis=0), (low <= middle) & (middle <= high)])


def groups(replications: int, draws: int, random: np.random.Generator) -> None:
    """Intervals of medians over layers hold for 13 groups at once.

    Layers correlate by 0.5 and their slopes scatter by 0.1. One group is simulated at the level of
    13, so the last column is the coverage of all from that of one.
    """
    header("documents", "lengths", "one group misses", "all of 13 covered")
    for documents, lengths in itertools.product((6, 10, 20), SIZES[1]):
        rows = rows_of(documents, 200, lengths)[:, None].astype(float)
        missed = []
        for seed in range(replications):
            slopes = LAG + 0.1 * random.normal(size=LAYERS)
            shared = random.normal(size=(documents, 1))
            own = random.normal(size=(documents, LAYERS))
            deviations = 0.1 * (shared + own) / np.sqrt(2)
            totals = (rows * deviations).sum(axis=0)
            means = totals / rows.sum()
            without = (totals - rows * deviations) / (rows.sum() - rows)
            influence = np.sqrt(1 - 1 / documents) * (means - without)
            margin = bootstrap.joint_margin(
                (slopes + means)[:, None], influence[:, :, None], rows[:, 0], ALPHA / 13, seed
            )
            missed.append(abs(np.median(slopes + means) - np.median(slopes)) > margin[0])
        show(documents, lengths, np.mean(missed), (1 - np.mean(missed)) ** 13)


def of_classes(
    kind: np.ndarray, slopes: Sequence[float], layers: int, random: np.random.Generator
) -> list[Moments]:
    """Return the moments of layers in which the class of a token, ``kind``, has its own slope."""
    # Noise with a level per document makes the rows of a document dependent.
    size = np.exp(random.normal(size=(layers, len(kind), 1)) / 2)
    y = size * random.normal(size=(layers, *kind.shape))
    y[..., 0] = 0
    for t in range(1, kind.shape[1]):
        y[..., t] += np.array(slopes)[kind[:, t]] * y[..., t - 1]
    names = properties.CLASSES["upos"]
    own = np.eye(len(names))[[names.index(name) for name in CLASSES]][kind[:, 2:]]
    w = np.stack([np.ones_like(y[..., 2:]), y[..., 2:], y[..., 1:-1]], axis=-1)
    products = np.einsum("ldti,ldtj,dtc->dclij", w, w, own)[..., *np.triu_indices(3)]
    return moments_of(products, ["y", "lag_1"])


def by_class(replications: int, draws: int, random: np.random.Generator) -> None:
    """Replications are the layers of a design; every 100 have one of their own."""
    header(
        "documents", "errors", "slopes", *(f"{share:.0%}" for share in CLASSES.values()), "rejects"
    )
    for documents, errors, slopes in itertools.product(
        SIZES[0], ("CRV1", "CR2"), (SLOPES, (LAG,) * 4)
    ):
        shared: dict[str, Any] = {"alpha": ALPHA, "adjust": "none", "bootstrap": 0, "folds": 2}
        settings = RegressionSettings(
            fixed_effects="none",
            bias_correction="none",
            covariance=COVARIANCES[errors],
            **shared,
        )
        of_upos = ClassesSettings(regression=settings, property="upos", offset=0, least_rows=1)
        parts = []
        for begun in range(0, replications, 100):
            kind = random.choice(4, (documents, 100), p=list(CLASSES.values()))
            layers = of_classes(kind, slopes, min(100, replications - begun), random)
            own, tests = classes.slopes_by_class(layers, of_upos)
            own = own[own["subset"] != classes.ALL]
            truth = own["subset"].map(dict(zip(CLASSES, slopes, strict=True)))
            inside = (own["conf_low"] <= truth) & (truth <= own["conf_high"])
            rejects = (tests["p_value"] < ALPHA).mean()
            parts.append({**inside.groupby(own["subset"]).mean(), "rejects": rejects})
        means = pd.DataFrame(parts).mean()
        alike = "equal" if slopes != SLOPES else ", ".join(map(str, SLOPES))
        show(documents, errors, alike, *(means[name] for name in (*CLASSES, "rejects")))


def classes_redrawn(replications: int, draws: int, random: np.random.Generator) -> None:
    """Documents of the default run are drawn anew, with the same slopes in all classes of tokens.

    What a class's slopes exceed the mean slopes by is taken from the outcome. Five layers, or as
    many as the replications if these are fewer; a fiftieth of the replications.
    """
    header("documents", "tests", "classes tested", "lag 1: rejects", "lag 2: rejects")
    path = RESULTS / "attention/notebook/class_crossproducts/0000.parquet"
    stored = list(Stored([path], keep=True))[4::6][:replications]
    record = tables.read_provenance(RESULTS / "attention/notebook/classes.parquet")
    regression = record.settings("classes")["regression"] | {"adjust": "none", "bootstrap": 0}
    settings = ClassesSettings(**record.settings("classes") | {"regression": regression})
    of_classes, _ = classes.slopes_by_class(stored, settings)
    equal = [_with_equal_slopes(layer, of_classes) for layer in stored]
    for documents in (40, 128):
        names = [f"{place}" for place in range(documents)]
        found = []
        for _ in range(at_least_one(replications, 50)):
            taken = random.integers(len(equal[0].clusters), size=documents)
            layers = [with_clusters(layer, names, layer.products[:, taken]) for layer in equal]
            found.append(classes.slopes_by_class(layers, settings)[1])
        tests = pd.concat(found)
        rejects = (tests["p_value"] < ALPHA).groupby(tests["term"]).mean()
        show(documents, len(tests) // 2, float(tests["df"].mean()) + 1, *rejects.tolist())


def _with_equal_slopes(layer: Moments, of_classes: pd.DataFrame) -> Moments:
    """Return moments by class of a layer, in which the slopes of all classes are their mean."""
    rows = of_classes[(of_classes["layer"] == layer.layer) & (of_classes["subset"] != classes.ALL)]
    slopes = rows.pivot(index="subset", columns="term", values="estimate")
    excess = slopes - slopes.mean()
    s = layer.products.copy()
    for place, name in enumerate(properties.CLASSES["upos"]):
        own = excess.loc[name if name in excess.index else properties.OTHER]
        change = np.eye(layer.p)
        change[[1 + layer.terms.index(lag) for lag in own.index], 1] = -own
        s[place] = change.T @ s[place] @ change
    return replace(layer, products=s)


def order(replications: int, draws: int, random: np.random.Generator) -> None:
    """Lags 1 and 2 are tested within documents of 100 tokens."""
    header("documents", "no order", "SD grows threefold", "lag 1 of 0.1", "lag 3 of 0.1")
    replications = at_least_one(replications, 5)
    tokens = 100
    for documents in SIZES[0]:
        zeros = pa.array(np.zeros(documents * tokens, np.int32))
        names = pa.array(np.repeat(np.arange(documents), tokens).astype(str)).dictionary_encode()
        position = pa.array(np.tile(np.arange(tokens, dtype=np.int32), documents))
        keys = {"document": names, "window": zeros, "position": position, "token_id": zeros}
        cells = []
        for lag, slope, growth in ((1, 0, 0), (1, 0, np.log(3)), (1, 0.1, 0), (3, 0.1, 0)):
            y = random.normal(size=(replications, documents, tokens))
            y *= np.exp(growth * np.linspace(0, 1, tokens))
            for t in range(lag, tokens):
                y[..., t] += slope * y[..., t - lag]
            norms = np.exp(y).reshape(replications, -1)
            columns = {f"layer_{layer:04d}": pa.array(own) for layer, own in enumerate(norms)}
            design = DesignSettings(lags=[1, 2])
            settings = PermutationsSettings(
                design=design, draws=draws, seed=documents, fixed_effects="document"
            )
            batches = pa.table(keys | columns).to_batches()
            sums = permutation.permuted(batches, Formula(design, {}), settings)
            orders = permutation.permutations_by_layer(
                [sums], {term: [term] for term in sums.terms}
            )
            found = permutation.order_test(orders, Errors(alpha=ALPHA, adjust="none"))
            cells.append((found["order_p_value"] <= ALPHA).mean())
        show(documents, *cells)


def norms_of_autoregressions(
    sizes: np.ndarray,
    slopes: Sequence[float],
    level: float,
    errors: str,
    layers: int,
    random: np.random.Generator,
) -> pa.Table:
    """Return norms whose logs follow an autoregression about the levels of their documents."""
    columns = []
    for _layer in range(layers):
        parts = []
        for size in sizes.tolist():
            shape = size + BURN_IN
            if errors == "t(5)":
                noise = random.standard_t(5, size=shape)
            else:
                noise = random.exponential(size=shape) - 1
            parts.append(signal.lfilter([1.0], [1.0, *-np.array(slopes)], noise)[BURN_IN:])
            parts[-1] += level * random.normal()
        columns.append(np.exp(np.concatenate(parts)))
    documents = np.repeat(np.arange(len(sizes)), sizes)
    names = pa.array([f"document {place}" for place in range(len(sizes))])
    zeros = pa.array(np.zeros(len(documents), np.int32))
    position = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    keys = {
        "document": pa.DictionaryArray.from_arrays(pa.array(documents, pa.int32()), names),
        "window": zeros,
        "position": pa.array(position),
        "token_id": zeros,
    }
    return pa.table(keys | {layer_name(n): pa.array(own) for n, own in enumerate(columns)})


def omitted_tests(norms: pa.Table, lags: list[int], effects: bool) -> pd.DataFrame:
    """Return the tests of the lags that a regression of norms omits, a row per layer."""
    formula = Formula(DesignSettings(lags=lags), {})
    batches = norms.combine_chunks().to_batches()
    layers = moments_of_numbers(batches, formula, layer_units(layers_in(norms.schema)))
    lines = [
        residuals.fitted_line(solve(moments.prepared(fixed_effects=effects))) for moments in layers
    ]
    further = omitted_lags.omitted_lags(lines[0].terms, layers[0].documents)
    rows = designs(batches, formula, Counts())
    sums = residuals.sum_residuals(rows, lines, 0, omitted=further)
    return diagnostics.omitted_terms_table(sums, Errors(alpha=ALPHA))


def omitted(replications: int, draws: int, random: np.random.Generator) -> None:
    """Documents of log-normal lengths; 0.22 and 0.05 are the lags, levels have an SD of 1 or 0."""
    header(
        *("tokens", "documents", "errors", "pooled", "within", "sum within", "it covers"),
        *("lag 3 of 0.05: rejects", "its sum", "it covers"),
        *("straight line: rejects", "square covers 0"),
    )
    for tokens, documents, errors in itertools.product(
        (60, 224), (13, 40, 128), ("t(5)", "exponential")
    ):
        sizes = rows_of(documents, tokens, "lognormal") + 2
        rejected, found = [], {}
        bent = []
        for lag_3, level in ((0.0, 0.0), (0.0, 1.0), (0.05, 1.0)):
            parts = []
            for begun in range(0, replications, 20):
                count = min(20, replications - begun)
                slopes = (0.22, 0.05, lag_3)
                norms = norms_of_autoregressions(sizes, slopes, level, errors, count, random)
                parts.append(omitted_tests(norms, [1, 2], effects=level > 0))
            table = pd.concat(parts)
            inside = (table["omitted_sum_low"] <= lag_3) & (lag_3 <= table["omitted_sum_high"])
            rejected.append(float((table["omitted_p_value"] < ALPHA).mean()))
            found[lag_3] = float(table["omitted_sum"].mean()), float(inside.mean())
            if level and not lag_3:
                covers = (table["curvature_low"] <= 0) & (table["curvature_high"] >= 0)
                bent = [float((table["curvature_p_value"] < ALPHA).mean()), float(covers.mean())]
        show(
            tokens, documents, errors, *rejected[:2], *found[0.0], rejected[2], *found[0.05], *bent
        )


def training(replications: int, draws: int, random: np.random.Generator) -> None:
    """The models before and after training share a part of each document's slope, in 6 layers.

    The bias of `within` is the same in all replications, so the target is the mean of the
    estimates. The last column is the mean standard error over the estimates' own.
    """
    header("documents", "covers", "wrongly above", "wrongly below", "error / spread")
    errors = RegressionSettings(outcome="norm", fixed_effects="document", bias_correction="none")
    draw = {"scale": "own", "initializer_range": None, "origin": "config"}
    for documents in (13, 20, 40, 100):
        rows, found = rows_of(documents, 150, "lognormal"), []
        for _ in range(at_least_one(replications, 5)):
            shared = 0.07 * random.normal(size=(documents, 6))
            models = []
            for mean in (0.5, 0.2):
                slopes = mean + shared + 0.07 * random.normal(size=shared.shape)
                products = products_of(rows, *simulated(rows, 6, random, slopes))
                models.append(moments_of(products, ["y", "lag_1"]))
            _, compared = controls.fit_untrained([(draw, models[0])], errors, models[1])
            found.append(compared.set_index("quantity").loc["lag_1"])
        table = pd.DataFrame(found)
        truth, width = table["difference"].mean(), table["std_error"].mean()
        above, below = (table["conf_low"] > truth).mean(), (table["conf_high"] < truth).mean()
        show(documents, 1 - above - below, above, below, width / table["difference"].std())


def checkpoints(replications: int, draws: int, random: np.random.Generator) -> None:
    """Documents have slopes of their own, which both weights share in part; layers differ.

    The true value is the median over layers of the mean estimates of each layer, and the true
    difference the mean over layers of their differences.
    """
    header("documents", "layers", "SD of layers", "value", "difference", "wrongly above", "below")
    design = DesignSettings(lags=[1])
    settings = TrainingSettings(design=design, fixed_effects="document", alpha=ALPHA)
    for documents, (layers, spread) in itertools.product((8, 16, 40), LAYERS_OF_CHECKPOINTS):
        rows = rows_of(documents, 150, "lognormal")
        of_layers = spread * random.normal(size=layers)
        medians = []
        by_layer = []
        for _ in range(at_least_one(replications, 5)):
            shared = 0.07 * random.normal(size=(documents, 1))
            weights = []
            for step, mean in ((64, 0.4), (None, 0.1)):
                own = 0.07 * random.normal(size=(documents, layers))
                slopes = np.clip(mean + of_layers + shared + own, -0.9, 0.9)
                products = products_of(rows, *simulated(rows, layers, random, slopes))
                moments = moments_of(products, ["y", "lag_1"])
                weights.append(path_of_training.Checkpoint(step, "weights", moments))
            tables = path_of_training.fit(weights[:1], weights[1], settings)
            medians.append(tables.medians.iloc[0])
            lags = tables.layers[tables.layers["quantity"] == "lag_1"]
            by_layer.append(lags["estimate"].to_numpy().reshape(2, layers))
        table = pd.DataFrame(medians)
        early, late = np.mean(by_layer, axis=0)
        median = np.median(early)
        difference = np.mean(early - late)
        value = table["conf_low"].le(median) & table["conf_high"].ge(median)
        above = (table["difference_low"] > difference).mean()
        below = (table["difference_high"] < difference).mean()
        show(documents, layers, spread, value.mean(), 1 - above - below, above, below)


def shares(replications: int, draws: int, random: np.random.Generator) -> None:
    """Effects of documents are normal or skewed; the prediction is from 128 documents.

    An interval without ends excludes no share, and so covers.
    """
    header("documents", "effects", "prediction / error", "share", "covers", "no ends", "decided")
    prediction_error, spread, documents_of_prediction = 0.04, 0.04, 128
    for documents, shape, ratio in itertools.product((13, 26), ("normal", "skewed"), (2, 4, 10)):
        prediction = ratio * prediction_error
        for share in (0.0, 0.1, 0.25, 0.5):
            intervals = []
            for _ in range(replications):
                if shape == "normal":
                    deviations = random.normal(size=documents)
                else:
                    deviations = (random.chisquare(3, documents) - 3) / np.sqrt(6)
                sums = RatioSums.of(share * prediction + spread * deviations, np.ones(documents))
                effect = elasticities.Estimate(sums.mean, sums.std_error, sums.df, documents)
                predicted = elasticities.Estimate(
                    prediction + prediction_error * random.normal(),
                    prediction_error,
                    documents_of_prediction - 1,
                    documents_of_prediction,
                )
                intervals.append(elasticities.share_interval(effect, predicted, ALPHA))
            low, high = np.array(intervals).T
            without_ends = np.isnan(low)
            covered = without_ends | ((low <= share) & (share <= high))
            decided = [elasticities.decided(*ends) for ends in intervals]
            cells = np.mean(covered), np.mean(without_ends), np.mean(decided)
            show(documents, shape, ratio, share, *cells)


def proportions(replications: int, draws: int, random: np.random.Generator) -> None:
    """Each document has effects in 15 layers, with a size and a slope of its own about 0.75."""
    header("documents", "log SD of sizes", "covers")
    slope, layers = 0.75, 15
    for documents, spread in itertools.product((13, 40, 128), (0.3, 0.7)):
        covered = []
        for _ in range(replications):
            size = np.exp(spread * random.normal(size=(documents, 1)))
            small = size * random.standard_t(5, size=(documents, layers))
            slopes = slope + 0.1 * random.normal(size=(documents, 1))
            finite = slopes * small + 0.15 * size * random.standard_t(5, size=small.shape)
            sums = RatioSums.of((finite * small).sum(axis=1), (small**2).sum(axis=1))
            estimate = np.array([sums.mean, sums.std_error, sums.df])
            covered.append(covers(estimate, slope))
        show(documents, spread, np.mean(covered))


# Number of layers, and the standard deviation of their slopes.
LAYERS_OF_CHECKPOINTS = ((4, 0.0), (4, 0.1), (30, 0.02), (30, 0.1))
SIZES = ((13, 20, 100), ("equal", "lognormal"))
TABLES = {
    "single": single,
    "uneven": uneven,
    "halves": equal_halves,
    "dominated": dominated,
    "means": means,
    "mean-group": mean_group,
    "medians": medians,
    "responses": responses,
    "groups": groups,
    "redrawn": redrawn,
    "classes": by_class,
    "classes-redrawn": classes_redrawn,
    "order": order,
    "omitted": omitted,
    "training": training,
    "checkpoints": checkpoints,
    "shares": shares,
    "proportions": proportions,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=1000, metavar="N")
    parser.add_argument("--draws", type=int, default=299, help="of bootstraps and permutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="+", choices=TABLES, default=[*TABLES], help="which tables")
    given = parser.parse_args()
    for name in given.of:
        TABLES[name](given.replications, given.draws, np.random.default_rng(given.seed))
    count = given.replications
    error = (ALPHA * (1 - ALPHA) / count) ** 0.5
    print(f"\n{count:,} replications, {given.draws} draws: standard error {error:.3f} at 0.95.")
