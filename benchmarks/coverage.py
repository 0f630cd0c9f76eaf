"""Bias of the estimators and coverage of their intervals in simulations with a known truth.

    python benchmarks/coverage.py                     # minutes; prints tables in Markdown
    python benchmarks/coverage.py --replications 200
    python benchmarks/coverage.py --of unequal classes --replications 800 --draws 199

Documents have different levels and share their dynamics,

    y_t = mu_g + 0.3 y_(t-1) + e_t,   mu_g and e_t standard normal,

and begin in their stationary state. As in the pipeline, the first token is dropped as outcome and
as lag. Regressions with a constant for each document (within) estimate 0.3. The pooled regression
mistakes differences between documents for dynamics. It estimates another number, which is known in
closed form and which its intervals should cover.

The lengths of documents are equal, or are quantiles of a log-normal distribution with sigma 1 and
the same mean. Replications are the layers of one stack, so that the estimates, errors and p-values
come from the pipeline's code. The exit status is 1 if the results contradict theory: Nickell's bias
of the within estimator, and nominal coverage of the half-panel jackknife with long documents.

Shorter tables follow. ``uneven``: the half-panel intervals if documents differ in slope (SD 0.1)
and noise (log SD 0.5), with the replications of the first table. ``unequal``: the loss if one
document has most of the rows, when singular fits are detected by the ratio of eigenvalues, as in
the pipeline, and by a determinant.
``classes``: the coverage of intervals of slopes by class of tokens, by the size of the class, and
the rejection rate of equal slopes if they are equal and if they are not. These tables use documents
with equal levels, fitted without document effects, and one replication for every twenty of the
first table. With the options above they take a minute and have 40 replications, enough for the
differences but not for their digits. ``medians``: the coverage of intervals of the median over
layers, from means of documents that deviate by sizes of their own, with the replications of the
first table. ``groups``: that of the medians of 13 groups. ``halves``: how often equal halves of
documents are rejected, with two lags. ``differences``: the coverage of a class's difference from
all tokens if the mix of classes varies by document, given the regressors and with the jackknife,
from half the replications. ``order``: the rejection rate of the permutation test, by what the order
of tokens means, from a fifth of them.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.regression.beyond import classes  # noqa: E402
from attnlag.regression.design import properties  # noqa: E402
from attnlag.regression.estimation import clustered, crossproducts, least_squares, regress, stacks  # noqa: E402
from attnlag.regression.inference import bootstrap, halves, permutation  # noqa: E402
from attnlag.regression.settings import (  # noqa: E402
    ClassesSettings,
    DesignSettings,
    RegressionSettings,
)
from attnlag.regression.terms import of_class  # noqa: E402

TERMS = ["y", "lag_1"]
LAG = 0.3
EFFECT_SD = 1.0
SIGMA_OF_LENGTHS = 1.0
# Two rows in each half of a document, and the two tokens that give no row.
FEWEST_TOKENS = 6

ALPHA = 0.05
COVARIANCES = {
    "nonrobust": "nonrobust",
    "CRV1": "cluster-crv1",
    "CR2": "cluster",
    "CRV3": "cluster-jackknife",
}

# Smallest number for which asymptotic theory is a good approximation.
MANY_DOCUMENTS = 50
MANY_TOKENS = 200

LAYERS = 30

# A replication of the tables over layers takes as long as so many of the table of single ones.
SHARE = 20

# Replications simulated at once, in numbers per array.
NUMBERS = 2_000_000


@dataclass(frozen=True)
class Design:
    """Documents of a simulation: their number, mean length in tokens, and inequality."""

    documents: int
    tokens: int
    lengths: str

    def rows(self) -> np.ndarray:
        """Return the rows of each document."""
        lengths = np.ones(self.documents)
        if self.lengths == "lognormal":
            places = (np.arange(self.documents) + 0.5) / self.documents
            lengths = np.exp(SIGMA_OF_LENGTHS * stats.norm.ppf(places))
        lengths *= self.tokens / lengths.mean()
        return np.maximum(np.rint(lengths).astype(np.int64), FEWEST_TOKENS) - 2


def pooled_limit() -> float:
    """Return the limit of the pooled coefficient of lag 1: (v + 0.3 s) / (v + s).

    v is the variance of the documents' levels mu_g / (1 - 0.3), s = 1 / (1 - 0.3²) that within.
    """
    levels, within = (EFFECT_SD / (1 - LAG)) ** 2, 1 / (1 - LAG**2)
    return (levels + LAG * within) / (levels + within)


def nickell_bias(rows: int) -> float:
    """Return the bias of the within estimator with many documents of equal length (Nickell 1981).

    With T rows: -(1 + r) / (T - 1) q / (1 - 2 r q / ((1 - r) (T - 1))), where
    q = 1 - (1 - r^T) / (T (1 - r)) and r = 0.3.
    """
    q = 1 - (1 - LAG**rows) / (rows * (1 - LAG))
    return -(1 + LAG) / (rows - 1) * q / (1 - 2 * LAG * q / ((1 - LAG) * (rows - 1)))


ESTIMATORS = {"pooled": pooled_limit(), "within": LAG, "half-panel": LAG}


# --- simulation ----------------------------------------------------------------------------


def simulated(
    rows: np.ndarray,
    replications: int,
    random: np.random.Generator,
    slope: float | np.ndarray = LAG,
    effect_sd: float = EFFECT_SD,
    scale: float | np.ndarray = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes and their lags, (rows, replications) each, document after document.

    The slope and the size of the noise may differ between replications, and between documents.
    """
    starts = np.cumsum(rows) - rows
    order = np.argsort(-rows, kind="stable")  # Longer documents come first.
    y = np.empty((rows.sum(), replications))
    lag = np.empty_like(y)
    effect = random.normal(scale=effect_sd, size=(len(rows), replications))
    slope, scale = (np.broadcast_to(each, effect.shape) for each in (slope, scale))
    now = effect / (1 - slope) + scale * random.normal(size=effect.shape) / np.sqrt(1 - slope**2)
    for t in range(rows.max()):
        active = int((rows > t).sum())
        places = starts[order[:active]] + t
        lag[places] = now[:active]
        noise = scale[:active] * random.normal(size=(active, replications))
        now = effect[:active] + slope[:active] * now[:active] + noise
        y[places] = now
    return y, lag


