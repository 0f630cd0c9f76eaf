"""Bias of the estimators and coverage of their intervals, where the truth is known.

    python benchmarks/coverage.py                     # minutes; prints a table in Markdown
    python benchmarks/coverage.py --replications 200

Documents have levels of their own and dynamics in common,

    y_t = mu_g + 0.3 y_(t-1) + e_t,   mu_g and e_t standard normal,

and begin in their stationary state. As in the pipeline the first token is dropped, as outcome and
as lag. Regressions on the document's own constant (within) estimate 0.3. The pooled regression
takes the differences between documents for dynamics: it estimates another number, known in closed
form, and its intervals are asked to cover that one.

Documents are of equal length, or the quantiles of a log-normal distribution with sigma 1 and the
same mean. Replications are the layers of one stack, so that the estimates, the errors and the
p-values are those of the pipeline's own code. The exit status is 1 if what theory promises is not
found: Nickell's bias of the within estimator, and nominal coverage of the half-panel jackknife with
long documents.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.regression import bootstrap, crossproducts, inference, least_squares  # noqa: E402

TERMS = ["y", "lag_1"]
LAG = 0.3
EFFECT_SD = 1.0
SIGMA_OF_LENGTHS = 1.0
# Two rows in each half of a document, and the two tokens that give no row.
FEWEST_TOKENS = 6

ALPHA = 0.05
COVARIANCES = {"nonrobust": "nonrobust", "CRV1": "cluster", "CRV3": "cluster-jackknife"}
INTERVALS = [*COVARIANCES, "wild"]

# From so many on, the limits that theory speaks of are near.
MANY_DOCUMENTS = 50
MANY_TOKENS = 200

# Replications that are simulated at once: numbers in one array.
NUMBERS = 2_000_000


@dataclass(frozen=True)
class Design:
    """Documents of a simulation: how many, how long (in tokens, on average), how unequal."""

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
    """Return what the pooled coefficient of lag 1 tends to: (v + 0.3 s) / (v + s).

    v is the variance of the documents' levels mu_g / (1 - 0.3), s = 1 / (1 - 0.3²) that within.
    """
    levels, within = (EFFECT_SD / (1 - LAG)) ** 2, 1 / (1 - LAG**2)
    return (levels + LAG * within) / (levels + within)


def nickell_bias(rows: int) -> float:
    """Return the bias of the within estimator with many documents of so many rows (Nickell 1981).

    With T rows: -(1 + r) / (T - 1) q / (1 - 2 r q / ((1 - r) (T - 1))), where
    q = 1 - (1 - r^T) / (T (1 - r)) and r = 0.3.
    """
    q = 1 - (1 - LAG**rows) / (rows * (1 - LAG))
    return -(1 + LAG) / (rows - 1) * q / (1 - 2 * LAG * q / ((1 - LAG) * (rows - 1)))


ESTIMATORS = {"pooled": pooled_limit(), "within": LAG, "half-panel": LAG}


# --- simulation ----------------------------------------------------------------------------


def simulated(
    rows: np.ndarray, replications: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes and their lags, (rows, replications) each, document after document."""
    starts = np.cumsum(rows) - rows
    order = np.argsort(-rows, kind="stable")  # the documents that go on are the first ones
    y = np.empty((rows.sum(), replications))
    lag = np.empty_like(y)
    effect = random.normal(scale=EFFECT_SD, size=(len(rows), replications))
    now = effect / (1 - LAG) + random.normal(scale=(1 - LAG**2) ** -0.5, size=effect.shape)
    for t in range(rows.max()):
        active = int((rows > t).sum())
        places = starts[order[:active]] + t
        lag[places] = now[:active]
        now = effect[:active] + LAG * now[:active] + random.normal(size=(active, replications))
        y[places] = now
    return y, lag


