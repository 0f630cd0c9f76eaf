"""Ridge regression from cross-products, and the choice of its penalty by cross-validation."""

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import scipy.linalg

from attnlag.regression.beyond.vector_products import PairSums

# Number of random directions in which the errors of penalties are compared.
DIRECTIONS = 32


def ridge(xx: np.ndarray, xy: np.ndarray, penalty: float) -> np.ndarray:
    """Return the coefficients of a ridge regression from centred cross-products.

    Parameters
    ----------
    xx, xy : (p, p) and (p, c) arrays
        Their precision is that of the result.
    penalty : float
        In units of the mean of the diagonal of xx.
    """
    # LAPACK takes this order of elements without another copy. Its numbers are near one, because
    # single precision cannot hold the squares of very small ones.
    scale = float(np.trace(xx, dtype=np.float64)) / len(xx) or 1.0
    penalised, xy = np.divide(xx.T, scale, order="F"), xy / scale
    penalised[np.diag_indices(len(xx))] += penalty
    try:
        factor = scipy.linalg.cho_factor(
            penalised, lower=True, overwrite_a=True, check_finite=False
        )
    except np.linalg.LinAlgError:
        # With fewer rows than predictors, variances of zero may be negative by rounding.
        variances, axes = scipy.linalg.eigh(xx / scale, check_finite=False)
        return axes @ ((axes.T @ xy) / (np.maximum(variances, 0) + penalty)[:, None])
    return scipy.linalg.cho_solve(factor, xy, check_finite=False)


def chosen_penalties(
    outcomes: Sequence[Sequence[PairSums]], penalties: Sequence[float]
) -> np.ndarray:
    """Return the penalty for each set of outcomes and each fold, (sets, folds).

    The penalty of a fold is chosen by cross-validation among the other folds: the largest whose
    error is within one standard error of the smallest error. The standard error is that of the
    difference over the folds, because the difficulty of a fold is common to all penalties. Errors
    are unbiased estimates from random directions of the outcome (Hutchinson), which take a small
    fraction of the time of all directions.

    ``outcomes`` has the sums over each fold, for outcomes that share their predictors.
    """
    count = len(outcomes[0])
    if len(penalties) == 1:
        return np.full((len(outcomes), count), penalties[0])
    c, tried = len(outcomes[0][0].y), len(penalties)
    sketch = np.eye(c, dtype=outcomes[0][0].xy.dtype)
    if c > DIRECTIONS:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (c, DIRECTIONS))
        sketch = (signs / np.sqrt(DIRECTIONS)).astype(sketch.dtype)
    # All sets of outcomes side by side: they share the sums of their predictors.
    folds = [
        replace(
            of_fold[0],
            y=np.concatenate([sums.y @ sketch for sums in of_fold]),
            xy=np.concatenate([sums.xy @ sketch for sums in of_fold], axis=1),
        )
        for of_fold in zip(*outcomes, strict=True)
    ]
    total = sum_of(folds)
    errors = np.full((len(outcomes), count, count, tried), np.nan)
    for first, second in combinations(range(count), 2):
        fitted = total - folds[first] - folds[second]
        xx, xy = fitted.centred()
        x, y = fitted.means
        every = np.concatenate([ridge(xx, xy, penalty) for penalty in penalties], axis=1)
        for unseen, left_out in ((first, second), (second, first)):
            sums = folds[unseen]
            repeated = replace(sums, y=np.tile(sums.y, tried), xy=np.tile(sums.xy, tried))
            excess = repeated.excess(every, x, np.tile(y, tried))
            error = sums.yy + excess.reshape(tried, len(outcomes), -1).sum(axis=2)
            by_element = y * (sums.n * y - 2 * sums.y)
            error /= sums.yy + by_element.reshape(len(outcomes), -1).sum(axis=1)
            errors[:, left_out, unseen] = error.T
    penalty_of = np.empty((len(outcomes), count))
    for kind, fold in np.ndindex(penalty_of.shape):
        # The errors of the other folds, each predicted without this one.
        unseen_errors = np.delete(errors[kind, fold], fold, axis=0)
        excess = unseen_errors - unseen_errors[:, [unseen_errors.mean(axis=0).argmin()]]
        error = excess.std(axis=0, ddof=1) / np.sqrt(len(excess))
        penalty_of[kind, fold] = np.asarray(penalties)[excess.mean(axis=0) <= error].max()
    return penalty_of


def median_penalty(penalties: np.ndarray) -> float:
    """Return the median penalty, the smaller of the two middle ones."""
    return float(np.quantile(penalties, 0.5, method="lower"))


def r_squared_of_products(folds: Sequence[PairSums], penalties: np.ndarray) -> tuple[float, float]:
    """Return the median penalty and the R² in unseen documents, from cross-products alone.

    There is a penalty for each fold.
    """
    total, sse, sst = sum_of(folds), 0.0, 0.0
    for sums, penalty in zip(folds, penalties, strict=True):
        fitted = total - sums
        sse += sums.error(ridge(*fitted.centred(), penalty), *fitted.means)
        sst += sums.variation(fitted.means[1])
    return median_penalty(penalties), 1 - sse / sst


def can_be_fitted(folds: Sequence[PairSums], penalties: Sequence[float]) -> bool:
    """Return whether there are enough folds with rows and the vectors vary.

    A fold is predicted from the others, and the choice of a penalty leaves out one more.
    """
    enough = len(folds) >= (2 if len(penalties) == 1 else 3)
    return enough and participation_ratio(sum_of(folds)) > 0


def participation_ratio(total: PairSums) -> float:
    """Return (Σ s)² / Σ s² of the variances s along the principal axes of the nearest predictor."""
    c = len(total.y)
    covariance = total.centred()[0][:c, :c]
    squares = float(np.vdot(covariance, covariance))
    return float(np.trace(covariance)) ** 2 / squares if squares > 0 else np.nan


def sum_of(folds: Sequence[PairSums]) -> PairSums:
    """Return the sums over all folds."""
    return functools.reduce(operator.add, folds)