def products_of(rows: np.ndarray, y: np.ndarray, *lags: np.ndarray) -> np.ndarray:
    """Return (documents, halves, replications, packed) cross-products of [1, y, *lags]."""
    starts = np.cumsum(rows) - rows
    segments = np.stack([starts, starts + (rows + 1) // 2], axis=1).reshape(-1)
    terms = [np.ones_like(y), y, *lags]
    sums = [
        np.add.reduceat(terms[i] * terms[j], segments, axis=0)
        for i, j in zip(*np.triu_indices(len(terms)), strict=True)
    ]
    return np.stack(sums, axis=-1).reshape(len(rows), 2, y.shape[1], len(sums))


def blocks_of(design: Design, replications: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the cross-products of batches of replications until there are enough."""
    rows = design.rows()
    key = [seed, design.documents, design.tokens, design.lengths == "equal"]
    random = np.random.default_rng(key)
    most = max(1, NUMBERS // int(rows.sum()))
    for begun in range(0, replications, most):
        count = min(most, replications - begun)
        yield products_of(rows, *simulated(rows, count, random))


# --- estimates -----------------------------------------------------------------------------


def stack_of(products: np.ndarray, estimator: str, terms: Sequence[str] = TERMS) -> stacks.Stack:
    """Return a stack whose layers are the replications."""
    if estimator != "half-panel":
        products = products.sum(axis=1, keepdims=True)
    return stacks.stacked([shard_of(products, terms)], fixed_effects=estimator != "pooled")


def shard_of(products: np.ndarray, terms: Sequence[str]) -> crossproducts.Shard:
    """Return a shard of (documents, halves, layers, packed) cross-products."""
    documents, halves, replications, _ = products.shape
    p = 1 + len(terms)
    block = crossproducts.DocumentProducts(
        [f"document {place}" for place in range(documents)], products
    )
    return crossproducts.Shard(
        terms=list(terms),
        layers=list(range(replications)),
        halves=halves,
        centre=np.zeros((replications, p)),
        totals=crossproducts.Totals.of(products),
        batches=lambda: iter([block]),
    )


def single_fits(
    stack: stacks.Stack, solutions: Sequence[least_squares.Solution]
) -> dict[str, np.ndarray]:
    """Return estimates, errors and degrees of freedom of lag 1, (replications, 3), by errors."""
    place = least_squares.names_of(stack).index("lag_1")
    sums = regress.sums_by_document(stack, solutions)
    found = {}
    for name, covariance in COVARIANCES.items():
        fits = [
            regress.fit_layer(
                stack, index, solution, sums[index], covariance=covariance, folds=None
            )
            for index, solution in enumerate(solutions)
        ]
        found[name] = np.array(
            [
                (fit.estimate[place], np.sqrt(fit.covariance[place, place]), fit.df[place])
                for fit in fits
            ]
        )
    return found


def covered(products: np.ndarray, estimator: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the estimates of each replication, and by interval whether it covers the truth."""
    truth = ESTIMATORS[estimator]
    stack = stack_of(products, estimator)
    inside = {}
    for name, numbers in single_fits(stack, least_squares.solve_all(stack)).items():
        estimates, errors, df = numbers.T
        inside[name] = np.abs(estimates - truth) <= stats.t.ppf(1 - ALPHA / 2, df) * errors
    return estimates, inside


def uneven(design: Design, replications: int, seed: int) -> None:
    """Print the coverage of half-panel intervals if documents differ in slope and noise.

    The target is the mean of the estimates, because documents with more noise weigh more.
    """
    rows = design.rows()
    random = np.random.default_rng([seed, design.documents, design.lengths == "equal", 6])
    found: dict[str, list[np.ndarray]] = {}
    most = max(1, NUMBERS // int(rows.sum()))
    for begun in range(0, replications, most):
        shape = len(rows), min(most, replications - begun)
        slope = np.clip(LAG + 0.1 * random.normal(size=shape), -0.6, 0.9)
        scale = np.exp(random.normal(size=shape) / 2)
        made = simulated(rows, shape[1], random, slope, scale=scale)
        stack = stack_of(products_of(rows, *made), "half-panel")
        for name, numbers in single_fits(stack, least_squares.solve_all(stack)).items():
            found.setdefault(name, []).append(numbers)
    cells = [design.documents, design.lengths]
    for parts in found.values():
        estimate, error, df = np.concatenate(parts).T
        inside = np.abs(estimate - estimate.mean()) <= stats.t.ppf(1 - ALPHA / 2, df) * error
        cells.append(f"{inside.mean():.3f}")
    df = np.concatenate(found["CR2"])[:, 2]
    print(f"| {' | '.join(map(str, [*cells, f'{np.median(df):.1f}']))} |", flush=True)


# --- report --------------------------------------------------------------------------------


@dataclass
class Row:
    """Results of one estimator over the replications of one design."""

    design: Design
    estimator: str
    estimates: np.ndarray
    inside: dict[str, np.ndarray]

    @property
    def bias(self) -> float:
        return float(self.estimates.mean()) - ESTIMATORS[self.estimator]

    def coverage(self, interval: str) -> float:
        return float(self.inside[interval].mean())

    def line(self) -> str:
        truth = ESTIMATORS[self.estimator]
        cells = [
            self.estimator,
            f"{self.design.tokens}",
            f"{self.design.documents}",
            self.design.lengths,
            f"{truth:.3f}",
            f"{self.bias:+.3f}",
            *(f"{self.coverage(interval):.3f}" for interval in COVARIANCES),
        ]
        return f"| {' | '.join(cells)} |"


def rows_of(design: Design, replications: int, seed: int) -> list[Row]:
    """Return a row for each estimator, all from the same replications."""
    found: dict[str, list[tuple[np.ndarray, dict[str, np.ndarray]]]] = {e: [] for e in ESTIMATORS}
    for products in blocks_of(design, replications, seed):
        for estimator, parts in found.items():
            parts.append(covered(products, estimator))
    return [
        Row(
            design,
            estimator,
            np.concatenate([estimates for estimates, _ in parts]),
            {name: np.concatenate([inside[name] for _, inside in parts]) for name in COVARIANCES},
        )
        for estimator, parts in found.items()
    ]


def surprises(row: Row) -> list[str]:
    """Return contradictions to theory beyond 3 standard errors of the simulation.

    Only designs with many documents of equal length are checked, because theory covers no others.
    """
    design, count = row.design, len(row.estimates)
    if design.lengths != "equal" or design.documents < MANY_DOCUMENTS:
        return []
    found = []
    if row.estimator == "within":
        expected = nickell_bias(int(design.rows()[0]))
        error = row.estimates.std() / count**0.5
        # In addition to Nickell's bias there is one of the order of 1 / all rows.
        if not abs(row.bias - expected) <= 3 * error + 2 / design.rows().sum():
            found.append(f"{row.line()}: expected a bias of {expected:+.4f} ± {3 * error:.4f}")
    if row.estimator == "half-panel" and design.tokens >= MANY_TOKENS:
        error = (ALPHA * (1 - ALPHA) / count) ** 0.5
        for interval in COVARIANCES:
            if not abs(row.coverage(interval) - (1 - ALPHA)) <= 3 * error + 0.01:
                found.append(f"{row.line()}: expected coverage {1 - ALPHA:.2f} by {interval}")
    return found


# --- many layers ---------------------------------------------------------------------------


def equal_halves(design: Design, replications: int, seed: int) -> None:
    """Print how often equal halves are rejected if they are equal, with two lags."""
    random = np.random.default_rng([seed, design.documents, design.tokens, 2])
    rows, p_values = design.rows(), []
    # Each document loses a row to the second lag.
    first = np.cumsum(rows) - rows
    later = np.delete(np.arange(rows.sum()), first)
    most = max(1, NUMBERS // int(rows.sum()))
    while len(p_values) < replications:
        y, lag = simulated(rows, min(most, replications - len(p_values)), random)
        products = products_of(rows - 1, y[later], lag[later], lag[later - 1])
        stack = stack_of(products, "half-panel", [*TERMS, "lag_2"])
        tests = halves.equal_halves(stack, least_squares.solve_all(stack))
        p_values += [test.p_value for test in tests]
    rejected = np.mean(np.array(p_values) < ALPHA)
    print(
        f"| {design.documents} | {design.tokens} | {design.lengths} | {rejected:.3f} |", flush=True
    )


def of_documents(
    documents: int,
    lengths: str,
    columns: int,
    common: float,
    random: np.random.Generator,
    log_size: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of documents, (documents, 1), and their means, (documents, columns).

    The columns, layers or pairs of layers, have a mean of zero, a correlation of ``common``, and
    heavy tails: documents differ in the size of their deviations, whose logarithms have a standard
    deviation of ``log_size``.
    """
    rows = Design(documents, 60, lengths).rows()[:, None].astype(float)
    shared, own = random.normal(size=(documents, 1)), random.normal(size=(documents, columns))
    size = np.exp(log_size * random.normal(size=(documents, 1)))
    return rows, size * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)


def medians(
    documents: int, lengths: str, spread: float, replications: int, draws: int, seed: int
) -> None:
    """Print how often intervals of the median over 30 layers cover the median of their slopes."""
    random = np.random.default_rng([seed, documents, 5])
    found = np.zeros(3)
    for replication in range(replications):
        slopes = LAG + spread * random.normal(size=LAYERS)
        rows, means = of_documents(documents, lengths, LAYERS, 0.25, random)
        weights = np.concatenate(list(bootstrap.weights_of_draws(documents, draws, replication)))
        estimates = slopes + 0.15 * (rows * means).sum(axis=0) / rows.sum()
        drawn = slopes + 0.15 * (weights @ (rows * means)) / (weights @ rows)
        median, low, high = bootstrap.median_interval(estimates, drawn, ALPHA)
        truth = np.median(slopes)
        one, other = np.quantile(np.median(drawn, axis=1), [ALPHA / 2, 1 - ALPHA / 2])
        found += (
            2 * median - other <= truth <= 2 * median - one,
            one <= truth <= other,
            low <= truth <= high,
        )
    cells = " | ".join(f"{share:.3f}" for share in found / replications)
    print(f"| {documents} | {lengths} | {spread} | {cells} |", flush=True)


def medians_of_groups(documents: int, replications: int, draws: int, seed: int) -> None:
    """Print how often the intervals of 13 groups' medians over 30 layers all cover."""
    random = np.random.default_rng([seed, documents, 8])
    groups, inside = 13, np.zeros(replications * 13)
    for place in range(len(inside)):
        slopes = LAG + 0.1 * random.normal(size=LAYERS)
        _, means = of_documents(documents, "equal", LAYERS, 0.25, random)
        means *= 0.15
        without = slopes + (means.sum(axis=0) - means) / (documents - 1)
        fits = [
            SimpleNamespace(
                status="ok",
                estimate=slopes[[layer]] + means[:, layer].mean(),
                without=without[:, [layer]],
                clusters=np.arange(documents),
            )
            for layer in range(LAYERS)
        ]
        options = {"alpha": ALPHA / groups, "draws": draws, "seed": place}
        found = bootstrap.medians_of_jackknife(fits, ["lag_1"], documents, **options).iloc[0]
        inside[place] = found["median_low"] <= np.median(slopes) <= found["median_high"]
    every = inside.reshape(-1, groups).all(axis=1)
    print(f"| {documents} | {inside.mean():.4f} | {every.mean():.3f} |", flush=True)


def unequal(lags: int, seed: int, draws: int) -> None:
    """Print the loss if one document of 41 has 88% of the rows."""
    random = np.random.default_rng([seed, lags, 3])
    lengths = np.array([8800] + [30] * 40)
    x = random.normal(size=(lengths.sum(), lags))
    y = x @ np.linspace(0.5, 0, lags) + random.normal(size=len(x))
    w = np.column_stack([np.ones(len(x)), y, x])
    packed = np.stack(
        [w[:, i] * w[:, j] for i, j in zip(*np.triu_indices(w.shape[1]), strict=True)], axis=-1
    )
    starts = np.cumsum(lengths) - lengths
    products = np.add.reduceat(packed, starts)[:, None, None]
    terms = ["y", *(f"lag_{lag + 1}" for lag in range(lags))]
    stack = stack_of(products, "pooled", terms)
    by_eigenvalues = least_squares.is_singular

    def by_determinant(a: np.ndarray) -> np.ndarray:
        return np.linalg.det(a) <= least_squares.LEAST_LEFT

    for name, test in (("determinant", by_determinant), ("eigenvalues", by_eigenvalues)):
        least_squares.is_singular = test
        solutions = least_squares.solve_all(stack)
        (plain,) = regress.fit(stack, "cluster", 10, solutions)
        drawn = bootstrap.drawn(stack, solutions, draws, seed)
        # This comes last, because it removes layers that it cannot fit from the solutions.
        (fit,) = regress.fit(stack, "cluster-jackknife", 10, solutions)
        lost = int(np.isnan(drawn).any(axis=(1, 2)).sum())
        cells = [lags, name, fit.status, f"{plain.cv_r_squared:.3f}", f"{lost} of {draws}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    least_squares.is_singular = by_eigenvalues


CLASSES = ("NOUN", "VERB", "DET", "INTJ")
SHARES = (0.5, 0.3, 0.15, 0.05)
SLOPES = (0.5, 0.2, 0.0, 0.3)


def of_classes(
    kind: np.ndarray, rows: np.ndarray, slopes: Sequence[float], layers: int, random: Any
) -> crossproducts.Shard:
    """Return layers in which a token's class determines the slope of lag 1.

    Parameters
    ----------
    kind : (documents, tokens) int array
        Classes of the tokens.
    rows : (documents,) int array
        Rows of each document.
    slopes : sequence of float
    layers : int
    random : numpy.random.Generator
    """
    documents, tokens = kind.shape
    # Noise with a level per document makes the rows of a document dependent.
    size = np.exp(random.normal(size=(layers, documents, 1)) / 2)
    y = size * random.normal(size=(layers, documents, tokens))
    y[..., 0] = 0
    for t in range(1, tokens):
        y[..., t] += np.array(slopes)[kind[:, t]] * y[..., t - 1]
    names = properties.CLASSES["upos"]
    own = np.eye(len(names))[[names.index(name) for name in CLASSES]][kind[:, 2:]]
    own = np.broadcast_to(own, (layers, *own.shape))
    now, lag = y[..., 2:, None], y[..., 1:-1, None]
    w = np.concatenate([np.ones_like(now), now, lag, lag * own, own], axis=-1)
    w *= (np.arange(tokens - 2) < rows[:, None])[..., None]
    products = (np.swapaxes(w, 2, 3) @ w)[..., *np.triu_indices(w.shape[-1])]
    terms = [of_class(term, name) for term in ("lag_1", classes.LEVEL) for name in names]
    return shard_of(products.transpose(1, 0, 2)[:, None], ["y", "lag_1", *terms])


def slopes_by_class(
    shard: crossproducts.Shard, covariance: str = "cluster"
) -> classes.SlopesByClass:
    settings = RegressionSettings(
        fixed_effects="none",
        bias_correction="none",
        covariance=covariance,
        alpha=ALPHA,
        adjust="none",
        bootstrap=0,
        folds=2,
        stack_mb=4000,
    )
    own = ClassesSettings(regression=settings, property="upos", offset=0, least_rows=1)
    return classes.slopes_by_class([shard], own)


def by_class(documents: int, tokens: int, covariance: str, replications: int, seed: int) -> None:
    """Print the coverage of slopes by class, and the rejection rate of equal slopes.

    Classes of very different size have slopes of 0.5, 0.2, 0 and 0.3, or all of 0.3. Replications
    are the layers of a design; every 100 have one of their own.
    """
    rows = np.full(documents, tokens - 2)
    for slopes in (SLOPES, (0.3,) * 4):
        parts = []
        for begun in range(0, replications, 100):
            random = np.random.default_rng([seed, documents, begun, 7])
            kind = random.choice(4, (documents, tokens), p=SHARES)
            layers = min(100, replications - begun)
            found = slopes_by_class(of_classes(kind, rows, slopes, layers, random), covariance)
            own = found.coefficients[found.coefficients["subset"] != classes.ALL]
            truth = own["subset"].map(dict(zip(CLASSES, slopes, strict=True)))
            inside = (own["conf_low"] <= truth) & (truth <= own["conf_high"])
            rejected = found.tests["p_value"] < ALPHA
            shares = inside.groupby(own["subset"]).mean()
            parts.append({**shares, "rejects": rejected.mean()})
        means = pd.DataFrame(parts).mean()
        cells = " | ".join(f"{means[name]:.3f}" for name in (*CLASSES, "rejects"))
        alike = "equal" if np.ptp(slopes) == 0 else "0.5, 0.2, 0, 0.3"
        errors = next(name for name, value in COVARIANCES.items() if value == covariance)
        print(f"| {documents} | {errors} | {alike} | {cells} |", flush=True)


def differences(documents: int, lengths: str, replications: int, seed: int) -> None:
    """Print how often intervals of a class's difference from all tokens cover it.

    The mix of classes varies by document, and each replication has documents of its own.
    """
    random = np.random.default_rng([seed, documents, 6])

    def shard(design: Design) -> crossproducts.Shard:
        rows = design.rows()
        mixes = random.dirichlet(4 * np.array(SHARES), size=design.documents)
        drawn = random.random((design.documents, rows.max() + 2, 1))
        kind = (drawn > mixes.cumsum(axis=1)[:, None, :-1]).sum(axis=-1)
        return of_classes(kind, rows, SLOPES, 1, random)

    # The truth in many documents: as many as fit at once.
    many = [slopes_by_class(shard(Design(2000, 100, "equal"))).coefficients for _ in range(5)]
    shared = np.mean([table.loc[table["subset"] == classes.ALL, "estimate"] for table in many])
    truth = dict(zip(CLASSES, np.array(SLOPES) - shared, strict=True))
    found = []
    for _ in range(replications):
        own = shard(Design(documents, 100, lengths))
        table = slopes_by_class(own).coefficients.set_index("subset").drop(classes.ALL)
        if properties.OTHER in table.index:
            continue  # A class is in too few documents.
        error = given_regressors(own, list(table.index))
        away = (table["difference"] - pd.Series(truth)).abs().reindex(CLASSES)
        reach = stats.t.ppf(1 - ALPHA / 2, table["df"].reindex(CLASSES))
        before = stats.t.ppf(1 - ALPHA / 2, documents - 1) * error.reindex(CLASSES)
        inside = [away <= before, away <= reach * table["difference_std_error"].reindex(CLASSES)]
        found.append(np.where(away.isna(), np.nan, inside))
    shares = np.nanmean(found, axis=0)
    cells = " | ".join(f"{one:.3f}, {other:.3f}" for one, other in shares.T)
    print(f"| {documents} | {lengths} | {cells} |", flush=True)


def given_regressors(shard: crossproducts.Shard, names: Sequence[str]) -> pd.Series:
    """Return errors of differences that follow from those of the slopes, given the regressors."""
    (block,) = shard.batches()
    products = block.products[:, 0, 0]
    p = 1 + len(shard.terms)
    full = np.zeros((len(products), p, p))
    full[:, *np.triu_indices(p)] = products
    full = full + np.swapaxes(np.triu(full, 1), 1, 2)
    own = [
        1 + shard.terms.index(of_class(term, name))
        for term in ("lag_1", classes.LEVEL)
        for name in names
    ]
    a, b = full[:, own][:, :, own], full[:, own, 1]
    bread = np.linalg.inv(a.sum(axis=0))
    scores = b - a @ (bread @ b.sum(axis=0))
    equal = np.eye(len(own))[1 : len(names)] - np.eye(len(own))[0]
    change = bread @ equal.T @ np.linalg.solve(equal @ bread @ equal.T, equal)
    moved = (scores @ bread @ change.T)[:, : len(names)]
    factor = clustered.crv1_factor(len(a), full[:, 0, 0].sum(), len(own))
    return pd.Series(np.sqrt(factor * (moved**2).sum(axis=0)), names)


def order(documents: int, replications: int, draws: int, seed: int) -> None:
    """Print how often the permutation test of lags 1 and 2 rejects, by what the order means."""
    tokens = 100
    random = np.random.default_rng([seed, documents, 7])
    keys = {
        "document": pa.array(np.repeat(np.arange(documents), tokens).astype(str)),
        "window": pa.array(np.zeros(documents * tokens, np.int32)),
        "position": pa.array(np.tile(np.arange(tokens, dtype=np.int32), documents)),
        "token_id": pa.array(np.zeros(documents * tokens, np.int32)),
    }
    keys["document"] = keys["document"].dictionary_encode()
    design = DesignSettings(lags=[1, 2])
    cells = []
    for lag, slope, growth in ((1, 0.0, 0.0), (1, 0.0, np.log(3)), (1, 0.1, 0.0), (3, 0.1, 0.0)):
        y = random.normal(size=(replications, documents, tokens))
        y *= np.exp(growth * np.linspace(0, 1, tokens))
        for t in range(lag, tokens):
            y[..., t] += slope * y[..., t - lag]
        norms = np.exp(y).reshape(replications, -1)
        columns = {f"layer_{layer:04d}": pa.array(own) for layer, own in enumerate(norms)}
        sums = permutation.permuted_products(
            pa.table(keys | columns).to_batches(),
            *(design, {}),
            draws=draws,
            seed=seed,
            fixed_effects=True,
        )
        found = permutation.order_test(sums, alpha=ALPHA, adjust="none").layers
        cells.append(f"{(found['order_p_value'] <= ALPHA).mean():.3f}")
    print(f"| {documents} | {' | '.join(cells)} |", flush=True)


def print_header(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def main(arguments: argparse.Namespace) -> None:
    fewer = max(arguments.replications // SHARE, 2)
    problems = []
    if "single" in arguments.of:
        problems = single(arguments)
    if "unequal" in arguments.of:
        print_header("lags", "told by", "CRV3", "R² by folds", "draws lost")
        for lags in (2, 12):
            unequal(lags, arguments.seed, 500)
    if "classes" in arguments.of:
        print_header("documents", "errors", "slopes", "50%", "30%", "15%", "5%", "rejects")
        for documents in (13, 20, 100):
            for covariance in ("cluster-crv1", "cluster"):
                by_class(documents, 100, covariance, fewer, arguments.seed)
    if "uneven" in arguments.of:
        print_header("documents", "lengths", *COVARIANCES, "median df of CR2")
        for documents in (6, *arguments.documents):
            for lengths in ("equal", "lognormal"):
                uneven(Design(documents, 200, lengths), arguments.replications, arguments.seed)
    several = [(n, lengths) for n in (13, 20, 100) for lengths in ("equal", "lognormal")]
    if "order" in arguments.of:
        print_header("documents", "no order", "variance grows", "lag 1 of 0.1", "lag 3 of 0.1")
        for documents in (13, 20, 100):
            order(documents, arguments.replications // 5, arguments.draws, arguments.seed)
    if "differences" in arguments.of:
        print_header("documents", "lengths", "50%", "30%", "15%", "5%")
        for design in several:
            differences(*design, arguments.replications // 2, arguments.seed)
    if "groups" in arguments.of:
        print_header("documents of a group", "each", "all 13")
        for documents in (6, 10, 20):
            medians_of_groups(documents, fewer, arguments.draws, arguments.seed)
    if "halves" in arguments.of:
        print_header("documents", "tokens", "lengths", "rejected at 5%")
        for n, lengths in several:
            for tokens in (50, 200):
                equal_halves(Design(n, tokens, lengths), arguments.replications, arguments.seed)
    if "medians" in arguments.of:
        print_header("documents", "lengths", "SD of slopes", "basic", "percentile", "both")
        for design in several:
            for spread in (0.0, 0.1):
                medians(*design, spread, arguments.replications, arguments.draws, arguments.seed)
    print(f"\nOver layers: {fewer:,} replications, {arguments.draws} draws.")
    if problems:
        sys.exit("\n".join(problems))


def single(arguments: argparse.Namespace) -> list[str]:
    """Print the table of single coefficients, and return contradictions to theory."""
    header = ["estimator", "tokens", "documents", "lengths", "target", "bias", *COVARIANCES]
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    table = []
    for tokens in arguments.tokens:
        rows = [
            row
            for documents in arguments.documents
            for lengths in ("equal", "lognormal")
            for row in rows_of(
                Design(documents, tokens, lengths), arguments.replications, arguments.seed
            )
        ]
        for estimator in ESTIMATORS:
            print("\n".join(row.line() for row in rows if row.estimator == estimator), flush=True)
        table += rows
    count = arguments.replications
    shares = [f"{(x * (1 - x) / count) ** 0.5:.3f} at {x:.2f}" for x in (0.95, 0.8, 0.5)]
    of_bias = max(row.estimates.std() / count**0.5 for row in table)
    print(
        f"\n{count:,} replications, seed "
        f"{arguments.seed}. Standard errors of the simulation: of a coverage {', '.join(shares)}; "
        f"of a bias at most {of_bias:.3f}."
    )
    return [problem for row in table for problem in surprises(row)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, nargs="+", default=[13, 20, 100], metavar="N")
    parser.add_argument("--tokens", type=int, nargs="+", default=[20, 200], metavar="N")
    parser.add_argument("--replications", type=int, default=2000, metavar="N")
    parser.add_argument("--draws", type=int, default=999, help="of bootstraps and permutations")
    parser.add_argument("--seed", type=int, default=0)
    parts = "single uneven unequal classes differences order medians groups halves".split()
    parser.add_argument("--of", nargs="+", choices=parts, default=parts, help="which tables")
    main(parser.parse_args())
