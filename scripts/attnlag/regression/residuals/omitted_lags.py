"""Whether lags are too few, or the nearest not linear, from sums over documents of residuals.

The regression is compared with one that has further lags z beside its regressors x: the shortest
ones that it omits. Their scores are Σ_g u_g, where u_g sums, over the rows of document g, an
instrument times the residual e of the regression as it is fitted:

- pooled, the instruments are [1, x, z] themselves;
- under document effects, e loses the mean of the *later* rows of its document, and the lags in x
  and z lose the mean of the *earlier* ones, each weighted by its precision (Hayakawa, Econometric
  Theory 25, 2009: the double-filter instrumental variables estimator). Both would be uncorrelated
  if the lags were enough, whatever the length of documents. With means of whole documents they
  would not: that is Nickell's bias, which a test must not take for order. Other covariates lose the
  mean of the later rows.

With A = Σ instruments [x, z]', the scores of the further lags given x are L u_g,
L = [-A_zx A_xx⁻¹, I]. Their sum S does not depend on the coefficients of x that e is computed with.
It is compared with the spread of the scores over G documents, about zero, as in a score test:
F = (G - q)/q · T/(G - T), T = S' (Σ L u_g u_g' L')⁻¹ S, against F(q, G - q) for q lags, as
Hotelling's T².

The coefficients that the further lags would have are A_zz.x⁻¹ S. Their sum would be 0 if the lags
were enough. Its error is clustered by document, and its degrees of freedom are one less than the
effective number of documents (Σ n_g)² / Σ n_g².

Linearity is tested in the same way and on the same rows: there, z is the square of the nearest lag
less its overall mean, a lag like the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import special

from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.terms import distance, is_lag_or_lead, is_lead

# Number of further lags, at most, and documents that each of them needs: more lags than that cost
# the test its power.
MAX_OMITTED_LAGS = 8
DOCUMENTS_PER_LAG = 3

# A matrix with a larger condition number has lost all precision.
MAX_CONDITION = 1e12


def omitted_lags(terms: Sequence[str], documents: int) -> list[int]:
    """Return the lags that are tested: the shortest that a regression omits.

    There are none with fewer documents than clustered errors need, nor beside leads: a regression
    on later tokens has autocorrelated errors whatever its lags.
    """
    if documents < MIN_DOCUMENTS or any(map(is_lead, filter(is_lag_or_lead, terms))):
        return []
    return shortest_omitted(terms, min(MAX_OMITTED_LAGS, documents // DOCUMENTS_PER_LAG))


def shortest_omitted(terms: Iterable[str], count: int) -> list[int]:
    """Return the shortest lags, in tokens, that are not among the terms of a regression."""
    lags = {distance(term) for term in terms if is_lag_or_lead(term)}
    candidates = range(1, max(lags) + count + 1)
    return [lag for lag in candidates if lag not in lags][:count]


@dataclass(frozen=True)
class CompleteRows:
    """The rows of a batch whose further lags all exist, of layers that keep the same rows.

    They are n of the rows of a layer, in the same order.
    """

    # (1 + q, n) int array: which rows these are, then the row that has each further lag.
    places: np.ndarray
    # (q,) int: which of y, x in that row is the further lag.
    sources: list[int]
    # starts, sizes, (documents,) int arrays: first row of each document, and number of its rows.
    starts: np.ndarray
    sizes: np.ndarray
    # earlier, later, (n,) float arrays: numbers of rows before and after each in its document.
    earlier: np.ndarray
    later: np.ndarray

    @cached_property
    def backward(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights, (n,) each, of a value and of the sum up to it, of `_filter_backward`."""
        share = 1 / np.maximum(self.earlier, 1)
        scale = np.sqrt(self.earlier / (self.earlier + 1))
        return (1 + share) * scale, -share * scale

    @cached_property
    def forward(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights, (n,) each, of a value and of the sum up to it, of `_filter_forward`."""
        share = 1 / np.maximum(self.later, 1)
        scale = np.sqrt(self.later / (self.later + 1))
        return scale, share * scale


def complete_rows(
    terms: Sequence[str], omitted: Sequence[int], document: np.ndarray, slots: np.ndarray
) -> CompleteRows:
    """Return the rows whose further lags all exist.

    The value at a further lag is that of the nearest lag of the regression, or the outcome, of an
    earlier row.

    Parameters
    ----------
    terms : sequence of str
        The regressors x.
    omitted : sequence of int
        The q further lags.
    document : (rows,) int array
        A number for each row, equal in a run of rows.
    slots : (rows,) int array
        Places of the rows, so that a row l tokens earlier in the sequence is l places before.
    """
    place_of_lag = {0: 0}
    for place, term in enumerate(terms, start=1):
        if is_lag_or_lead(term):
            place_of_lag[distance(term)] = place
    row_in_slot = np.full(slots[-1] + 1 if len(slots) else 0, -1)
    row_in_slot[slots] = np.arange(len(slots))
    sources = []
    places = [np.arange(len(slots))]
    for lag in omitted:
        nearest = max(shorter for shorter in place_of_lag if shorter < lag)
        sources.append(place_of_lag[nearest])
        places.append(row_in_slot[slots - (lag - nearest)])
    exist = np.stack(places)
    complete = (exist >= 0).all(axis=0)
    starts = np.flatnonzero(np.diff(document[complete], prepend=-1))
    sizes = np.diff(starts, append=np.count_nonzero(complete))
    earlier = np.arange(len(document[complete])) - np.repeat(starts, sizes)
    later = np.repeat(sizes, sizes) - 1 - earlier
    return CompleteRows(
        places=exist[:, complete],
        sources=sources,
        starts=starts,
        sizes=sizes,
        earlier=earlier.astype(float),
        later=later.astype(float),
    )


class ScoreSums(NamedTuple):
    """Sums over the documents of a layer; w = [1, x, z, s], without the 1 under document effects.

    x has the regressors, z the q further lags and s the square of the nearest lag; K is the number
    of the rows of w before z.
    """

    # n_g is the number of rows of a document whose further lags all exist.
    omitted_documents: np.ndarray  # () int: those with such rows
    omitted_rows: np.ndarray  # (2,): Σ n_g, Σ n_g²
    omitted_products: np.ndarray  # (K + q + 1, K + q + 1): Σ instruments w'
    omitted_scores: np.ndarray  # (K + q + 1,): Σ u_g
    omitted_weighted_scores: np.ndarray  # (K + q + 1,): Σ n_g u_g
    omitted_meat: np.ndarray  # (K + q + 1, K + q + 1): Σ u_g u_g'


def sum_scores(
    w: np.ndarray, e: np.ndarray, is_lag: np.ndarray, rows: CompleteRows, *, fixed_effects: bool
) -> ScoreSums:
    """Return the sums of some documents of one layer.

    ``w`` is (K + q + 1, n), ``e`` has the residuals, (n,), and ``is_lag`` tells which of ``w`` are
    lags. ``fixed_effects`` removes the levels of documents. ``w`` is overwritten.
    """
    instruments = w
    if fixed_effects:
        instruments = np.empty_like(w)
        for place, values in enumerate(w):
            deviations, until = _within_documents(values, rows)
            _filter_forward(deviations, until, rows, out=w[place])
            if is_lag[place]:
                _filter_backward(deviations, until, rows, out=instruments[place])
            else:
                instruments[place] = w[place]
        e = _filter_forward(*_within_documents(e, rows), rows, out=np.empty_like(e))
    scores = np.zeros((len(w), len(rows.starts)))
    if len(rows.starts):
        for place, values in enumerate(instruments):
            scores[place] = np.add.reduceat(values * e, rows.starts)
    return ScoreSums(
        omitted_documents=np.array(np.count_nonzero(rows.sizes > (1 if fixed_effects else 0))),
        omitted_rows=np.array([rows.sizes.sum(), rows.sizes @ rows.sizes], dtype=float),
        omitted_products=instruments @ w.T,
        omitted_scores=scores.sum(axis=1),
        omitted_weighted_scores=scores @ rows.sizes,
        omitted_meat=scores @ scores.T,
    )


def _within_documents(values: np.ndarray, rows: CompleteRows) -> tuple[np.ndarray, np.ndarray]:
    """Return values less the means of documents, and their sums up to each row, (n,) each.

    The sums end at 0 in each document, so that the sum of later values is less that up to a row.
    """
    means = np.zeros(0)
    if len(rows.starts):
        means = np.add.reduceat(values, rows.starts) / rows.sizes
    deviations = values - np.repeat(means, rows.sizes)
    return deviations, np.cumsum(deviations)


def _filter_forward(
    deviations: np.ndarray, until: np.ndarray, rows: CompleteRows, out: np.ndarray
) -> np.ndarray:
    """Subtract the mean of the later rows of its document from each value.

    The result is scaled to the variance of independent values; where there are no such rows, it is
    0.
    """
    own, sums = rows.forward
    np.multiply(deviations, own, out=out)
    out += until * sums
    return out


def _filter_backward(
    deviations: np.ndarray, until: np.ndarray, rows: CompleteRows, out: np.ndarray
) -> np.ndarray:
    """Subtract the mean of the earlier rows of its document from each value, scaled alike."""
    own, sums = rows.backward
    np.multiply(deviations, own, out=out)
    out += until * sums
    return out


class ScoreTest(NamedTuple):
    """The test that regressors have no coefficients beside others, and the sum of these."""

    f: float = np.nan
    df: int = 0
    df_residual: float = np.nan
    p_value: float = np.nan
    sum: float = np.nan
    std_error: float = np.nan
    sum_df: float = np.nan
    # What the coefficients take from the sum of squared residuals: S' A_zz.x⁻¹ S.
    explained: float = np.nan


def further_lags_test(sums: ScoreSums, lags: int) -> ScoreTest:
    """Return the test of the further lags of a layer, given their number; NaN if it has none."""
    regressors = len(sums.omitted_scores) - lags - 1
    return _score_test(sums, regressors, np.arange(regressors, regressors + lags))


def linearity_test(sums: ScoreSums, lags: int) -> ScoreTest:
    """Return the test of the square of the nearest lag; NaN if no further ``lags`` are tested."""
    if not lags:
        return ScoreTest()
    last = len(sums.omitted_scores) - 1
    return _score_test(sums, last - lags, np.array([last]))


def _score_test(sums: ScoreSums, regressors: int, tested: np.ndarray) -> ScoreTest:
    """Return the test of some rows of w beside the first, which are the regressors.

    There is no test if they are collinear with the regressors, or documents as few as they are.
    """
    documents = int(sums.omitted_documents)
    count = len(tested)
    if not count or documents <= count:
        return ScoreTest()
    rows = np.concatenate([np.arange(regressors), tested])
    a = sums.omitted_products[np.ix_(rows, rows)]
    k = regressors
    scale = np.sqrt(np.abs(np.diag(a)))
    if not (scale > 0).all() or np.linalg.cond(a / np.outer(scale, scale)) > MAX_CONDITION:
        return ScoreTest()
    given_x = np.hstack([-np.linalg.solve(a[:k, :k].T, a[k:, :k].T).T, np.eye(count)])
    score = given_x @ sums.omitted_scores[rows]
    meat = given_x @ sums.omitted_meat[np.ix_(rows, rows)] @ given_x.T
    if not np.linalg.cond(meat) <= MAX_CONDITION:
        return ScoreTest()
    distance_from_zero = score @ np.linalg.solve(meat, score)
    ratio = distance_from_zero / (documents - distance_from_zero)
    f = (documents - count) / count * ratio

    # Documents of n_g rows have n_g / Σ n of the sum of scores, and deviate from that.
    row_sum, square_sum = sums.omitted_rows
    concentration = square_sum / row_sum**2
    weighted_scores = given_x @ sums.omitted_weighted_scores[rows] / row_sum
    weighted = np.outer(weighted_scores, score)
    spread = meat - weighted - weighted.T + concentration * np.outer(score, score)
    given_all = given_x @ a[:, k:]
    total = np.linalg.solve(given_all.T, np.ones(count))
    return ScoreTest(
        f=f,
        df=count,
        df_residual=documents - count,
        p_value=float(special.fdtrc(count, documents - count, f)),
        sum=float(total @ score),
        std_error=float(np.sqrt(total @ spread @ total / (1 - concentration))),
        sum_df=1 / concentration - 1,
        explained=float(score @ np.linalg.solve(given_all, score)),
    )
