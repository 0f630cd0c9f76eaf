"""Bootstraps of whole documents, from their cross-products.

There are two. The *cluster bootstrap* draws as many documents as there are, with replacement. Each
draw holds the same documents in all layers, which also gives the distribution of the largest
statistic over the layers. The *wild cluster bootstrap* keeps the documents and multiplies the
residuals of each by a random number; it keeps its level with fewer and more unequal documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.least_squares import LEAST_IDENTIFIED, Solution, names_of
from attnlag.regression.estimation.regress import LayerFit, influences, uncentred
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag

# Weights in one block of draws: 8 MB, whatever the numbers of documents and draws.
NUMBERS_AT_ONCE = 2**20

# With fewer clusters, Rademacher signs give too few distinct draws.
FEWEST_FOR_SIGNS = 12

# The six points of Webb (2023), equally likely.
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))[:, None] * np.array([-1.0, 1.0])


def weights_of_draws(documents: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the multiplicity of each document in each draw, as (block, documents) float64 arrays.

    A draw takes as many documents as there are, with replacement. The draws depend only on the
    number of documents and the seed, not on the size of the blocks.
    """
    random = np.random.default_rng(seed)
    block = max(1, NUMBERS_AT_ONCE // max(documents, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = random.integers(documents, size=(size, documents))
        drawn += documents * np.arange(size)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=size * documents)
        yield counts.reshape(size, documents).astype(np.float64)


@dataclass
class BootstrapFits:
    """Regressions on bootstrap draws of the documents; NaN if one cannot be fitted."""

    # (draws, layers, K) array: on the scale of the data, in the order of `names_of`.
    estimates: np.ndarray
    # (draws, layers, K) array, empty if not asked for: standard errors of CRV1. A document that is
    # drawn twice counts as two clusters.
    errors: np.ndarray


def weighted(
    stack: Stack, solutions: Sequence[Solution], weights: np.ndarray, *, with_errors: bool = False
) -> BootstrapFits:
    """Return regressions with weighted clusters, given (draws, clusters) weights.

    They come from Σ ω_g A_mg and Σ ω_g b_mg for every row ω of the weights, in every layer.
    """
    shape = (len(weights), len(stack.layers), len(names_of(stack)))
    errors = np.full(shape, np.nan)
    regressions = BootstrapFits(np.full(shape, np.nan), errors if with_errors else errors[:0])
    layers, parts, clusters, packed = stack.products.shape
    # All layers and parts at once.
    flat = stack.products.transpose(2, 0, 1, 3).reshape(clusters, layers * parts * packed)
    sums = (weights @ flat).reshape(-1, layers, parts, packed)
    for index, solution in enumerate(solutions):
        if solution.status != "ok":
            continue
        back = uncentred(stack, index) @ solution.back
        of_parts = (solution.equations(sums[:, index, part]) for part in range(parts))
        a, b, _ = map(np.stack, zip(*of_parts, strict=True))
        theta, pieces = solution.solved(a, b)
        regressions.estimates[:, index] = theta @ back.T
        if not stack.fixed_effects:
            regressions.estimates[:, index, 0] += stack.centre[index, 1]
        if with_errors:
            scores: list[Any] = [0] * parts
            for piece in pieces:
                scores[piece.part] += _scores(solution, piece.theta, back @ piece.reach)
            taken = weights @ (stack.products[index, 0, :, 0] > 0.5)
            squares = _weighted_squares(stack.products[index], scores, weights)
            columns = solution.k + (1 + stack.absorbed if solution.absorbed else 0)
            factor = clustered.crv1_factor(taken, sums[:, index, 0, 0], columns)
            regressions.errors[:, index] = np.sqrt(factor[:, None] * squares)
    return regressions


