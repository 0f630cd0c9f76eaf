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
from functools import partial, reduce
from math import floor
from operator import add
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from attnlag.regression.design.design import values_of
from attnlag.regression.estimation.least_squares import Solution, Unfitted
from attnlag.regression.moments.moments import KeptTerms
from attnlag.regression.residuals.omitted_lags import (
    CompleteRows,
    ScoreSums,
    complete_rows,
    sum_scores,
)
from attnlag.regression.terms import is_lag_or_lead, nearest_lag
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
    fixed_effects: bool
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
        if not moments.has_fixed_effects:
            level = beta[0] + moments.centre[1]
        sigma = np.sqrt(solution.ssr / moments.df_resid)
        spread = np.sqrt(slopes @ moments.total[0, 2:, 2:] @ slopes / moments.n_obs)
    return FittedLine(
        layer=moments.layer,
        terms=moments.terms[1:],
        fixed_effects=moments.has_fixed_effects,
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

    @classmethod
    def zero(
        cls, lines: Sequence[FittedLine], hac_lags: int, omitted: Sequence[int]
    ) -> "ResidualSums":
        """Return the sums over no rows."""
        layers = len(lines)
        q = 1 + len(lines[0].terms)
        constants = 0 if lines[0].fixed_effects else 1
        # The scores for the omitted terms have the columns [1, regressors, further lags, square].
        variables = constants + len(lines[0].terms) + len(omitted) + 1
        bins = len(RESIDUAL_EDGES) + 1
        coarse_bins = len(COARSE_EDGES) + 1
        return cls(
            layers=[line.layer for line in lines],
            terms=lines[0].terms,
            omitted=list(omitted),
            hac_lags=hac_lags,
            n=np.zeros(layers, dtype=np.int64),
            effects=np.zeros(layers, dtype=np.int64),
            powers=np.zeros((layers, 4)),
            smallest=np.full(layers, np.inf),
            largest=np.full(layers, -np.inf),
            products=np.zeros((layers, q, q)),
            squares=np.zeros((layers, q)),
            meat=np.zeros((layers, q, q)),
            differences=np.zeros(layers),
            pairs=np.zeros((layers, AUTOCORRELATION_LAGS), dtype=np.int64),
            lagged=np.zeros((layers, AUTOCORRELATION_LAGS)),
            histogram=np.zeros((layers, bins), dtype=np.int64),
            fitted_histogram=np.zeros((layers, coarse_bins, coarse_bins), dtype=np.int64),
            omitted_documents=np.zeros(layers, dtype=np.int64),
            omitted_rows=np.zeros((layers, 2)),
            omitted_products=np.zeros((layers, variables, variables)),
            omitted_scores=np.zeros((layers, variables)),
            omitted_weighted_scores=np.zeros((layers, variables)),
            omitted_meat=np.zeros((layers, variables, variables)),
        )

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
    nothing = ResidualSums.zero(lines, hac_lags, omitted)
    sum_batch = partial(_sum_batch, lines=lines, hac_lags=hac_lags, kept=kept, omitted=omitted)
    # A loop would hold a batch while the next is read.
    return reduce(add, map(sum_batch, filter(len, batches)), nothing)


def _sum_batch(
    batch: pa.RecordBatch,
    lines: Sequence[FittedLine],
    hac_lags: int,
    kept: KeptTerms,
    omitted: Sequence[int],
) -> ResidualSums:
    """Return the sums over a batch of whole documents."""
    sums = ResidualSums.zero(lines, hac_lags, omitted)
    # A term of merged classes is the sum of theirs.
    columns = [kept.get(term, (term,)) for term in ["y", *lines[0].terms]]
    values = np.empty((len(columns), len(batch)))
    layout = None
    for place, line in enumerate(lines):
        if not np.isfinite(line.slopes).all():
            continue
        for row, parts in zip(values, columns, strict=True):
            values_of(batch, Unit(line.layer), parts).sum(axis=0, out=row)
        usable = ~np.isnan(values[0])
        if not usable.any():
            continue
        # Most layers keep the same rows, which are then laid out once.
        if layout is None or not np.array_equal(usable, layout.usable):
            layout = _row_layout(batch, usable, line.terms, sums)
        x = values if usable.all() else values[:, usable]
        _add_layer(sums, place, line, x, layout)
    return sums


@dataclass(frozen=True)
class RowLayout:
    """How the rows of a batch that layers keep lie in its documents and sequences.

    With rows in slots, a shift never crosses the start of a sequence: at least as many empty slots
    as the longest lag separate sequences.
    """

    # (rows of the batch,) bool array: which rows are kept.
    usable: np.ndarray
    # starts, sizes, (documents,) int arrays: first row of each document, and number of its rows.
    starts: np.ndarray
    sizes: np.ndarray
    # row_in_slot, is_row, (slots,) arrays, int and float: the row in each slot, 0 in an empty one;
    # and whether there is one, 1 or 0.
    row_in_slot: np.ndarray
    is_row: np.ndarray
    # The largest distance of rows in a pair.
    max_lag: int
    # (A,) int array: number of pairs of rows at distances 1 to A.
    pairs: np.ndarray
    # The rows whose omitted lags all exist.
    complete: CompleteRows

    def in_slots(self, values: np.ndarray) -> np.ndarray:
        """Return the values of rows, (rows,), in slots, (slots,): 0 in an empty one."""
        return values.take(self.row_in_slot, mode="clip") * self.is_row


def _row_layout(
    batch: pa.RecordBatch, usable: np.ndarray, terms: Sequence[str], sums: ResidualSums
) -> RowLayout:
    """Return how the usable rows of a batch of whole documents lie."""
    max_lag = max(AUTOCORRELATION_LAGS, sums.hac_lags)
    slots = _slots(batch, max_lag)
    end = 1 + slots[-1]
    slots = slots[usable]
    document = batch["document"].indices.to_numpy()[usable]
    starts = np.flatnonzero(np.diff(document, prepend=-1))
    row_in_slot = np.zeros(end, dtype=np.intp)
    row_in_slot[slots] = np.arange(len(slots))
    is_row = np.zeros(end)
    is_row[slots] = 1
    pairs = []
    for lag in range(1, AUTOCORRELATION_LAGS + 1):
        pairs.append(np.count_nonzero(is_row[lag:] * is_row[:-lag]))
    return RowLayout(
        usable=usable,
        starts=starts,
        sizes=np.diff(starts, append=len(document)),
        row_in_slot=row_in_slot,
        is_row=is_row,
        max_lag=max_lag,
        pairs=np.array(pairs),
        complete=complete_rows(terms, sums.omitted, document, slots),
    )


def _slots(batch: pa.RecordBatch, max_lag: int) -> np.ndarray:
    """Assign rows to slots so that at least ``max_lag`` empty slots separate sequences."""
    document = batch["document"].indices.to_numpy()
    window = batch["window"].to_numpy()
    new = (np.diff(document, prepend=-1) != 0) | (np.diff(window, prepend=-1) != 0)
    distance = np.diff(batch["position"].to_numpy(), prepend=0)
    distance[new] = max_lag + 1
    return max_lag - 1 + np.cumsum(np.minimum(distance, max_lag + 1))


def _add_layer(
    sums: ResidualSums, place: int, line: FittedLine, x: np.ndarray, layout: RowLayout
) -> None:
    """Add the rows of one layer, at its ``place``; x, (1 + terms, rows), is overwritten.

    It has y, then the regressors.
    """
    lag_less_mean = np.zeros(0)
    # Where no further lags are tested, linearity is not either.
    if sums.omitted:
        nearest = 1 + line.terms.index(nearest_lag(line.terms))
        lag_less_mean = x[nearest] - line.means[nearest]
    if line.fixed_effects:
        sums.effects[place] = len(layout.starts)
        for values in x:
            means = np.add.reduceat(values, layout.starts) / layout.sizes
            values -= np.repeat(means, layout.sizes)
    else:
        x[1:] -= line.means[1:, None]
    fitted = line.slopes @ x[1:]
    e = x[0] - (fitted + line.level)
    if sums.omitted:
        scores = _scores_of_omitted_terms(line, x, lag_less_mean, e, layout.complete)
        sums.omitted_documents[place] = scores.omitted_documents
        sums.omitted_rows[place] = scores.omitted_rows
        sums.omitted_products[place] = scores.omitted_products
        sums.omitted_scores[place] = scores.omitted_scores
        sums.omitted_weighted_scores[place] = scores.omitted_weighted_scores
        sums.omitted_meat[place] = scores.omitted_meat
    x[0] = 1
    e2 = e * e
    sums.n[place] = len(e)
    sums.powers[place] = [e.sum(), e2.sum(), e2 @ e, e2 @ e2]
    sums.smallest[place] = e.min(initial=np.inf)
    sums.largest[place] = e.max(initial=-np.inf)
    sums.products[place] = x @ x.T
    sums.squares[place] = x @ e2
    _add_histograms(sums, place, line, fitted, e)
    _add_pairs(sums, place, x, e, layout)


def _add_histograms(
    sums: ResidualSums, place: int, line: FittedLine, fitted: np.ndarray, e: np.ndarray
) -> None:
    """Add the histograms of fitted values and residuals, (rows,), of one layer."""
    # The numbers of a perfect fit have no unit.
    sigma = line.sigma if line.sigma > 0 else 1
    unit = line.spread if line.spread > 0 else 1
    scaled = e / sigma
    size = len(COARSE_EDGES) + 1
    cells = _bins(fitted / unit, COARSE_EDGES) * size + _bins(scaled, COARSE_EDGES)
    bins = _bins(scaled, RESIDUAL_EDGES)
    sums.histogram[place] = np.bincount(bins, minlength=len(RESIDUAL_EDGES) + 1)
    counts = np.bincount(cells, minlength=size * size)
    sums.fitted_histogram[place] = counts.reshape(size, size)


def _add_pairs(
    sums: ResidualSums, place: int, x: np.ndarray, e: np.ndarray, layout: RowLayout
) -> None:
    """Add the sums over pairs of neighbouring rows of one layer, given [1, regressors] and e."""
    max_lag = layout.max_lag
    residual = layout.in_slots(e)
    step = residual[1:] - residual[:-1]
    step *= layout.is_row[1:] * layout.is_row[:-1]
    sums.differences[place] = step @ step
    sums.pairs[place] = layout.pairs
    for lag in range(1, AUTOCORRELATION_LAGS + 1):
        sums.lagged[place, lag - 1] = residual[lag:] @ residual[:-lag]

    # With half of the score itself, the sum of weighted earlier ones gives half of the meat.
    scores = np.empty((len(x), len(residual)))
    smoothed = np.empty((len(x), len(residual) - max_lag))
    for values, score, weighted in zip(x, scores, smoothed, strict=True):
        score[:] = layout.in_slots(values * e)
        np.multiply(score[max_lag:], 0.5, out=weighted)
        for lag in range(1, sums.hac_lags + 1):
            weighted += (1 - lag / (sums.hac_lags + 1)) * score[max_lag - lag : -lag]
    half = scores[:, max_lag:] @ smoothed.T
    sums.meat[place] = half + half.T


def _scores_of_omitted_terms(
    line: FittedLine,
    x: np.ndarray,
    nearest_lag: np.ndarray,
    e: np.ndarray,
    complete: CompleteRows,
) -> ScoreSums:
    """Return the sums of the rows whose further lags all exist.

    x, (1 + terms, rows), has y and the regressors, and ``nearest_lag``, (rows,), the nearest lag
    less its overall mean.
    """
    rows = complete.places[0]
    constants = 0 if line.fixed_effects else 1
    further = constants + len(line.terms)
    w = np.ones((further + len(complete.sources) + 1, len(rows)))
    for row, values in zip(w[constants:further], x[1:], strict=True):
        values.take(rows, out=row, mode="clip")
    earlier_rows = zip(w[further:-1], complete.sources, complete.places[1:], strict=True)
    for row, source, earlier in earlier_rows:
        x[source].take(earlier, out=row, mode="clip")
    np.square(nearest_lag.take(rows), out=w[-1])
    is_lag = [False] * constants
    is_lag += map(is_lag_or_lead, line.terms)
    is_lag += [True] * (len(complete.sources) + 1)
    return sum_scores(w, e.take(rows), np.array(is_lag), complete, fixed_effects=line.fixed_effects)


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
