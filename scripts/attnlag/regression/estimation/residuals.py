"""Residuals in a second pass over a design, for statistics that cross-products cannot give.

The pass gives sums over the residuals e = y - X b: covariances that allow for autocorrelation,
tests of the residuals and their distribution. The sums of shards add up, and the results do not
depend on the bounds of batches or shards.

A sequence is one window of one document. Lagged quantities never cross its start; values before it
count as zero. A row inside a sequence that the layer drops, or that is missing, counts as zero
too, which preserves the distances between the other rows.

Under document effects, the means over the rows of a document are subtracted from y and the
regressors, layer by layer. The covariances are then those of the slopes in the regression with a
dummy for each document (Frisch, Waugh and Lovell).
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from math import floor
from operator import add
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from attnlag.regression.design.design import values_of
from attnlag.regression.estimation.least_squares import Solution, Unfitted
from attnlag.regression.estimation.moments import KeptTerms
from attnlag.regression.estimation.omitted_lags import ScoreSums, sum_scores
from attnlag.regression.terms import distance, is_lag_or_lead, nearest_lag
from attnlag.regression.units import Unit
from attnlag.storage import tables
from attnlag.storage.sums import Sums

AUTOCORRELATION_LAGS = 20

# Edges of the histograms, in standard deviations; one bin below and one above hold the rest.
RESIDUAL_EDGES = np.linspace(-10, 10, 4001)
COARSE_EDGES = np.linspace(-5, 5, 101)


class FittedLine(NamedTuple):
    """The fitted line of a layer; its slopes, sigma and spread are NaN if it is not fitted."""

    layer: int
    terms: list[str]  # the regressors, without the intercept
    document_effects: bool
    rows: int
    slopes: np.ndarray  # (terms,)
    level: float  # fitted value at the overall means, 0 under document effects
    means: np.ndarray  # (1 + terms,): overall means of y and the regressors
    # sigma, spread: standard deviations of the residuals and of the fitted values, the units of
    # their histograms.
    sigma: float
    spread: float


def fitted_line(solution: Solution | Unfitted) -> FittedLine:
    """Return what the pass needs of the solution of a layer."""
    moments = solution.moments
    slopes = np.full(len(moments.terms) - 1, np.nan)
    level = 0.0
    sigma = np.nan
    spread = np.nan
    if isinstance(solution, Solution):
        beta = solution.unwhiten @ solution.theta
        slopes = beta[-len(slopes) :]
        if not moments.within:
            level = beta[0] + moments.centre[1]
        sigma = np.sqrt(solution.ssr / moments.df_resid)
        spread = np.sqrt(slopes @ moments.total[0, 2:, 2:] @ slopes / moments.n_obs)
    return FittedLine(
        layer=moments.layer,
        terms=moments.terms[1:],
        document_effects=moments.within,
        rows=moments.n_obs,
        slopes=slopes,
        level=level,
        means=moments.centre[1:],
        sigma=sigma,
        spread=spread,
    )


@dataclass
class ResidualSums(Sums):
    """Sums over the rows of each layer. All sums are 0 for a layer that is not fitted.

    x is [1, regressors], less their overall means or, under document effects, those of their
    document, and q its length. A = ``AUTOCORRELATION_LAGS``.
    """

    # The regressors.
    terms: list[str]
    # Further lags; the fields ``omitted_…``, a row per layer, are their `ScoreSums`.
    omitted: list[int]
    hac_lags: int
    # (layers,) int64 array: number of rows.
    n: np.ndarray
    # (layers,) int64 array: number of documents whose mean was removed; 0 without document effects.
    effects: np.ndarray
    # (layers, 4) float64 array: Σ e, Σ e², Σ e³, Σ e⁴.
    powers: np.ndarray
    # smallest, largest, (layers,) float64 array: extremes of e; ∞ and -∞ without rows.
    smallest: np.ndarray
    largest: np.ndarray
    # (layers, q, q) float64 array: Σ x x'.
    products: np.ndarray
    # (layers, q) float64 array: Σ x e².
    squares: np.ndarray
    # (layers, q, q) float64 array: Σ s_t s_t' + Σ_l w_l Σ_t (s_t s_t₋l' + s_t₋l s_t') with s = x e
    # and w_l = 1 - l / (``hac_lags`` + 1).
    meat: np.ndarray
    # (layers,) float64 array: Σ (e_t - e_t₋₁)² over neighbours.
    differences: np.ndarray
    # pairs, lagged, (layers, A) arrays, int64 and float64: number of pairs of rows at distances 1
    # to A, and Σ e_t e_t₋l over them.
    pairs: np.ndarray
    lagged: np.ndarray
    # (layers, len(RESIDUAL_EDGES) + 1) int64 array: histogram of e / sigma.
    histogram: np.ndarray
    # (layers, len(COARSE_EDGES) + 1, len(COARSE_EDGES) + 1) int64 array: joint histogram of the
    # fitted values (first axis) and e / sigma (second axis).
    fitted_histogram: np.ndarray
    omitted_documents: np.ndarray
    omitted_rows: np.ndarray
    omitted_products: np.ndarray
    omitted_scores: np.ndarray
    omitted_weighted_scores: np.ndarray
    omitted_meat: np.ndarray

    def score_sums(self, place: int) -> ScoreSums:
        """Return the sums of a layer for the test of the further lags."""
        return ScoreSums(
            omitted_documents=self.omitted_documents[place],
            omitted_rows=self.omitted_rows[place],
            omitted_products=self.omitted_products[place],
            omitted_scores=self.omitted_scores[place],
            omitted_weighted_scores=self.omitted_weighted_scores[place],
            omitted_meat=self.omitted_meat[place],
        )

    def __add__(self, other: "ResidualSums") -> "ResidualSums":
        return replace(
            super().__add__(other),
            smallest=np.minimum(self.smallest, other.smallest),
            largest=np.maximum(self.largest, other.largest),
        )


def default_hac_lags(rows: float) -> int:
    """Return floor(4 (T / 100)^(2/9)), the lags of Newey-West errors for sequences of T rows.

    This is the rule of Wooldridge, Introductory Econometrics, chapter 12, and of EViews. The rate
    is that of the lag selection parameter of Newey and West, Review of Economic Studies 61 (1994),
    for the Bartlett kernel.
    """
    return floor(4 * (rows / 100) ** (2 / 9))


def sum_residuals(
    batches: Iterable[pa.RecordBatch],
    lines: Sequence[FittedLine],
    hac_lags: int,
    kept: KeptTerms = MappingProxyType({}),
    omitted: Sequence[int] = (),
) -> ResidualSums:
    """Sum over the residuals of a design in a single pass, in batches of whole documents.

    With 0 lags, Newey-West errors allow for heteroskedasticity alone. ``omitted`` are the further
    lags that are tested.
    """
    max_lag = max(AUTOCORRELATION_LAGS, hac_lags)
    terms = ["y", *lines[0].terms]
    # Where no further lags are tested, linearity is not either.
    nearest = terms.index(nearest_lag(terms)) if omitted else 0
    no_rows = Rows(
        x=np.zeros((len(terms), 0)),
        nearest_lag=np.zeros(0),
        document=np.zeros(0, np.intp),
        slots=np.zeros(0, np.intp),
        end=max_lag,
    )
    empty = [_sum_layer(line, hac_lags, omitted, no_rows) for line in lines]

    def sum_batch(batch: pa.RecordBatch) -> ResidualSums:
        documents, first_rows = tables.runs(batch)
        document = np.repeat(np.arange(len(documents)), np.diff(first_rows, append=len(batch)))
        slots = _slots(batch, max_lag)
        sums = [*empty]
        for place, line in enumerate(lines):
            if not np.isfinite(line.slopes).all():
                continue
            x = np.empty((len(terms), len(batch)))
            for row, term in zip(x, terms, strict=True):
                # A term of merged classes is the sum of theirs.
                parts = values_of(batch, Unit(line.layer), kept.get(term, (term,)))
                parts.sum(axis=0, out=row)
            usable = np.flatnonzero(~np.isnan(x[0]))
            x = x.take(usable, axis=1)
            nearest_lag_less_mean = x[nearest] - line.means[nearest]
            effects = 0
            if line.document_effects:
                starts = np.flatnonzero(np.diff(document[usable], prepend=-1))
                sizes = np.diff(starts, append=len(usable))
                effects = len(starts)
                x -= np.repeat(np.add.reduceat(x, starts, axis=1) / sizes, sizes, axis=1)
            else:
                x[1:] -= line.means[1:, None]
            rows = Rows(
                x=x,
                nearest_lag=nearest_lag_less_mean,
                document=document[usable],
                slots=slots[usable],
                end=1 + slots[-1],
            )
            own = _sum_layer(line, hac_lags, omitted, rows)
            sums[place] = own | {"effects": effects}
        return _stacked(lines, hac_lags, omitted, sums)

    # A loop would hold a batch while the next is read.
    batch_sums = map(sum_batch, filter(len, batches))
    return reduce(add, batch_sums, _stacked(lines, hac_lags, omitted, empty))


def _stacked(
    lines: Sequence[FittedLine],
    hac_lags: int,
    omitted: Sequence[int],
    sums_of_layers: list[dict[str, Any]],
) -> ResidualSums:
    """Return the sums of all layers, given those of each."""
    arrays = {}
    for name in sums_of_layers[0]:
        arrays[name] = np.stack([sums[name] for sums in sums_of_layers])
    layers = [line.layer for line in lines]
    return ResidualSums(
        layers=layers, terms=lines[0].terms, omitted=list(omitted), hac_lags=hac_lags, **arrays
    )


def _slots(batch: pa.RecordBatch, max_lag: int) -> np.ndarray:
    """Assign rows to slots so that at least ``max_lag`` empty slots separate sequences."""
    document = batch["document"].indices.to_numpy()
    window = batch["window"].to_numpy()
    new = (np.diff(document, prepend=-1) != 0) | (np.diff(window, prepend=-1) != 0)
    distance = np.diff(batch["position"].to_numpy(), prepend=0)
    distance[new] = max_lag + 1
    return max_lag - 1 + np.cumsum(np.minimum(distance, max_lag + 1))


class Rows(NamedTuple):
    """The rows of a batch that a layer keeps."""

    x: np.ndarray  # (1 + terms, rows): y, then the regressors, both centred
    nearest_lag: np.ndarray  # (rows,): the nearest lag less its overall mean
    document: np.ndarray  # (rows,): the number of the document
    slots: np.ndarray  # (rows,): the slot, before ``end``
    end: int


def _sum_layer(
    line: FittedLine, hac_lags: int, omitted: Sequence[int], rows: Rows
) -> dict[str, Any]:
    """Return the sums over the rows of one layer; ``rows.x`` is overwritten."""
    x = rows.x
    slots = rows.slots
    end = rows.end
    fitted = line.slopes @ x[1:]
    e = x[0] - (fitted + line.level)
    score_sums = _scores_of_omitted_lags(line, omitted, rows, e)
    x[0] = 1
    e2 = e * e
    s = x * e
    # The numbers of a perfect fit have no unit.
    sigma = line.sigma if line.sigma > 0 else 1
    unit = line.spread if line.spread > 0 else 1
    bins = _bins(e / sigma, RESIDUAL_EDGES)
    size = len(COARSE_EDGES) + 1
    cells = _bins(fitted / unit, COARSE_EDGES) * size + _bins(e / sigma, COARSE_EDGES)

    # With rows in slots, a shift never crosses the start of a sequence. A slot without a row holds
    # zeros; the others hold 1, e, and the scores x e.
    max_lag = max(AUTOCORRELATION_LAGS, hac_lags)
    placed = np.zeros((2 + len(s), end))
    placed[:, slots] = np.stack([x[0], e, *s])
    present = placed[:, max_lag:]
    is_row = placed[0] != 0
    past = [placed[:, max_lag - lag : -lag] for lag in range(1, max_lag + 1)]
    step = (present[1] - past[0][1]) * present[0] * past[0][0]
    meat = s @ s.T
    for lag in range(1, hac_lags + 1):
        cross = present[2:] @ past[lag - 1][2:].T
        meat += (1 - lag / (hac_lags + 1)) * (cross + cross.T)
    pairs = []
    lagged = []
    for lag in range(1, AUTOCORRELATION_LAGS + 1):
        pairs.append(np.count_nonzero(is_row[max_lag:] & is_row[max_lag - lag : -lag]))
        lagged.append(present[1] @ past[lag - 1][1])
    return {
        "n": len(e),
        "effects": 0,
        "powers": np.array([e.sum(), e2.sum(), e2 @ e, e2 @ e2]),
        "smallest": e.min(initial=np.inf),
        "largest": e.max(initial=-np.inf),
        "products": x @ x.T,
        "squares": x @ e2,
        "meat": meat,
        "differences": step @ step,
        "pairs": pairs,
        "lagged": lagged,
        "histogram": np.bincount(bins, minlength=len(RESIDUAL_EDGES) + 1),
        "fitted_histogram": np.bincount(cells, minlength=size * size).reshape(size, size),
        **score_sums._asdict(),
    }


def _scores_of_omitted_lags(
    line: FittedLine, omitted: Sequence[int], rows: Rows, e: np.ndarray
) -> ScoreSums:
    """Return the sums of the rows whose further lags all exist; ``e`` has all residuals.

    The value at a further lag is that of the nearest lag of the regression, or the outcome, of an
    earlier row.
    """
    place_of_lag = {0: 0}
    for place, term in enumerate(line.terms, start=1):
        if is_lag_or_lead(term):
            place_of_lag[distance(term)] = place
    row_in_slot = np.full(rows.end, -1)
    row_in_slot[rows.slots] = np.arange(len(rows.slots))
    # For each further lag, the term that has it in an earlier row, and that row.
    sources = []
    complete = np.ones(len(rows.slots), dtype=bool)
    for lag in omitted:
        nearest = max(shorter for shorter in place_of_lag if shorter < lag)
        earlier = row_in_slot[rows.slots - (lag - nearest)]
        complete &= earlier >= 0
        sources.append((place_of_lag[nearest], earlier))
    further = [rows.x[place, earlier[complete]] for place, earlier in sources]
    square = rows.nearest_lag[complete] ** 2
    constant = []
    if not line.document_effects:
        constant = [np.ones(len(square))]
    is_lag = [False] * len(constant)
    is_lag += map(is_lag_or_lead, line.terms)
    is_lag += [True] * (len(further) + 1)
    return sum_scores(
        np.stack([*constant, *rows.x[1:, complete], *further, square]),
        e[complete],
        rows.document[complete],
        np.array(is_lag),
        effects=line.document_effects,
    )


def _bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bins of values in an even grid: 0 below it, ``len(edges)`` above it."""
    scale = (len(edges) - 1) / (edges[-1] - edges[0])
    return np.clip((values - edges[0]) * scale + 1, 0, len(edges)).astype(np.intp)