def _scores(solution: Solution, theta: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the linear map from a cluster's packed cross-products to its scores.

    The map has shape (packed, draws, K). The scores are reach (b_g - A_g θ), which is linear in
    the products.
    """
    k = solution.k
    of_a = solution.transform[:, : k * k].reshape(-1, k)
    of_b = solution.transform[:, None, k * k : -1]
    fitted = (of_a @ theta.T).reshape(-1, k, len(theta)).transpose(0, 2, 1)
    return ((of_b - fitted)[:, :, None, :] @ np.swapaxes(reach, -1, -2))[:, :, 0]


def _weighted_squares(
    packed: np.ndarray, scores: Sequence[np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Return Σ ω_g ψ_g², (draws, K), of one layer's (parts, clusters, packed) products."""
    draws, k = scores[0].shape[1:]
    squares = np.empty((draws, k))
    block = max(1, NUMBERS_AT_ONCE // (packed.shape[1] * k))
    for start in range(0, draws, block):
        in_block = slice(start, start + block)
        psi = sum(
            part @ score[:, in_block].reshape(len(score), -1)
            for part, score in zip(packed, scores, strict=True)
        )
        psi = np.square(psi, out=psi).reshape(packed.shape[1], -1, k)
        squares[in_block] = np.einsum("gdk,dg->dk", psi, weights[in_block])
    return squares


def drawn(
    stack: Stack, solutions: Sequence[Solution], draws: int, seed: int, *, with_errors: bool = True
) -> BootstrapFits:
    """Return the regressions on draws of the cluster bootstrap."""
    blocks = weights_of_draws(len(stack.clusters), draws, seed)
    none = BootstrapFits(*np.empty((2, 0, len(stack.layers), len(names_of(stack)))))
    fits = [none]
    fits += (weighted(stack, solutions, block, with_errors=with_errors) for block in blocks)
    return BootstrapFits(
        np.concatenate([fits_of_block.estimates for fits_of_block in fits]),
        np.concatenate([fits_of_block.errors for fits_of_block in fits]),
    )


@dataclass
class Joint:
    """Simultaneous tests of all layers."""

    # By term: the value that max |t| over the layers exceeds in a share alpha of the draws. NaN
    # without draws.
    critical_values: dict[str, float]
    # By layer and term: Romano and Wolf's step-down p-values.
    p_adjusted: pd.Series
    # Number of draws in which every fitted layer could be estimated.
    draws: int


def joint(fits: Sequence[LayerFit], stack: Stack, draws: BootstrapFits, alpha: float) -> Joint:
    """Return critical values and step-down p-values of max |t| over the layers, term by term.

    t* = (b* - b̂) / s* uses the standard error s* of the draw: with few documents, the fixed
    standard error of b̂ would make the largest of many t* too small. s* is CRV1's, times the ratio
    of the reported standard error of b̂ to that of CRV1. The step-down p-values are
    those of Romano and Wolf (2005, 2016): p = (1 + #{max |t*| ≥ |t|}) / (1 + draws), with the
    maximum over the layers whose |t| is no larger.
    """
    names = names_of(stack)
    fitted = [index for index, result in enumerate(fits) if result.status == "ok"]
    keys = pd.MultiIndex.from_product([stack.layers, names], names=["layer", "term"])
    p_adjusted = pd.Series(np.nan, index=keys)
    estimated = np.isfinite(draws.estimates[:, fitted]).all(axis=(1, 2))
    critical = dict.fromkeys(names, float("nan"))
    if not fitted or not estimated.any():
        return Joint(critical, p_adjusted, 0)
    estimate = np.stack([fits[index].estimate for index in fitted])
    error = np.stack([np.sqrt(np.diag(fits[index].covariance)) for index in fitted])
    t = np.abs(estimate / error)
    scale = error / np.stack([fits[index].crv1_errors for index in fitted])
    distance = draws.estimates[estimated][:, fitted] - estimate
    t_drawn = studentised(distance, scale * draws.errors[estimated][:, fitted])
    for place, term in enumerate(names):
        # A coefficient that a single document determines has no error.
        tested = np.flatnonzero(np.isfinite(error[:, place]))
        if not len(tested):
            continue
        drawn_t = t_drawn[:, tested, place]
        critical[term] = critical_value(drawn_t, alpha)
        p = step_down(t[tested, place], drawn_t)
        for layer, value in zip(tested, p, strict=True):
            p_adjusted.loc[(stack.layers[fitted[layer]], term)] = value
    return Joint(critical, p_adjusted, int(estimated.sum()))


def studentised(distance: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return |t*| of draws; infinite in a draw of one document, whose standard error is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(distance) / error
    return np.where(np.isnan(t), np.inf, t)


def critical_value(t: np.ndarray, alpha: float) -> float:
    """Return the value that the largest |t*| of a draw exceeds in a share ``alpha`` of the draws.

    ``t`` is a (draws, tests) array; without draws the result is NaN.
    """
    return float(np.quantile(t.max(axis=1), 1 - alpha, method="higher")) if len(t) else np.nan


def median_interval(
    estimates: np.ndarray, draws: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the medians of (layers, …) estimates, and the ends of their intervals.

    The interval is m ± max(m - q₁, q₂ - m) for the quantiles q of the medians of the draws. The
    median of noisy estimates is biased towards where other layers are near, by as much as its
    error, so that neither the quantiles alone (percentile interval) nor their reflections (basic
    interval) cover at few and at many documents; this interval contains both. ``draws`` are
    (draws, layers, …) estimates in draws of documents; without draws the ends are NaN.
    """
    median = np.median(estimates, axis=0)
    if not len(draws):
        return median, median * np.nan, median * np.nan
    low, high = np.quantile(np.median(draws, axis=1), [alpha / 2, 1 - alpha / 2], axis=0)
    reach = np.maximum(median - low, high - median)
    return median, median - reach, median + reach


def medians_over_layers(
    fits: Sequence[LayerFit], stack: Stack, draws: BootstrapFits, alpha: float
) -> pd.DataFrame:
    """Return the median of each coefficient over the layers, with its interval, by term."""
    fitted = [index for index, result in enumerate(fits) if result.status == "ok"]
    names = names_of(stack)
    columns = ["median", "conf_low", "conf_high", "lowest", "highest"]
    if not fitted:
        return pd.DataFrame(np.nan, index=names, columns=columns)
    of_layers = np.stack([fits[index].estimate for index in fitted])
    estimates = draws.estimates[:, fitted]
    estimates = estimates[np.isfinite(estimates).all(axis=(1, 2))]
    values = [
        *median_interval(of_layers, estimates, alpha),
        of_layers.min(axis=0),
        of_layers.max(axis=0),
    ]
    return pd.DataFrame(dict(zip(columns, values, strict=True)), index=names)


def medians_of_jackknife(
    fits: Sequence[LayerFit],
    names: Sequence[str],
    documents: int,
    *,
    alpha: float,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Return medians over layers as `medians_over_layers`, of many regressions at little cost.

    A draw moves an estimate b by Σ (ω_g - 1) ψ_g, where ψ_g = (b - b₍g₎) √((G - 1) / G) is what
    leaving out document g changes. The variance over draws is then that of the jackknife (CRV3).
    Draws of few documents lack the tails of the t distribution, so they are widened by the ratio of
    its quantile at 0.975 to the normal one.

    Parameters
    ----------
    fits : sequence of LayerFit
        With the estimates without each document.
    names : sequence of str
        Names of the estimates, of which those of lags and leads are used.
    documents : int
        Number of clusters of the stack; with fewer than ``FEWEST_DOCUMENTS`` there are no draws,
        and the ends of the intervals are NaN.
    """
    lags = [place for place, name in enumerate(names) if is_lag(name)]
    fits = [fit for fit in fits if fit.status == "ok"]
    columns = ["median", "median_low", "median_high"]
    index = pd.Index([names[place] for place in lags], name="term")
    if not fits:
        return pd.DataFrame(np.nan, index=index, columns=columns)
    estimates = np.stack([fit.estimate[lags] for fit in fits])
    psi = np.zeros((documents, *estimates.shape))
    for layer, fit in enumerate(fits):
        share = 1 - 1 / max(len(fit.clusters), 1)
        psi[fit.clusters, layer] = np.sqrt(share) * (estimates[layer] - fit.without[:, lags])
    if documents < FEWEST_DOCUMENTS or not np.isfinite(psi).all():
        draws = 0
    wider = special.stdtrit(max(documents - 1, 1), 0.975) / special.ndtri(0.975)
    blocks = weights_of_draws(documents, draws, seed)
    flat = wider * psi.reshape(documents, -1)
    moved = np.concatenate([np.empty((0, flat.shape[1])), *((w - 1) @ flat for w in blocks)])
    drawn = estimates + moved.reshape(-1, *estimates.shape)
    ends = median_interval(estimates, drawn, alpha)
    return pd.DataFrame(dict(zip(columns, ends, strict=True)), index=index)


def step_down(t: np.ndarray, drawn_t: np.ndarray) -> np.ndarray:
    """Return Romano and Wolf's step-down p-values of several tests.

    ``t`` has the absolute statistics, (tests,), and ``drawn_t`` those drawn under the null, (draws,
    tests).
    """
    order = np.argsort(-t, kind="stable")
    # The maximum over each test and all tests with smaller statistics.
    tail = np.maximum.accumulate(drawn_t[:, order[::-1]], axis=1)[:, ::-1]
    exceed = (tail >= t[order]).sum(axis=0)
    p_values = np.empty(len(t))
    p_values[order] = np.maximum.accumulate((1 + exceed) / (1 + len(drawn_t)))
    return p_values


def multipliers(clusters: int, draws: int, seed: int) -> tuple[Iterator[np.ndarray], bool]:
    """Yield (block, clusters) multipliers of residuals.

    With few clusters the multipliers are Webb's six points, otherwise Rademacher signs. If there
    are no more than ``draws`` vectors of signs, each is used once.
    """
    if clusters >= FEWEST_FOR_SIGNS and 2**clusters <= draws:
        return iter([np.array(list(product([-1.0, 1.0], repeat=clusters)))]), True
    random = np.random.default_rng(seed)
    points = WEBB.reshape(-1) if clusters < FEWEST_FOR_SIGNS else np.array([-1.0, 1.0])
    block = max(1, NUMBERS_AT_ONCE // clusters)
    sizes = (min(block, draws - start) for start in range(0, draws, block))
    return (points[random.integers(len(points), size=(n, clusters))] for n in sizes), False


@dataclass
class _Restricted:
    """The regression with one coefficient restricted to its null."""

    # (clusters,) array: contribution of each cluster's residuals to the estimate.
    scores: np.ndarray
    # (clusters, L) array: that of each cluster's residuals to the estimates of all parts, δ.
    shifts: np.ndarray
    # (clusters, L) array: decrease of a cluster's contribution to the estimate per unit of δ.
    slopes: np.ndarray
    # Statistic of the unrestricted regression.
    t: float

    def drawn_t(self, v: np.ndarray) -> np.ndarray:
        """Return |t| of the redrawn outcomes, (draws,), given (draws, clusters) multipliers."""
        delta = v @ self.shifts
        crossed = v @ (self.scores[:, None] * self.slopes)
        variance = v**2 @ self.scores**2 - 2 * (delta * crossed).sum(axis=1)
        variance += ((delta @ (self.slopes.T @ self.slopes)) * delta).sum(axis=1)
        return np.abs(v @ self.scores) / np.sqrt(np.maximum(variance, 0))


def _restricted(
    solution: Solution, packed: np.ndarray, place: int, value: float, psi: np.ndarray
) -> _Restricted:
    """Restrict the coefficient at ``place``; ``psi`` holds the influences of the clusters."""
    row = solution.back[place]  # β = back θ
    moved, restricted = np.zeros((packed.shape[1], solution.k)), solution.theta
    slopes, shifts = [], []
    for piece in solution.pieces:
        a, b, _ = solution.equations(packed[piece.part])
        theta, inverse = piece.theta, piece.inverse
        last = inverse is None
        if inverse is None:
            theta, inverse = restricted, piece.reach
        # The restricted θ_m: minus the change that moves the coefficient to its null, if the part
        # tells it.
        reach = inverse @ row
        move = reach * (row @ theta - value) / max(row @ reach, LEAST_IDENTIFIED * (row @ row))
        restricted = restricted - piece.reach @ a.sum(axis=0) @ move
        score = b - a @ (theta - move)  # s̃_g
        moved += score @ piece.reach.T
        slopes.append(a @ (piece.reach.T @ row))
        shifts.append(moved if last else score @ inverse.T)
    scores = moved @ row
    statistic = row @ solution.theta
    error = np.sqrt(((psi @ row) ** 2).sum())
    return _Restricted(
        scores,
        np.concatenate(shifts, axis=1),
        np.concatenate(slopes, axis=1),
        float(abs(statistic - value) / error),
    )


def wild_p_values(
    stack: Stack,
    index: int,
    solution: Solution,
    draws: int,
    seed: int,
    null: dict[str, float] | None = None,
) -> np.ndarray:
    """Return p-values of the restricted wild cluster bootstrap (WCR) for each term of a layer.

    For each term the model is fitted with the term's coefficient restricted to the null. Outcomes
    are redrawn from that fit with the residuals of each cluster times a random multiplier, and
    |t| with CRV1 errors is compared with its draws (Cameron, Gelbach and Miller 2008; MacKinnon,
    Nielsen and Webb 2023). Everything follows from A_g and the scores s̃_g of the restricted fit:
    δ = A⁻¹ Σ v_g s̃_g is the estimate minus the null, and v_g s̃_g - A_g δ are its scores.

    ``null`` has the coefficients under the null, 0 for terms not in it. The p-value of the
    intercept, which is not of interest in centred data, is NaN.
    """
    names = names_of(stack)
    packed = stack.products[index]
    packed = packed[:, packed[0, :, 0] > 0.5]
    psi, _ = influences(solution, packed)
    held = {
        place: _restricted(solution, packed, place, (null or {}).get(term, 0.0), psi)
        for place, term in enumerate(names)
        if term != "intercept"
    }
    reached, total = dict.fromkeys(held, 0), 0
    blocks, complete = multipliers(packed.shape[1], draws, seed)
    for v in blocks:
        total += len(v)
        for place, null_model in held.items():
            # A statistic that differs from t only by rounding, as with equal signs, reaches it.
            least = null_model.t * (1 - 1e-9)
            reached[place] += int((null_model.drawn_t(v) >= least).sum())
    p_values = np.full(solution.k, np.nan)
    for place, count in reached.items():
        p_values[place] = count / total if complete else (1 + count) / (1 + total)
    return p_values


def record_of(
    joint_tests: Joint, medians: pd.DataFrame, stack: Stack, *, alpha: float, seed: int
) -> dict[str, Any]:
    """Return the content of ``joint.json``; ``medians`` is from `medians_over_layers`."""
    numbers = medians[["median", "conf_low", "conf_high"]].astype(object)
    values = joint_tests.critical_values.items()
    return {
        "alpha": alpha,
        "bins": stack.bins,
        "critical_values": {term: value for term, value in values if value == value},
        "documents": max((stack.count(index) for index in range(len(stack.layers))), default=0),
        "draws": joint_tests.draws,
        "medians": numbers.where(numbers.notna(), None).to_dict("index"),
        "seed": seed,
    }
