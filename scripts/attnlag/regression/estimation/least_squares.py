"""Least squares from cross-products per cluster: estimates, without their errors.

Notation: for cluster g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors]; A, b,
c are their sums over clusters; N, K and G are the numbers of rows, columns of X and clusters with
rows. With document effects there is no constant, and the document means are subtracted from X
and y.

The half-panel jackknife combines three regressions, on all rows and on either half of every
document: 2 b̂_all - (b̂_first + b̂_second) / 2 (Dhaene and Jochmans 2015; Chudik, Pesaran and Yang
2018). It corrects what is biased in short documents, the lags and leads. The other terms, such as
the spline of position, are solved anew given these, from all rows: b̂_c = A_cc⁻¹ (b_c - A_cl b̂_l). A
half need not identify them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from attnlag.errors import counted, listed
from attnlag.regression.design.covariates import layers_before
from attnlag.regression.estimation.moments import Moments, product
from attnlag.regression.terms import is_lag_or_lead

# A column whose variation relative to its mean is below this varies only by rounding.
MIN_VARIATION = 1e-12

# Log norms whose standard deviation is below this are regarded as equal, as are other outcomes
# below this times their root mean square: the rounding error of bfloat16, where the model or stored
# vectors have that, and otherwise what the epsilon of a normalisation without trained weights
# leaves, after which all norms equal the square root of the width but for that.
MIN_SPREAD = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}
ORIGIN_OF_SPREAD = {
    "bfloat16": "the precision of bfloat16",
    "float16": "what the epsilon of a normalisation leaves",
    "float32": "what the epsilon of a normalisation leaves",
}

# A design whose scaled cross-products have a larger condition number has lost all precision.
MAX_CONDITION = 1e12

# Least ratio of the smallest to the largest eigenvalue of A, without a document or in a half of the
# documents. Below it, these rows do not identify all terms, although all documents do.
MIN_RECIPROCAL_CONDITION = 1e-10

# An eigenvalue below this is rounding, if A over all rows is the identity.
ROUNDING = 1e-13

# A half identifies lags and leads if this is left of them given its other terms.
MIN_IDENTIFIED = 1e-7

# Numbers in the moments of clusters that are solved together.
NUMBERS_AT_ONCE = 2**22

# Status of a layer that lacks the layer before it, which a term needs.
NO_LAYER_BEFORE = "there is no layer before it"

HALF_PANEL = np.array([2.0, -0.5, -0.5])


class Piece(NamedTuple):
    """A contribution R b_m to an estimate θ, from all rows or a half of them."""

    cell: int  # m: the index of these rows in the moments
    # (…, K, K) array: R. The estimate changes by R (b_mg - A_mg θ_m) per unit of the weight of
    # cluster g.
    gain: np.ndarray
    # (…, K) array: the θ_m whose residuals these are.
    theta: np.ndarray
    # (…, K, K) array: A_m⁻¹, a generalised inverse in a half that does not identify all terms.
    inverse: np.ndarray


@dataclass
class Solution:
    """The normal equations of one layer, in coordinates θ in which X'X of all rows is I."""

    moments: Moments
    # ``"ok"``, or the reason why the layer cannot be fitted; only the counts are then set.
    status: str
    n_obs: int
    # ssr, tss: residual sum of squares, and total sum of squares about the mean or, with document
    # effects, about the means of documents.
    ssr: float = np.nan
    tss: float = np.nan
    # Number of lags and leads that halves correct: the last coordinates, which therefore determine
    # the coefficients of these terms without the others.
    n_corrected: int = 0
    # (p, K + 1) array: maps w to these coordinates and y.
    to: np.ndarray = field(init=False)
    # (K, K) array: maps θ to the coefficients of centred data.
    back: np.ndarray = field(init=False)
    # The estimate over all rows, see `Solution.solved`.
    pieces: list[Piece] = field(init=False)
    # (K,) array: the estimates.
    theta: np.ndarray = field(init=False)

    @property
    def k(self) -> int:
        return len(self.moments.names)

    @property
    def absorbed(self) -> int:
        """Number of removed means of documents."""
        return self.moments.documents if self.moments.within else 0

    @property
    def df_resid(self) -> int:
        return self.n_obs - self.k - self.absorbed

    @property
    def to_terms(self) -> np.ndarray:
        """Map from θ to coefficients on the scale of the data, (K, K), but for the mean of y."""
        result = np.eye(self.k)
        if not self.moments.within:
            result[0, 1:] = -self.moments.centre[2:]
        return result @ self.back

    @property
    def estimate(self) -> np.ndarray:
        """Coefficients on the scale of the data, (K,); NaN without a fit."""
        return np.full(self.k, np.nan) if self.status != "ok" else self.coefficients(self.theta)

    def coefficients(self, theta: np.ndarray) -> np.ndarray:
        """Return coefficients on the scale of the data, (…, K), given θ."""
        result = theta @ self.to_terms.T
        if not self.moments.within:
            result[..., 0] += self.moments.centre[1]
        return result

    def estimates(self, s: np.ndarray) -> np.ndarray:
        """Return coefficients as `estimate` from other sums than over all rows, (…, K).

        ``s`` has moments, (cells, …, p, p), of some of the documents, or weighted. The coefficients
        are NaN if `solved` finds none, or if all rows have no fit.
        """
        if self.status != "ok":
            return np.full((*s.shape[1:-2], self.k), np.nan)
        a, b, _ = self.equations(s)
        return self.coefficients(self.solved(a, b)[0])

    def weighted(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """Return `estimates` with weighted clusters, (draws, K), given blocks of (draws, clusters).

        They come from the sums Σ ω_g A_mg and Σ ω_g b_mg, and are NaN if a draw cannot be fitted.
        """
        k, s, found = self.k, self.moments.s, [np.empty((0, self.k))]
        if self.status != "ok":
            return np.concatenate([*found, *(np.full((len(each), k), np.nan) for each in draws)])
        flat = product(s, self.to).reshape(*s.shape[:2], (k + 1) ** 2)
        for weights in draws:
            sums = (weights @ flat).reshape(len(s), len(weights), k + 1, k + 1)
            theta, _ = self.solved(sums[..., :k, :k], sums[..., :k, k])
            found.append(self.coefficients(theta))
        return np.concatenate(found)

    def equations(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return A (…, K, K), b (…, K) and c (…) of moments, (…, p, p)."""
        k, s = self.to.shape[1] - 1, product(s, self.to)
        return s[..., :k, :k], s[..., :k, k], s[..., k, k]

    def by_cluster(self, clusters: Moments) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield `equations` of clusters, (cells, clusters, …), in blocks that fit in memory."""
        s = clusters.s
        step = max(1, NUMBERS_AT_ONCE // (len(s) * s.shape[-1] ** 2))
        for start in range(0, s.shape[1], step):
            yield self.equations(s[:, start : start + step])

    def solved(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, list[Piece]]:
        """Return the estimates, (…, K), from sums A (cells, …, K, K) and b (cells, …, K).

        The sums are over some of the documents, or weighted. The estimates are NaN if these do not
        identify all terms, or a half not all lags and leads.
        """
        # Place of the first lag or lead.
        k, split = self.k, self.k - self.n_corrected
        singular = is_singular(a[0])
        inverse = np.linalg.inv(np.where(singular[..., None, None], np.eye(k), a[0]))
        inverse[singular] = np.nan
        theta = (inverse @ b[0][..., None])[..., 0]
        if len(a) == 1:
            return theta, [Piece(0, inverse, theta, inverse)]
        # The lags and leads determine the other coefficients, by -A_cc⁻¹ A_cl.
        of_covariates = a[0][..., :split, :split]
        regular = np.where(singular[..., None, None], np.eye(split), of_covariates)
        beside_lags, follow = _apart(np.linalg.inv(regular), a[0])
        pieces, of_rows = [], inverse
        for cell, weight in enumerate(HALF_PANEL):
            if cell:
                of_covariates = a[cell][..., :split, :split]
                beside_half, follow_half = _apart(_generalised_inverse(of_covariates), a[cell])
                # The cross-products of the lags and leads given the other terms.
                of_lags = a[cell][..., split:, :] @ follow_half
                identified = np.linalg.eigvalsh(of_lags).min(axis=-1, initial=1) > MIN_IDENTIFIED
                of_lags = np.where(identified[..., None, None], of_lags, np.eye(k - split))
                inverse = follow_half @ np.linalg.inv(of_lags) @ np.swapaxes(follow_half, -1, -2)
                inverse += beside_half
                inverse[~identified] = np.nan
                theta = (inverse @ b[cell][..., None])[..., 0]
            pieces.append(Piece(cell, weight * follow @ inverse[..., split:, :], theta, inverse))
        theta = (beside_lags @ b[0][..., None])[..., 0]
        theta = theta + sum((piece.gain @ b[piece.cell][..., None])[..., 0] for piece in pieces)
        return theta, [*pieces, Piece(0, beside_lags, theta, of_rows)]


class Jackknife:
    """Estimates of a layer without each cluster that has rows, by default of its own moments."""

    def __init__(self, solution: Solution, clusters: Moments | None = None) -> None:
        clusters = solution.moments if clusters is None else clusters
        rows = np.rint(clusters.s[0, :, 0, 0]).astype(np.int64)
        # Number of clusters, with rows or not.
        self.count = len(clusters.clusters)
        # places, rows, (left out,) int arrays: indices of those with rows, and their rows.
        self.places = np.flatnonzero(rows)
        self.rows = rows[self.places]
        self.names = [clusters.clusters[place] for place in self.places]
        a, b, _ = solution.equations(solution.moments.total)
        thetas, sse = [np.empty((0, solution.k))], 0.0
        left_out = replace(clusters, s=clusters.s[:, self.places])
        for a_g, b_g, c_g in solution.by_cluster(left_out):
            theta, _ = solution.solved(a[:, None] - a_g, b[:, None] - b_g)
            thetas.append(theta)
            fitted = (a_g[0] @ theta[..., None])[..., 0]
            sse += float((c_g[0] + (theta * (fitted - 2 * b_g[0])).sum(axis=1)).sum())
        # (left out, K) arrays, NaN if the rest is collinear: θ, and coefficients of centred data.
        self.thetas = np.concatenate(thetas)
        self.coefficients = self.thetas @ solution.back.T
        # Squared error of the predictions for each cluster from the rest; NaN if one is undefined.
        self.sse = sse


def by_folds(solution: Solution, folds: int | Moments) -> Jackknife:
    """Return the estimates without each fold of clusters, NaN without the only one.

    Cluster g, counted among those with rows, is in fold g mod ``folds``, unless moments of folds
    are given.
    """
    clusters = folds if isinstance(folds, Moments) else solution.moments
    s = clusters.s[:, clusters.s[0, :, 0, 0] > 0.5]
    count = s.shape[1] if isinstance(folds, Moments) else min(folds, s.shape[1])
    sums = np.stack([s[:, fold::count].sum(axis=1) for fold in range(count)], axis=1)
    return Jackknife(solution, replace(clusters, s=sums))


def solve(moments: Moments) -> Solution:
    """Solve the normal equations of one layer, from the sums over all documents.

    If there is no solution, its status gives the reason: too few rows, a constant, collinearity.
    """
    total, names = moments.total, moments.names
    n_obs = int(np.rint(total[0, 0, 0]))
    solution = Solution(moments, "ok", n_obs)
    size = np.sqrt(np.maximum(np.diagonal(total[0]), 0))
    if obstacle := _too_few_rows(solution) or _too_flat(moments, size, n_obs):
        return Solution(moments, obstacle, n_obs)

    # Covariates come first, then lags and leads.
    order = np.argsort([is_lag_or_lead(name) for name in names], kind="stable")
    names = [names[place] for place in order]
    columns = np.array(moments.columns)[order]
    scale = size[columns]
    scaled = total[0][np.ix_(columns, columns)] / np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if not eigenvalues[-1] <= MAX_CONDITION * eigenvalues[0]:
        involved = [n for n, x in zip(names, vectors[:, 0], strict=True) if abs(x) > 0.01]
        obstacle = f"{listed(involved)} are collinear{_within(moments)}"
        return Solution(moments, obstacle, n_obs)

    root = np.linalg.cholesky(scaled)
    back = solve_triangular(root, np.eye(solution.k), lower=True).T / scale[:, None]
    solution.to = np.zeros((moments.p, solution.k + 1))
    solution.to[columns, :-1], solution.to[1, -1] = back, 1
    solution.back = back[np.argsort(order)]
    a, b, c = solution.equations(total)
    solution.n_corrected = sum(map(is_lag_or_lead, names)) if len(total) > 1 else 0
    solution.theta, solution.pieces = theta, _ = solution.solved(a, b)
    if np.isnan(theta).any():
        lags = listed(names[-solution.n_corrected :])
        return Solution(moments, f"a half of the documents alone does not tell {lags}", n_obs)
    # A perfect fit leaves a rounding error of either sign.
    solution.ssr = float(np.maximum(c[0] - 2 * theta @ b[0] + theta @ a[0] @ theta, 0))
    solution.tss = float(total[0, 1, 1] - total[0, 0, 1] ** 2 / n_obs)
    return solution


def _within(moments: Moments) -> str:
    return " within documents" if moments.within else ""


def _too_few_rows(solution: Solution) -> str:
    """Return why a layer has too few rows, if it has."""
    names, n_obs, absorbed = solution.moments.names, solution.n_obs, solution.absorbed
    if n_obs == 0 and solution.moments.above < layers_before(names):
        return NO_LAYER_BEFORE
    if n_obs > len(names) + absorbed:
        return ""
    beside = f" and {counted(absorbed, 'effect')}" if absorbed else ""
    return f"{counted(n_obs, 'row')} for {counted(len(names), 'term')}{beside}"


def _too_flat(moments: Moments, size: np.ndarray, n_obs: int) -> str:
    """Return which terms are constant or vary by rounding only, if any do.

    ``size`` has the square root of Σ w² of each element of w about its mean.
    """
    within = _within(moments)
    least = MIN_VARIATION * np.sqrt(n_obs) * np.abs(moments.centre)
    root_squares = size
    if moments.squares is not None:
        # Removing the means of documents is a difference of sums, which has half the digits.
        root_squares = np.sqrt(np.maximum(moments.squares, 0))
        least = np.maximum(least, np.sqrt(MIN_VARIATION) * root_squares)
    pairs = zip(moments.terms, size[1:], least[1:], strict=True)
    constant = [term for term, own, bound in pairs if own <= bound]
    if "y" in constant:
        return f"the outcome is constant{within}"
    # The absolute error of a logarithm is the relative error of the number; other outcomes have an
    # error relative to their size.
    size_of_y = np.hypot(root_squares[1] / np.sqrt(n_obs), moments.centre[1])
    bound = MIN_SPREAD[moments.precision]
    least_spread = bound if moments.of_logs else bound * size_of_y
    for term, spread in zip(moments.terms, size[1:] / np.sqrt(n_obs), strict=True):
        if (term == "y" or layers_before([term])) and spread < least_spread:
            return (
                f"{'norms' if moments.of_logs else 'numbers'} are equal but for rounding: the "
                f"standard deviation of {'the outcome' if term == 'y' else term}{within} is below "
                f"{bound:.4f}{'' if moments.of_logs else ' of their size'}, "
                f"{ORIGIN_OF_SPREAD[moments.precision]}"
            )
    if not constant:
        return ""
    return f"{listed(constant)} {'is' if len(constant) == 1 else 'are'} constant{within}"


def _apart(inverse: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return A_cc⁻¹ as (…, K, K) with zeros for the lags, and [-A_cc⁻¹ A_cl; I], (…, K, lags)."""
    k, split = a.shape[-1], inverse.shape[-1]
    padded = np.zeros_like(a)
    padded[..., :split, :split] = inverse
    follow = np.broadcast_to(np.eye(k)[:, split:], (*a.shape[:-1], k - split)).copy()
    follow[..., :split, :] = -inverse @ a[..., :split, split:]
    return padded, follow


def _generalised_inverse(a: np.ndarray) -> np.ndarray:
    """Return generalised inverses of (…, K, K) summands of I."""
    values, vectors = np.linalg.eigh(a)
    scaled = vectors / np.where(values > MIN_RECIPROCAL_CONDITION, values, np.inf)[..., None, :]
    return scaled @ np.swapaxes(vectors, -1, -2)


def is_singular(a: np.ndarray) -> np.ndarray:
    """Return which of (…, K, K) summands of I do not identify all terms.

    These are the summands whose smallest eigenvalue is negligible relative to the largest. Their
    size does not matter until precision is lost: documents with a tenth of the rows have an A near
    I / 10.
    """
    k = a.shape[-1]
    scale = np.trace(a, axis1=-2, axis2=-1) / k
    scaled = a / np.where(scale > ROUNDING, scale, 1)[..., None, None]
    # The ratio of eigenvalues with a mean of 1 is at least a quarter of their product, which is
    # cheap to compute.
    doubtful = ~(np.linalg.det(scaled) > 4 * MIN_RECIPROCAL_CONDITION) | (
        scale < ROUNDING / MIN_RECIPROCAL_CONDITION
    )
    singular = np.zeros(doubtful.shape, dtype=bool)
    if doubtful.any():
        values = np.linalg.eigvalsh(a[doubtful])
        least = np.maximum(MIN_RECIPROCAL_CONDITION * values[:, -1], ROUNDING)
        singular[doubtful] = ~(values[:, 0] > least)
    return singular
