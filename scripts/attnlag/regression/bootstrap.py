"""Bootstraps of whole documents, from their cross-products.

There are two. In the *cluster bootstrap*, a draw takes as many documents as there are, with
replacement, the same ones for all layers, so that the largest statistic over the layers can be
drawn too. In the *wild cluster bootstrap* the documents stay and their residuals are multiplied by
a random number each; it keeps its level with fewer and less equal documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from attnlag.regression.crossproducts import Stack
from attnlag.regression.inference import Fit, influences
from attnlag.regression.least_squares import Solution, names_of, part_inverses

# Numbers in one block of draws: 8 MB of weights, whatever the number of documents and draws.
NUMBERS_AT_ONCE = 2**20

# With fewer clusters, two signs have too few different draws.
FEWEST_FOR_SIGNS = 12

# The six points of Webb (2023), equally likely.
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))[:, None] * np.array([-1.0, 1.0])


def weights_of_draws(documents: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each document is in each draw, as (block, documents) float64 arrays.

    A draw takes as many documents as there are, with replacement. The draws depend on the
    number of documents and the seed only, not on the size of the blocks.
    """
    random = np.random.default_rng(seed)
    block = max(1, NUMBERS_AT_ONCE // max(documents, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = random.integers(documents, size=(size, documents))
        drawn += documents * np.arange(size)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=size * documents)
        yield counts.reshape(size, documents).astype(np.float64)


def weighted(stack: Stack, solutions: Sequence[Solution], weights: np.ndarray) -> np.ndarray:
    """Return the estimates of regressions that count each cluster as often as its weight says.

    b* = Σ λ_m (Σ ω_g A_mg)⁻¹ Σ ω_g b_mg for every row ω of the weights, in every layer.

    Parameters
    ----------
    stack : Stack
    solutions : sequence of Solution
    weights : (draws, clusters) float array

    Returns
    -------
    estimates : (draws, layers, K) float array
        On the scale of the data, in the order of `names_of`; NaN where a regression cannot be
        fitted.
    """
    return _weighted(stack, solutions, weights, with_errors=False).estimates


@dataclass
class Draws:
    """Regressions of redrawn documents.

    Attributes
    ----------
    estimates, errors : (draws, layers, K) float arrays
        Estimates and their CRV1 standard errors; a document that is drawn twice is two clusters.
        NaN where a regression cannot be fitted.
    """

    estimates: np.ndarray
    errors: np.ndarray


def _weighted(
    stack: Stack, solutions: Sequence[Solution], weights: np.ndarray, *, with_errors: bool
) -> Draws:
    shape = (len(weights), len(stack.layers), len(names_of(stack)))
    found = Draws(np.full(shape, np.nan), np.full(shape if with_errors else (0, 0, 0), np.nan))
    layers, parts, clusters, packed = stack.products.shape
    # All layers and parts at once.
    flat = stack.products.transpose(2, 0, 1, 3).reshape(clusters, layers * parts * packed)
    sums = (weights @ flat).reshape(-1, layers, parts, packed)
    for index, solution in enumerate(solutions):
        if solution.status != "ok":
            continue
        k = solution.k
        back = solution.back
        if not stack.fixed_effects:
            uncentre = np.eye(k)
            uncentre[0, 1:] = -stack.centre[index, 2:]
            back = uncentre @ back
        beta = np.zeros((len(weights), k))
        scores = []
        whole = solution.equations(stack.totals[index])[0]
        for m in range(len(whole)):
            a, b, _ = solution.equations(sums[:, index, m])
            inverse = part_inverses(solution, m, a, whole[m])
            reach = back @ solution.combine[m] @ inverse
            beta += (reach @ b[..., None])[..., 0]
            if with_errors:
                theta = (inverse @ b[..., None])[..., 0]
                scores.append(_scores(solution, theta, reach))
        if not stack.fixed_effects:
            beta[:, 0] += stack.centre[index, 1]
        found.estimates[:, index] = beta
        if with_errors:
            rows = sums[:, index, 0, 0]
            level = 1 if solution.absorbed else 0
            taken = weights @ (stack.products[index, 0, :, 0] > 0.5)
            squares = _weighted_squares(stack.products[index], scores, weights)
            with np.errstate(divide="ignore", invalid="ignore"):
                factor = taken / (taken - 1) * (rows - 1) / (rows - k - level)
                found.errors[:, index] = np.sqrt(factor[:, None] * squares)
    return found