def products_of(rows: np.ndarray, y: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Return (documents, halves, replications, packed) cross-products of [1, y, lag]."""
    starts = np.cumsum(rows) - rows
    segments = np.stack([starts, starts + (rows + 1) // 2], axis=1).reshape(-1)
    terms = [np.ones_like(y), y, lag]
    sums = [
        np.add.reduceat(terms[i] * terms[j], segments, axis=0)
        for i, j in zip(*np.triu_indices(len(terms)), strict=True)
    ]
    return np.stack(sums, axis=-1).reshape(len(rows), 2, y.shape[1], len(sums))


def blocks_of(design: Design, replications: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the cross-products of some replications after another, until there are enough."""
    rows = design.rows()
    key = [seed, design.documents, design.tokens, design.lengths == "equal"]
    random = np.random.default_rng(key)
    most = max(1, NUMBERS // int(rows.sum()))
    for begun in range(0, replications, most):
        count = min(most, replications - begun)
        yield products_of(rows, *simulated(rows, count, random))


# --- estimates -----------------------------------------------------------------------------


def stack_of(products: np.ndarray, estimator: str) -> crossproducts.Stack:
    """Return a stack whose layers are the replications."""
    halves = 2 if estimator == "half-panel" else 1
    if halves == 1:
        products = products.sum(axis=1, keepdims=True)
    documents, _, replications, _ = products.shape
    p = 1 + len(TERMS)
    totals = crossproducts.Totals.empty(replications, p, halves)
    totals.add(products)
    block = crossproducts.DocumentProducts(
        [f"document {place}" for place in range(documents)], products
    )
    shard = crossproducts.Shard(
        terms=TERMS,
        layers=list(range(replications)),
        halves=halves,
        centre=np.zeros((replications, p)),
        totals=totals,
        batches=lambda: iter([block]),
    )
    return crossproducts.stacked([shard], fixed_effects=estimator != "pooled")


def covered(
    products: np.ndarray, estimator: str, draws: int, first: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the estimates of each replication, and by interval whether it covers the truth.

    The interval of the wild bootstrap is that of the values which its test does not reject: it
    covers the truth if the truth is not rejected. ``first`` is the number of the first
    replication, the seed of its draws.
    """
    truth = ESTIMATORS[estimator]
    stack = stack_of(products, estimator)
    solutions = least_squares.solve_all(stack)
    place = least_squares.names_of(stack).index("lag_1")
    inside = {}
    for name, covariance in COVARIANCES.items():
        fits = inference.fit(stack, covariance, 2, solutions)
        estimates = np.array([fit.estimate[place] for fit in fits])
        errors = np.sqrt([fit.covariance[place, place] for fit in fits])
        reach = stats.t.ppf(1 - ALPHA / 2, [fit.df for fit in fits]) * errors
        inside[name] = np.abs(estimates - truth) <= reach
    p_values = [
        bootstrap.wild_p_values(stack, index, solution, draws, first + index, {"lag_1": truth})
        for index, solution in enumerate(solutions)
    ]
    inside["wild"] = np.array(p_values)[:, place] > ALPHA
    return estimates, inside


# --- report --------------------------------------------------------------------------------


@dataclass
class Row:
    """What the replications of one design say of one estimator."""

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
            *(f"{self.coverage(interval):.3f}" for interval in INTERVALS),
        ]
        return f"| {' | '.join(cells)} |"


def rows_of(design: Design, replications: int, draws: int, seed: int) -> list[Row]:
    """Return a row for each estimator, all from the same replications."""
    found: dict[str, list[tuple[np.ndarray, dict[str, np.ndarray]]]] = {e: [] for e in ESTIMATORS}
    first = 0
    for products in blocks_of(design, replications, seed):
        for estimator, parts in found.items():
            parts.append(covered(products, estimator, draws, first))
        first += products.shape[2]
    return [
        Row(
            design,
            estimator,
            np.concatenate([estimates for estimates, _ in parts]),
            {name: np.concatenate([inside[name] for _, inside in parts]) for name in INTERVALS},
        )
        for estimator, parts in found.items()
    ]


def surprises(row: Row) -> list[str]:
    """Return what contradicts theory beyond the error of the simulation (3 standard errors).

    Many documents of equal length only: theory says little of the others.
    """
    design, count = row.design, len(row.estimates)
    if design.lengths != "equal" or design.documents < MANY_DOCUMENTS:
        return []
    found = []
    if row.estimator == "within":
        expected = nickell_bias(int(design.rows()[0]))
        error = row.estimates.std() / count**0.5
        # Beside Nickell's there is a bias of the order of 1 / all rows.
        if not abs(row.bias - expected) <= 3 * error + 2 / design.rows().sum():
            found.append(f"{row.line()}: expected a bias of {expected:+.4f} ± {3 * error:.4f}")
    if row.estimator == "half-panel" and design.tokens >= MANY_TOKENS:
        error = (ALPHA * (1 - ALPHA) / count) ** 0.5
        for interval in INTERVALS:
            if not abs(row.coverage(interval) - (1 - ALPHA)) <= 3 * error + 0.01:
                found.append(f"{row.line()}: expected coverage {1 - ALPHA:.2f} by {interval}")
    return found


def main(arguments: argparse.Namespace) -> None:
    header = ["estimator", "tokens", "documents", "lengths", "target", "bias", *INTERVALS]
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    table = []
    for tokens in arguments.tokens:
        rows = [
            row
            for documents in arguments.documents
            for lengths in ("equal", "lognormal")
            for row in rows_of(
                Design(documents, tokens, lengths),
                arguments.replications,
                arguments.draws,
                arguments.seed,
            )
        ]
        for estimator in ESTIMATORS:
            print("\n".join(row.line() for row in rows if row.estimator == estimator), flush=True)
        table += rows
    count = arguments.replications
    shares = [f"{(x * (1 - x) / count) ** 0.5:.3f} at {x:.2f}" for x in (0.95, 0.8, 0.5)]
    of_bias = max(row.estimates.std() / count**0.5 for row in table)
    print(
        f"\n{count:,} replications, {arguments.draws} draws of the wild bootstrap, seed "
        f"{arguments.seed}. Standard errors of the simulation: of a coverage {', '.join(shares)}; "
        f"of a bias at most {of_bias:.3f}."
    )
    problems = [problem for row in table for problem in surprises(row)]
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 50, 200], metavar="N")
    parser.add_argument("--tokens", type=int, nargs="+", default=[20, 200], metavar="N")
    parser.add_argument("--replications", type=int, default=2000, metavar="N")
    parser.add_argument("--draws", type=int, default=999, help="of the wild bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