def sums_of_shards(
    designs: Sequence[Path],
    lines: Sequence[FittedLine],
    hac_lags: int,
    threads: int,
    kept: KeptTerms,
    omitted: Sequence[int] = (),
) -> ResidualSums:
    """Return the sums over the designs of all shards, reading several shards concurrently.

    Each thread has one batch in memory. The sums do not depend on the number of threads.
    """

    def sums_of(design: Path) -> ResidualSums:
        batches = tables.documents(design, "residuals")
        return sum_residuals(batches, lines, hac_lags, kept, omitted)

    with ThreadPoolExecutor(threads) as pool:
        sums = reduce(add, pool.map(sums_of, designs))
    # Arrow would otherwise keep the memory of the rows while layers are fitted.
    pa.default_memory_pool().release_unused()
    return sums


def robust_meat(sums: ResidualSums) -> np.ndarray:
    """Return the middle of the covariance that allows for autocorrelation, (layers, K, K).

    With N rows, K coefficients and D document effects, the covariance of the coefficients is
    N/(N - K - D) A⁻¹ M A⁻¹, with the M of Newey and West (1987) summed over sequences, as
    ``hac-panel`` of statsmodels with its default correction. The middle is N/(N - K - D) M; 0 for a
    layer that is not fitted.
    """
    # Document effects absorb the constant.
    meat = sums.meat[:, 1:, 1:] if sums.effects.any() else sums.meat
    freedom = sums.n - sums.effects - meat.shape[-1]
    return meat * (sums.n / freedom)[:, None, None]
