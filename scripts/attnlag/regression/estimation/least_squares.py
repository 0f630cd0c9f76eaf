"""Least squares from cross-products per cluster: estimates, without their errors.

Notation: for cluster g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors]; A, b,
c are their sums over clusters; N, K and G are the numbers of rows, columns of X and clusters with
rows. With document effects there is no constant, and the document means are subtracted from X
and y.

`solve` chooses coordinates θ in which A of all rows is I (`Solution.whiten`), and solves A θ = b in
them (`normal_equations`), corrected for bias if halves of documents are apart (`half_panel`). It
returns `Unfitted` with the reason if the data do not determine the coefficients.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from attnlag.regression import reasons
from attnlag.regression.covariates import layers_before
from attnlag.regression.estimation.cr2 import ClusterRows, plain_scores
from attnlag.regression.estimation.half_panel import HalfPanel, half_panel_jackknife
from attnlag.regression.estimation.moments import Moments, product
from attnlag.regression.estimation.normal_equations import (
    SolvedEquations,
    solve_normal_equations,
    whiten_half,
)
from attnlag.regression.reasons import Reason
from attnlag.regression.terms import is_lag_or_lead

# A column whose variation relative to its mean is below this varies only by rounding.
MIN_VARIATION = 1e-12

# Log norms whose standard deviation is below this are regarded as equal. So are other outcomes
# below this times their root mean square.
# - bfloat16: the rounding error, where the model or its stored vectors have this precision.
# - Otherwise: what a normalisation without trained weights leaves. All norms after it equal the
#   square root of the width but for its epsilon.
MIN_SPREAD = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}

# A design whose scaled cross-products have a larger condition number has lost all precision.
MAX_CONDITION = 1e12

# Share of a term in the direction without variation, above which it is named as collinear.
MIN_COLLINEAR_SHARE = 0.01

# Numbers in the moments of clusters that are solved together.
NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Unfitted:
    """A layer whose coefficients the data do not determine: all are NaN."""

    moments: Moments
    reason: Reason

    @property
    def estimate(self) -> np.ndarray:
        """NaN for each coefficient, (K,)."""
        return np.full(self.moments.k, np.nan)

    def estimates(self, s: np.ndarray) -> np.ndarray:
        """Return NaN for each coefficient, (…, K), as `Solution.estimates`."""
        return np.full((*s.shape[1:-2], self.moments.k), np.nan)

    def weighted(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """Return NaN for each draw and coefficient, (draws, K), as `Solution.weighted`."""
        count = sum(len(weights) for weights in draws)
        return np.full((count, self.moments.k), np.nan)


@dataclass(frozen=True)
class Solution:
    """The least-squares estimates of one layer, in coordinates θ in which X'X of all rows is I."""

    moments: Moments
    # (p, K + 1) array: maps w to the coordinates of X and y. Covariates come first, then lags and
    # leads, so that the last coordinates determine the coefficients of lags and leads alone.
    whiten: np.ndarray
    # (K, K) array: maps θ to the coefficients of centred data.
    unwhiten: np.ndarray
    # Number of lags and leads that halves correct; 0 without halves.
    n_lags: int
    # The regression of all rows.
    whole: SolvedEquations
    # Its correction for bias; None without halves.
    half_panel: HalfPanel | None
    # ssr, tss: residual sum of squares, and total sum of squares about the mean or, with document
    # effects, about the means of documents.
    ssr: float
    tss: float

    @property
    def theta(self) -> np.ndarray:
        """The estimate of θ, (K,)."""
        return self.whole.theta if self.half_panel is None else self.half_panel.theta

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

    def estimates(self, s: np.ndarray) -> np.ndarray:
        """Return coefficients as `estimate` from other sums than over all rows, (…, K).

        ``s`` has moments, (cells, …, p, p), of some of the documents, or weighted. The coefficients
        are NaN where these do not identify all terms, or a half not all lags and leads.
        """
        a, b, _ = self.equations(s)
        return self.coefficients(self.thetas(a, b))

    def weighted(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """Return `estimates` with weighted clusters, (draws, K), given blocks of (draws, clusters).

        They come from the sums Σ ω_g A_mg and Σ ω_g b_mg, and are NaN if a draw cannot be fitted.
        """
        s = self.moments.s
        k = self.moments.k
        flat = product(s, self.whiten).reshape(*s.shape[:2], (k + 1) ** 2)
        estimates = [np.empty((0, k))]
        for weights in draws:
            sums = (weights @ flat).reshape(len(s), len(weights), k + 1, k + 1)
            thetas = self.thetas(sums[..., :k, :k], sums[..., :k, k])
            estimates.append(self.coefficients(thetas))
        return np.concatenate(estimates)

    def equations(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return A (…, K, K), b (…, K) and c (…) of moments, (…, p, p), in coordinates θ."""
        return _equations(s, self.whiten)

    def by_cluster(self, clusters: Moments) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield `equations` of clusters, (cells, clusters, …), in blocks that fit in memory."""
        s = clusters.s
        step = max(1, NUMBERS_AT_ONCE // (len(s) * s.shape[-1] ** 2))
        for start in range(0, s.shape[1], step):
            yield self.equations(s[:, start : start + step])

    def thetas(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return estimates of θ, (…, K), from sums A (cells, …, K, K) and b (cells, …, K).

        The sums are over some of the documents, or weighted. The estimates are NaN if these do not
        identify all terms, or a half not all lags and leads.
        """
        if self.half_panel is None:
            return solve_normal_equations(a[0], b[0]).theta
        return half_panel_jackknife(a, b, self.n_lags).theta


def solve(moments: Moments) -> Solution | Unfitted:
    """Solve the normal equations of one layer, from the sums over all documents.

    The moments are as `Moments.prepared` returns them. There is no solution with too few rows, a
    constant or collinear terms, or halves of documents that do not identify the lags.
    """
    total = moments.total
    # The square root of Σ w² of each element of w about its mean.
    size = np.sqrt(np.maximum(np.diagonal(total[0]), 0))
    reason = _too_few_rows(moments) or _too_flat(moments, size)
    if reason is not None:
        return Unfitted(moments, reason)

    # Covariates come first, then lags and leads.
    order = np.argsort(list(map(is_lag_or_lead, moments.names)), kind="stable")
    names = [moments.names[place] for place in order]
    columns = np.array(moments.columns)[order]
    scale = size[columns]
    scaled = total[0][np.ix_(columns, columns)] / np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if not eigenvalues[-1] <= MAX_CONDITION * eigenvalues[0]:
        involved = np.flatnonzero(np.abs(vectors[:, 0]) > MIN_COLLINEAR_SHARE)
        terms = [names[place] for place in involved]
        facts = {"terms": terms, "fixed_effects": moments.has_fixed_effects}
        return Unfitted(moments, Reason(reasons.COLLINEAR, facts))

    # With L L' the scaled products, columns times L'⁻¹ / scale have the products I.
    root = np.linalg.cholesky(scaled)
    to_columns = solve_triangular(root, np.eye(moments.k), lower=True).T / scale[:, None]
    whiten = np.zeros((moments.p, moments.k + 1))
    whiten[columns, :-1] = to_columns
    whiten[1, -1] = 1
    # A of all rows is I but for rounding, which solving it removes.
    a, b, c = _equations(total, whiten)
    n_lags = 0
    half_panel = None
    if len(total) > 1:
        n_lags = sum(map(is_lag_or_lead, names))
        half_panel = half_panel_jackknife(a, b, n_lags)
        whole = half_panel.whole
        theta = half_panel.theta
    else:
        whole = solve_normal_equations(a[0], b[0])
        theta = whole.theta
    if np.isnan(theta).any():
        lags = names[len(names) - n_lags :]
        return Unfitted(moments, Reason(reasons.UNIDENTIFIED_HALF, {"terms": lags}))
    # A perfect fit leaves a rounding error of either sign.
    ssr = np.maximum(c[0] - 2 * theta @ b[0] + theta @ a[0] @ theta, 0)
    tss = total[0, 1, 1] - total[0, 0, 1] ** 2 / moments.n_obs
    return Solution(
        moments=moments,
        whiten=whiten,
        # The rows are brought back to the order of the names.
        unwhiten=to_columns[np.argsort(order)],
        n_lags=n_lags,
        whole=whole,
        half_panel=half_panel,
        ssr=float(ssr),
        tss=float(tss),
    )


def score_blocks(solution: Solution) -> Iterator[list[ClusterRows]]:
    """Yield blocks of clusters with their rows in each regression that θ is made of.

    They give v_g, what cluster g adds to θ. Without halves there is one regression:

        v_g = A⁻¹ s_g(θ),    s_g(θ) = b_g - A_g θ.

    The half-panel jackknife has three: of all rows, θ_all, and of either half of the documents, θ_1
    and θ_2. Its lags are θ̂_l = 2 θ_all,l - (θ_1,l + θ_2,l) / 2 and its other terms are
    A_cc⁻¹ (b_c - A_cl θ̂_l), so that with T = [-A_cc⁻¹ A_cl; I] and C = [A_cc⁻¹, 0; 0, 0]

        v_g = 2 T (A⁻¹)_l s_g(θ_all) + C s_g(θ̂) - T [(A_1⁻¹)_l s_1g(θ_1) + (A_2⁻¹)_l s_2g(θ_2)] / 2,

    where (·)_l are the rows of lags and s_mg the scores of half m. CR2 puts
    X_g' (I - X_g A⁻¹ X_g')^(-1/2) e_g for each s_g, with the X_g and A of its own regression, which
    is in coordinates in which its own A is I.
    """
    whole = solution.whole
    half_panel = solution.half_panel
    if half_panel is None:
        identity = np.eye(solution.moments.k)
        for a, b, _ in solution.by_cluster(solution.moments):
            scores = b[0] - a[0] @ whole.theta
            yield [ClusterRows(a[0], scores[:, None], identity)]
        return
    others = solution.moments.k - solution.n_lags
    to_all = half_panel.covariates.lags_to_all
    from_all_rows = 2 * to_all @ whole.inverse[others:]
    influence = np.hstack([from_all_rows, half_panel.covariates.inverse])
    for a, b, _ in solution.by_cluster(solution.moments):
        scores_of_whole = b[0] - a[0] @ whole.theta
        scores_of_half_panel = b[0] - a[0] @ half_panel.theta
        scores = np.stack([scores_of_whole, scores_of_half_panel], axis=1)
        regressions = [ClusterRows(a[0], scores, influence)]
        for cell, half in ((1, half_panel.first), (2, half_panel.second)):
            rows = half_rows(a[cell], b[cell], half)
            lags = rows.influence_map[others:]
            regressions.append(replace(rows, influence_map=-to_all @ lags / 2))
        yield regressions


def cluster_scores(solution: Solution) -> np.ndarray:
    """Return ψ_g, the change of θ per unit of the weight of each cluster, (clusters, K)."""
    scores = [np.zeros((0, solution.moments.k))]
    for regressions in score_blocks(solution):
        scores.append(np.sum([plain_scores(rows) for rows in regressions], axis=0))
    return np.concatenate(scores)


def half_rows(a: np.ndarray, b: np.ndarray, half: SolvedEquations) -> ClusterRows:
    """Return the regression of a half by cluster, in coordinates in which its own X'X is I.

    ``a`` and ``b`` have A_mg, (clusters, K, K), and b_mg, (clusters, K). The influence map is that
    of the half's own estimate θ_m.
    """
    whiten = whiten_half(half.inverse)
    scores = (b - a @ half.theta) @ whiten
    return ClusterRows(whiten.T @ a @ whiten, scores[:, None], whiten)


def _equations(s: np.ndarray, whiten: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A (…, K, K), b (…, K) and c (…) of moments, (…, p, p)."""
    k = whiten.shape[1] - 1
    whitened = product(s, whiten)
    return whitened[..., :k, :k], whitened[..., :k, k], whitened[..., k, k]


def _too_few_rows(moments: Moments) -> Reason | None:
    """Return why a layer has too few rows, if it has."""
    if moments.n_obs == 0 and moments.above < layers_before(moments.names):
        return Reason(reasons.NO_LAYER_BEFORE)
    if moments.n_obs > moments.k + moments.absorbed:
        return None
    facts = {"rows": moments.n_obs, "coefficients": moments.k, "absorbed": moments.absorbed}
    return Reason(reasons.TOO_FEW_ROWS, facts)


def _too_flat(moments: Moments, size: np.ndarray) -> Reason | None:
    """Return which terms are constant or vary by rounding only, if any do.

    ``size`` has the square root of Σ w² of each element of w about its mean, (p,).
    """
    fixed_effects = moments.has_fixed_effects
    root_rows = np.sqrt(moments.n_obs)
    smallest = MIN_VARIATION * root_rows * np.abs(moments.centre)
    root_squares = size
    if moments.squares is not None:
        # Removing the means of documents is a difference of sums, which has half the digits.
        root_squares = np.sqrt(np.maximum(moments.squares, 0))
        smallest = np.maximum(smallest, np.sqrt(MIN_VARIATION) * root_squares)
    constant = []
    for term, own, bound in zip(moments.terms, size[1:], smallest[1:], strict=True):
        if own <= bound:
            constant.append(term)
    if "y" in constant:
        return Reason(reasons.CONSTANT_OUTCOME, {"fixed_effects": fixed_effects})
    # The absolute error of a logarithm is the relative error of the number; other outcomes have an
    # error relative to their size.
    bound = MIN_SPREAD[moments.precision]
    min_spread = bound
    code = reasons.EQUAL_LOGARITHMS
    if not moments.outcome_is_logarithm:
        code = reasons.EQUAL_NUMBERS
        min_spread = bound * np.hypot(root_squares[1] / root_rows, moments.centre[1])
    for term, spread in zip(moments.terms, size[1:] / root_rows, strict=True):
        if (term == "y" or layers_before([term])) and spread < min_spread:
            facts = {
                "term": term,
                "fixed_effects": fixed_effects,
                "bound": bound,
                "precision": moments.precision,
            }
            return Reason(code, facts)
    if not constant:
        return None
    return Reason(reasons.CONSTANT_TERMS, {"terms": constant, "fixed_effects": fixed_effects})
