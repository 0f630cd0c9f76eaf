"""Least squares from cross-products per cluster: estimates, without their errors.

Notation: for cluster g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors]; A, b,
c are their sums over clusters; N, K and G are the numbers of rows, columns of X and clusters with
rows. With document effects there is no constant, and the document means are subtracted from X
and y.

`solve` chooses coordinates θ in which A of all rows is I (`Solution.whiten`), and solves A θ = b in
them; with halves of documents, `half_panel_jackknife` corrects the solution. `score_blocks` gives
what each cluster adds to θ, from which `cr2` makes errors.

References
----------
Dhaene and Jochmans, Split-panel jackknife estimation of fixed-effect models. Review of Economic
Studies 82 (2015).
Chudik, Pesaran and Yang, Half-panel jackknife fixed-effects estimation of linear panels with weakly
exogenous regressors. Journal of Applied Econometrics 33 (2018).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from attnlag.regression import reasons
from attnlag.regression.estimation.cr2 import ClusterScores, plain_scores
from attnlag.regression.estimation.identification import collinear, failure_reason
from attnlag.regression.estimation.normal_equations import (
    SolvedEquations,
    generalised_inverse,
    identity_where,
    solve_normal_equations,
    times,
)
from attnlag.regression.moments.moments import PreparedMoments, mapped
from attnlag.regression.reasons import Reason
from attnlag.regression.terms import is_lag_or_lead

# A half identifies lags and leads if this is left of them given its other terms.
MIN_IDENTIFIED = 1e-7

# Numbers in the moments of clusters that are solved together.
NUMBERS_AT_ONCE = 2**22


def solve(prepared: PreparedMoments) -> "Solution | Unfitted":
    """Solve the normal equations of one layer, from the sums over all documents.

    The moments are as `Moments.prepared` returns them. There is no solution with too few rows, a
    constant or collinear terms, or halves of documents that do not identify the lags.
    """
    reason = failure_reason(prepared)
    if reason is not None:
        return Unfitted(prepared, reason)

    # Covariates come first, then lags and leads.
    order = np.argsort(list(map(is_lag_or_lead, prepared.names)), kind="stable")
    names = [prepared.names[place] for place in order]
    columns = np.array(prepared.columns)[order]
    scale = prepared.size[columns]
    total = prepared.total
    scaled = total[0][np.ix_(columns, columns)] / np.outer(scale, scale)
    reason = collinear(scaled, names, fixed_effects=prepared.has_fixed_effects)
    if reason is not None:
        return Unfitted(prepared, reason)

    # With L L' the scaled products, columns times L'⁻¹ / scale have the products I.
    root = np.linalg.cholesky(scaled)
    to_columns = solve_triangular(root, np.eye(prepared.k), lower=True).T / scale[:, None]
    whiten = np.zeros((prepared.p, prepared.k + 1))
    whiten[columns, :-1] = to_columns
    whiten[1, -1] = 1
    # w @ whiten is [X, y] in these coordinates, so that whiten' S whiten is [A, b; b', c].
    # A of all rows is I but for rounding, which solving it removes.
    a, b, c = _equations(total, whiten)
    n_lags = 0
    half_panel = None
    if len(total) > 1:
        n_lags = sum(map(is_lag_or_lead, names))
        half_panel = half_panel_jackknife(a, b, n_lags)
        all_rows = half_panel.all_rows
        theta = half_panel.theta
    else:
        all_rows = solve_normal_equations(a[0], b[0])
        theta = all_rows.theta
    if np.isnan(theta).any():
        lags = names[len(names) - n_lags :]
        return Unfitted(prepared, Reason(reasons.UNIDENTIFIED_HALF, {"terms": lags}))
    # A perfect fit leaves a rounding error of either sign.
    ssr = np.maximum(c[0] - 2 * theta @ b[0] + theta @ a[0] @ theta, 0)
    tss = total[0, 1, 1] - total[0, 0, 1] ** 2 / prepared.n_obs
    return Solution(
        moments=prepared,
        whiten=whiten,
        # Brought back to the order of the names.
        unwhiten=to_columns[np.argsort(order)],
        n_lags=n_lags,
        all_rows=all_rows,
        half_panel=half_panel,
        ssr=float(ssr),
        tss=float(tss),
    )


def _equations(
    products: np.ndarray, whiten: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A (…, K, K), b (…, K) and c (…) of moments, (…, p, p)."""
    k = whiten.shape[1] - 1
    whitened = mapped(products, whiten)
    return whitened[..., :k, :k], whitened[..., :k, k], whitened[..., k, k]