def _scores(solution: Solution, theta: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return what takes packed cross-products of a cluster to its scores: (packed, draws, K).

    The scores are those of coefficients, reach (b_g - A_g θ), which is linear in the products.
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
        chosen = slice(start, start + block)
        psi = sum(
            part @ score[:, chosen].reshape(len(score), -1)
            for part, score in zip(packed, scores, strict=True)
        )
        psi = np.square(psi, out=psi).reshape(packed.shape[1], -1, k)
        squares[chosen] = np.einsum("gdk,dg->dk", psi, weights[chosen])
    return squares


def drawn(stack: Stack, solutions: Sequence[Solution], draws: int, seed: int) -> np.ndarray:
    """Return the estimates in each draw of the cluster bootstrap: (draws, layers, K)."""
    shape = (0, len(stack.layers), len(names_of(stack)))
    blocks = weights_of_draws(len(stack.clusters), draws, seed)
    return np.concatenate(
        [np.empty(shape), *(weighted(stack, solutions, weights) for weights in blocks)]
    )


def drawn_with_errors(stack: Stack, solutions: Sequence[Solution], draws: int, seed: int) -> Draws:
    """Return the estimates in each draw of the cluster bootstrap, and their standard errors."""
    shape = (0, len(stack.layers), len(names_of(stack)))
    parts = [
        Draws(np.empty(shape), np.empty(shape)),
        *(
            _weighted(stack, solutions, weights, with_errors=True)
            for weights in weights_of_draws(len(stack.clusters), draws, seed)
        ),
    ]
    return Draws(
        np.concatenate([part.estimates for part in parts]),
        np.concatenate([part.errors for part in parts]),
    )


@dataclass
class Joint:
    """Tests of all layers at once.

    Attributes
    ----------
    critical_values : dict of str to float
        By term: what max |t| over the layers exceeds in a share alpha of the draws. NaN where
        nothing was drawn.
    p_adjusted : pandas.Series
        By layer and term: Romano and Wolf's step-down p-values.
    draws : int
        Draws in which every fitted layer could be estimated.
    """

    critical_values: dict[str, float]
    p_adjusted: pd.Series
    draws: int


def joint(fits: Sequence[Fit], stack: Stack, draws: Draws, alpha: float) -> Joint:
    """Return critical values and step-down p-values of max |t| over the layers, term by term.

    t* = (b* - b̂) / s* with the draw's own standard error: with few documents, an error that
    is held at that of b̂ makes the largest of many t* too small. Step-down: Romano and Wolf (2005,
    2016), with p = (1 + #{max |t*| ≥ |t|}) / (1 + draws), the maximum over the layers whose |t| is
    no larger.

    Parameters
    ----------
    fits : sequence of Fit
    stack : Stack
    draws : Draws
        From `drawn_with_errors`.
    alpha : float
    """
    names = names_of(stack)
    fitted = [index for index, result in enumerate(fits) if result.status == "ok"]
    keys = pd.MultiIndex.from_product([stack.layers, names], names=["layer", "term"])
    p_adjusted = pd.Series(np.nan, index=keys)
    known = np.isfinite(draws.estimates[:, fitted]).all(axis=(1, 2))
    critical = dict.fromkeys(names, float("nan"))
    if not fitted or not known.any():
        return Joint(critical, p_adjusted, 0)
    estimate = np.stack([fits[index].estimate for index in fitted])
    error = np.stack([np.sqrt(np.diag(fits[index].covariance)) for index in fitted])
    t = np.abs(estimate / error)
    distance = np.abs(draws.estimates[known][:, fitted] - estimate)
    # One document drawn over and over has no error at all.
    with np.errstate(divide="ignore", invalid="ignore"):
        t_drawn = distance / draws.errors[known][:, fitted]
    t_drawn = np.where(np.isnan(t_drawn), np.inf, t_drawn)
    for place, term in enumerate(names):
        largest = t_drawn[:, :, place].max(axis=1)
        critical[term] = float(np.quantile(largest, 1 - alpha, method="higher"))
        p = step_down(t[:, place], t_drawn[:, :, place])
        for index, value in zip(fitted, p, strict=True):
            p_adjusted.loc[(stack.layers[index], term)] = value
    return Joint(critical, p_adjusted, int(known.sum()))


def medians_over_layers(
    fits: Sequence[Fit], stack: Stack, draws: Draws, alpha: float
) -> pd.DataFrame:
    """Return the median of each coefficient over the layers, with its interval from the draws.

    The interval is the basic one, 2 m - q, since the median of noisy coefficients is not where
    that of the true ones is. Without draws it is NaN.

    Parameters
    ----------
    fits : sequence of Fit
    stack : Stack
    draws : Draws
        From `drawn_with_errors`.
    alpha : float

    Returns
    -------
    medians : pandas.DataFrame
        ``median``, ``conf_low``, ``conf_high``, ``lowest`` and ``highest`` by term.
    """
    fitted = [index for index, result in enumerate(fits) if result.status == "ok"]
    names = names_of(stack)
    columns = ["median", "conf_low", "conf_high", "lowest", "highest"]
    if not fitted:
        return pd.DataFrame(np.nan, index=names, columns=columns)
    found = np.stack([fits[index].estimate for index in fitted])
    median = np.median(found, axis=0)
    low, high = np.full((2, len(names)), np.nan)
    estimates = draws.estimates[:, fitted]
    estimates = estimates[np.isfinite(estimates).all(axis=(1, 2))]
    if len(estimates):
        drawn_medians = np.median(estimates, axis=1)
        high, low = 2 * median - np.quantile(drawn_medians, [alpha / 2, 1 - alpha / 2], axis=0)
    values = [median, low, high, found.min(axis=0), found.max(axis=0)]
    return pd.DataFrame(dict(zip(columns, values, strict=True)), index=names)


def step_down(t: np.ndarray, drawn_t: np.ndarray) -> np.ndarray:
    """Return Romano and Wolf's step-down p-values of several tests.

    Parameters
    ----------
    t : (tests,) array
        Absolute statistics.
    drawn_t : (draws, tests) array
        The same under the null.
    """
    order = np.argsort(-t, kind="stable")
    # The maximum over a test and all those after it in the order.
    tail = np.maximum.accumulate(drawn_t[:, order[::-1]], axis=1)[:, ::-1]
    exceed = (tail >= t[order]).sum(axis=0)
    p_values = np.empty(len(t))
    p_values[order] = np.maximum.accumulate((1 + exceed) / (1 + len(drawn_t)))
    return p_values


def multipliers(clusters: int, draws: int, seed: int) -> tuple[Iterator[np.ndarray], bool]:
    """Return (block, clusters) multipliers of residuals, and whether they are all there are.

    Webb's six points where there are few clusters, else Rademacher's signs; every vector of signs
    once where that takes no more than ``draws``.
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
    """The regression with one coefficient held at its null.

    Attributes
    ----------
    scores : (clusters,) array
        What each cluster's residuals add to the estimate of the coefficient.
    shifts : (clusters, L) array
        And to the estimates of all parts, δ.
    slopes : (clusters, L) array
        What a cluster's part of the coefficient loses per unit of δ.
    t : float
        Of the unrestricted regression.
    """

    scores: np.ndarray
    shifts: np.ndarray
    slopes: np.ndarray
    t: float

    def drawn_t(self, v: np.ndarray) -> np.ndarray:
        """Return |t| of redrawn outcomes, (draws,), for (draws, clusters) multipliers."""
        delta = v @ self.shifts
        crossed = v @ (self.scores[:, None] * self.slopes)
        variance = v**2 @ self.scores**2 - 2 * (delta * crossed).sum(axis=1)
        variance += ((delta @ (self.slopes.T @ self.slopes)) * delta).sum(axis=1)
        return np.abs(v @ self.scores) / np.sqrt(np.maximum(variance, 0))


def _restricted(
    solution: Solution, packed: np.ndarray, place: int, value: float, psi: np.ndarray
) -> _Restricted:
    """Hold the coefficient at ``place`` at a value; ``psi`` are the influences of the clusters."""
    row = solution.back[place]  # β = back θ
    statistic, scores = 0.0, np.zeros(packed.shape[1])
    slopes, shifts = [], []
    for weight, bread, theta, part in zip(
        solution.weights[:, place], solution.breads, solution.thetas, packed, strict=True
    ):
        if weight == 0:
            continue
        a, b, _ = solution.equations(part)
        # The restricted estimate: θ less what moves the coefficient to its null.
        reach = bread @ row
        restricted = theta - reach * (row @ theta - value) / (row @ reach)
        statistic += weight * (row @ theta)
        score = b - a @ restricted  # s̃_g
        scores += weight * score @ reach
        slopes.append(weight * a @ reach)
        shifts.append(score @ bread)
    own = np.sqrt(((psi @ row) ** 2).sum())
    return _Restricted(
        scores,
        np.concatenate(shifts, axis=1),
        np.concatenate(slopes, axis=1),
        float(abs(statistic - value) / own),
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

    For each term the model is fitted with its coefficient held at the null; the outcome is redrawn
    from that fit with the residuals of each cluster times a random multiplier, and |t| with CRV1
    errors is compared with its draws (Cameron, Gelbach and Miller 2008; MacKinnon, Nielsen and
    Webb 2023). With s̃_g the scores of the restricted fit, all of it follows from A_g and s̃_g:
    δ = A⁻¹ Σ v_g s̃_g is the estimate less the null, v_g s̃_g - A_g δ its scores.

    Parameters
    ----------
    stack : Stack
    index : int
        Which of its layers.
    solution : Solution
        Of this layer.
    draws, seed : int
    null : dict of str to float, optional
        Coefficients under the null; 0 for terms not in it.

    Returns
    -------
    p_values : (K,) array
        NaN for the intercept: that of centred data is no parameter of interest.
    """
    names = names_of(stack)
    packed = stack.products[index]
    packed = packed[:, packed[0, :, 0] > 0.5]
    psi = influences(solution, packed)
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
            # What equals t but for rounding, as with all signs alike, counts as reaching it.
            least = null_model.t * (1 - 1e-9)
            reached[place] += int((null_model.drawn_t(v) >= least).sum())
    p_values = np.full(solution.k, np.nan)
    for place, count in reached.items():
        p_values[place] = count / total if complete else (1 + count) / (1 + total)
    return p_values


def record_of(joint_tests: Joint, stack: Stack, *, alpha: float, seed: int) -> dict[str, Any]:
    """Return the content of ``joint.json``."""
    known = {term: value for term, value in joint_tests.critical_values.items() if value == value}
    return {
        "alpha": alpha,
        "bins": stack.bins,
        "critical_values": known,
        "documents": max((stack.count(index) for index in range(len(stack.layers))), default=0),
        "draws": joint_tests.draws,
        "seed": seed,
    }