@dataclass(frozen=True)
class Covariates:
    """The coefficients of the other terms given those of lags: θ = C b + T θ_l."""

    # (…, K, K) array: C = [A_cc⁻¹, 0; 0, 0].
    inverse: np.ndarray
    # (…, K, lags) array: T = [-A_cc⁻¹ A_cl; I].
    lags_to_all: np.ndarray


@dataclass(frozen=True)
class HalfPanel:
    """The corrected estimate, and what it is made of."""

    # The regressions of all rows, of the first and of the second halves of documents.
    all_rows: SolvedEquations
    first: SolvedEquations
    second: SolvedEquations
    # C and T: what the other terms are given the lags, from all rows.
    covariates: Covariates
    # (…, K) array: NaN where the rows do not identify all terms, or a half not all lags and leads.
    theta: np.ndarray


def half_panel_jackknife(a: np.ndarray, b: np.ndarray, n_lags: int) -> HalfPanel:
    """Return the half-panel jackknife of normal equations.

    It corrects the bias that document effects have in short documents, and combines three
    regressions, on all rows and on either half of every document (Dhaene and Jochmans 2015; Chudik,
    Pesaran and Yang 2018). It corrects what is biased, the lags and leads θ_l, which are the last
    coordinates. The other terms θ_c, such as the spline of position, are solved anew given these,
    from all rows:

        θ̂_l = 2 θ_all,l - (θ_1,l + θ_2,l) / 2,    θ̂_c = A_cc⁻¹ (b_c - A_cl θ̂_l).

    A half need not identify the other terms.

    Parameters
    ----------
    a : (3, …, K, K) array
        A of all rows, of the first halves and of the second halves of documents.
    b : (3, …, K) array
        b of the same rows.
    n_lags : int
        Number of lags and leads, the last coordinates.
    """
    n_others = a.shape[-1] - n_lags
    all_rows = solve_normal_equations(a[0], b[0])
    first = regress_half(a[1], b[1], n_others)
    second = regress_half(a[2], b[2], n_others)

    lags_all = all_rows.theta[..., n_others:]
    lags_first = first.theta[..., n_others:]
    lags_second = second.theta[..., n_others:]
    corrected = 2 * lags_all - (lags_first + lags_second) / 2

    singular = np.isnan(all_rows.theta).any(axis=-1)
    a_cc = identity_where(singular, a[0])[..., :n_others, :n_others]
    covariates = given_lags(np.linalg.inv(a_cc), a[0])
    theta = times(covariates.inverse, b[0]) + times(covariates.lags_to_all, corrected)
    return HalfPanel(all_rows, first, second, covariates, theta)


def regress_half(a: np.ndarray, b: np.ndarray, n_others: int) -> SolvedEquations:
    """Solve the normal equations of a half, which may not identify all of the other terms.

    The result is NaN where it does not identify all lags and leads.
    """
    covariates = given_lags(generalised_inverse(a[..., :n_others, :n_others]), a)
    t = covariates.lags_to_all
    # The cross-products of the lags and leads given the other terms, which by the inverse of a
    # partitioned matrix make up the rest of A⁻¹.
    a_lags = a[..., n_others:, :] @ t
    smallest = np.linalg.eigvalsh(a_lags).min(axis=-1, initial=1)
    identified = smallest > MIN_IDENTIFIED
    lags_inverse = np.linalg.inv(identity_where(~identified, a_lags))
    inverse = covariates.inverse + t @ lags_inverse @ np.swapaxes(t, -1, -2)
    inverse[~identified] = np.nan
    return SolvedEquations(inverse, times(inverse, b))


def given_lags(inverse: np.ndarray, a: np.ndarray) -> Covariates:
    """Return the other terms given the lags, from A, (…, K, K), and A_cc⁻¹."""
    k = a.shape[-1]
    n_others = inverse.shape[-1]
    padded = np.zeros_like(a)
    padded[..., :n_others, :n_others] = inverse
    lags_to_all = np.empty((*a.shape[:-1], k - n_others))
    lags_to_all[..., :n_others, :] = -inverse @ a[..., :n_others, n_others:]
    lags_to_all[..., n_others:, :] = np.eye(k - n_others)
    return Covariates(padded, lags_to_all)


def score_blocks(solution: "Solution") -> Iterator[list[ClusterScores]]:
    """Yield blocks of clusters with their scores in each regression that θ is made of.

    They give v_g, what cluster g adds to θ. Without halves there is one regression:

        v_g = A⁻¹ s_g(θ),    s_g(θ) = b_g - A_g θ,    A = I.

    The half-panel jackknife has three: of all rows, θ_all, and of either half of the documents, θ_1
    and θ_2. With T = [-A_cc⁻¹ A_cl; I] and C = [A_cc⁻¹, 0; 0, 0], as in `Covariates` (A = I makes
    them [0; I] and [I, 0; 0, 0], but for rounding),

        v_g = 2 T (A⁻¹)_l s_g(θ_all) + C s_g(θ̂) - T [(A_1⁻¹)_l s_1g(θ_1) + (A_2⁻¹)_l s_2g(θ_2)] / 2,

    where (·)_l are the rows of lags and s_mg the scores of half m. CR2 adjusts each s_g in
    coordinates in which the A of its own regression is I: with A_m⁻¹ = W W', (A_m⁻¹)_l s_mg is
    W_l (W' s_mg).
    """
    all_rows = solution.all_rows
    half_panel = solution.half_panel
    if half_panel is None:
        identity = np.eye(solution.moments.k)
        for a, b, _ in solution.by_cluster(solution.moments.products):
            scores = b[0] - a[0] @ all_rows.theta
            yield [ClusterScores(a[0], scores[:, None], identity)]
        return
    n_others = solution.moments.k - solution.n_lags
    covariates = half_panel.covariates
    t = covariates.lags_to_all
    # W of each half.
    w_first = whiten_half(half_panel.first.inverse)
    w_second = whiten_half(half_panel.second.inverse)
    # What the scores change in θ: the two of all rows, and those of the halves.
    influence_map = np.hstack([2 * t @ all_rows.inverse[n_others:], covariates.inverse])
    influence_map_first = -t @ w_first[n_others:] / 2
    influence_map_second = -t @ w_second[n_others:] / 2
    for a, b, _ in solution.by_cluster(solution.moments.products):
        scores_at_all_rows = b[0] - a[0] @ all_rows.theta
        scores_at_half_panel = b[0] - a[0] @ half_panel.theta
        scores = np.stack([scores_at_all_rows, scores_at_half_panel], axis=1)
        h_first, scores_first = half_scores(a[1], b[1], half_panel.first.theta, w_first)
        h_second, scores_second = half_scores(a[2], b[2], half_panel.second.theta, w_second)
        yield [
            ClusterScores(a[0], scores, influence_map),
            ClusterScores(h_first, scores_first, influence_map_first),
            ClusterScores(h_second, scores_second, influence_map_second),
        ]


def half_scores(
    a: np.ndarray, b: np.ndarray, theta: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return W'A_mg W and W's_mg(θ_m) of a half m, in coordinates in which its own A is I.

    Given are A_mg, (clusters, K, K), b_mg, (clusters, K), θ_m, (K,), and W, (K, k), as
    `whiten_half` returns it. The results are (clusters, k, k) and (clusters, 1, k).
    """
    scores = (b - a @ theta) @ w
    return w.T @ a @ w, scores[:, None]


def whiten_half(inverse: np.ndarray) -> np.ndarray:
    """Return W, the map to coordinates in which A of a half is I, given its inverse A⁻¹ = W W'.

    It is (K, k), k being the number of coordinates that the half identifies. Scores s become s @ W,
    and an estimate φ in the new coordinates is W @ φ in the old ones.
    """
    values, vectors = np.linalg.eigh(inverse)
    # A half is a summand of I, so that these are 0 or at least 1.
    identified = values > 0.5
    return vectors[:, identified] * np.sqrt(values[identified])


@dataclass(frozen=True)
class Solution:
    """The least-squares estimates of one layer, in coordinates θ in which X'X of all rows is I."""

    moments: PreparedMoments
    # (p, K + 1) array: maps w to the coordinates of X and y. Covariates come first, then lags and
    # leads, so that the last coordinates determine the coefficients of lags and leads alone.
    whiten: np.ndarray
    # (K, K) array: maps θ to the coefficients of centred data.
    unwhiten: np.ndarray
    # Number of lags and leads that halves correct; 0 without halves.
    n_lags: int
    # The regression of all rows.
    all_rows: SolvedEquations
    # Its correction for bias; None without halves.
    half_panel: HalfPanel | None
    # ssr, tss: residual sum of squares, and total sum of squares about the mean or, with document
    # effects, about the means of documents.
    ssr: float
    tss: float

    @property
    def theta(self) -> np.ndarray:
        """The estimate of θ, (K,)."""
        return self.all_rows.theta if self.half_panel is None else self.half_panel.theta

    @property
    def to_coefficients(self) -> np.ndarray:
        """Map from θ to coefficients on the scale of the data, (K, K), but for the mean of y."""
        shift = np.eye(self.moments.k)
        if not self.moments.has_fixed_effects:
            shift[0, 1:] = -self.moments.centre[2:]
        return shift @ self.unwhiten

    @property
    def estimate(self) -> np.ndarray:
        """Coefficients on the scale of the data, (K,)."""
        return self.coefficients(self.theta)

    def coefficients(self, theta: np.ndarray) -> np.ndarray:
        """Return coefficients on the scale of the data, (…, K), given θ, (…, K)."""
        result = theta @ self.to_coefficients.T
        if not self.moments.has_fixed_effects:
            result[..., 0] += self.moments.centre[1]
        return result

    def estimates(self, products: np.ndarray) -> np.ndarray:
        """Return coefficients as `estimate` from other sums than over all rows, (…, K).

        ``products`` are moments, (cells, …, p, p), of some of the documents, or weighted. The
        coefficients are NaN where these do not identify all terms, or a half not all lags and
        leads.
        """
        a, b, _ = self.equations(products)
        return self.coefficients(self.thetas(a, b))

    def weighted(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """Return `estimates` with weighted clusters, (draws, K), given blocks of (draws, clusters).

        With ω_g the weight of cluster g, they come from the sums Σ ω_g A_mg and Σ ω_g b_mg of each
        cell m. They are NaN if a draw cannot be fitted.
        """
        products = self.moments.products
        k = self.moments.k
        flat = mapped(products, self.whiten).reshape(*products.shape[:2], (k + 1) ** 2)
        estimates = [np.empty((0, k))]
        for weights in draws:
            sums = (weights @ flat).reshape(len(products), len(weights), k + 1, k + 1)
            thetas = self.thetas(sums[..., :k, :k], sums[..., :k, k])
            estimates.append(self.coefficients(thetas))
        return np.concatenate(estimates)

    def equations(self, products: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return A (…, K, K), b (…, K) and c (…) of moments, (…, p, p), in coordinates θ."""
        return _equations(products, self.whiten)

    def by_cluster(
        self, products: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield `equations` of clusters, (cells, clusters, …), in blocks that fit in memory.

        ``products`` has their moments, (cells, clusters, p, p).
        """
        step = max(1, NUMBERS_AT_ONCE // (len(products) * products.shape[-1] ** 2))
        for start in range(0, products.shape[1], step):
            yield self.equations(products[:, start : start + step])

    def thetas(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return estimates of θ, (…, K), from sums A (cells, …, K, K) and b (cells, …, K).

        The sums are over some of the documents, or weighted. The estimates are NaN if these do not
        identify all terms, or a half not all lags and leads.
        """
        if self.half_panel is None:
            return solve_normal_equations(a[0], b[0]).theta
        return half_panel_jackknife(a, b, self.n_lags).theta


@dataclass(frozen=True)
class Unfitted:
    """A layer whose coefficients the data do not determine: all are NaN."""

    moments: PreparedMoments
    reason: Reason

    @property
    def estimate(self) -> np.ndarray:
        """NaN for each coefficient, (K,)."""
        return np.full(self.moments.k, np.nan)

    def estimates(self, products: np.ndarray) -> np.ndarray:
        """Return NaN for each coefficient, (…, K), as `Solution.estimates`."""
        return np.full((*products.shape[1:-2], self.moments.k), np.nan)

    def weighted(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """Return NaN for each draw and coefficient, (draws, K), as `Solution.weighted`."""
        count = sum(len(weights) for weights in draws)
        return np.full((count, self.moments.k), np.nan)


def cluster_scores(solution: Solution) -> np.ndarray:
    """Return ψ_g, the change of θ per unit of the weight of each cluster, (clusters, K)."""
    scores = [np.zeros((0, solution.moments.k))]
    for regressions in score_blocks(solution):
        scores.append(np.sum([plain_scores(own) for own in regressions], axis=0))
    return np.concatenate(scores)
