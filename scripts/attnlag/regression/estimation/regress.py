"""The regression of one layer: its estimates, their errors, and how well they fit."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnlag.errors import counted
from attnlag.regression.covariances import CATALOGUE, Covariance
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import NO_TEST, Adjusted, SatterthwaiteSums, Wald
from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.estimation.moments import Moments, product
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag


@dataclass
class LayerSums:
    """What the covariances of one layer are computed from: sums over its clusters.

    Documents are read block by block, so the sums are exact even if documents share bins. Degrees
    of freedom are those of the regression on all rows, also if halves correct it.
    """

    solution: Solution
    # meat, adjusted, (K, K) arrays: Σ ψ_g ψ_g' with the scores ψ_g of CRV1 and of CR2, which
    # `cluster_scores` gives.
    meat: np.ndarray
    adjusted: np.ndarray
    # Σ γ_g and Σ γ_g², with γ_g = e'A⁻¹ A_g A⁻¹ e of the first slope.
    gammas: np.ndarray
    # Degrees of freedom of CR2: of all coefficients, then of each joint test.
    tests: list[SatterthwaiteSums]
    # The estimates without each cluster, if asked for.
    left_out: "Jackknife | None" = None
    # (K, K) array or None: the middle of a covariance of centred coefficients, from the residuals.
    robust_meat: np.ndarray | None = None

    @classmethod
    def of(cls, solution: Solution, joint: Sequence[np.ndarray] = ()) -> "LayerSums":
        """Return the sums of a layer that is solved, for some joint tests."""
        moments, to_terms = solution.moments, solution.to_terms
        contrasts = [to_terms[:, None], *((each @ to_terms)[None] for each in joint)]
        tests = [SatterthwaiteSums.of(w, moments.count) for w in contrasts]
        meat, adjusted = np.zeros((2, solution.k, solution.k))
        sums = cls(solution, meat, adjusted, np.zeros(2), tests)
        first_slope = solution.back[0 if moments.within else 1]
        for block in moments.by_document():
            for a, b, _ in solution.by_cluster(block):
                of_rows = Adjusted.of(a[0], b[0] - a[0] @ solution.pieces[0].theta)
                plain, by_cr2 = cluster_scores(solution, a, b, of_rows)
                sums.meat += plain.T @ plain
                sums.adjusted += by_cr2.T @ by_cr2
                gamma = (a[0] @ first_slope) @ first_slope
                sums.gammas += gamma.sum(), gamma @ gamma
                for test in tests:
                    test.add(of_rows)
        return sums

    @property
    def clusters(self) -> int:
        """Number of clusters with rows."""
        return self.solution.moments.count

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of CR2 for each coefficient, (K,)."""
        return self.tests[0].df()

    @property
    def effective(self) -> float:
        """Effective number of clusters for the first slope.

        It is G* = G / (1 + CV²(γ)): G*(0) of Carter, Schnepel and Steigerwald (2017) as given by
        MacKinnon, Nielsen and Webb (2023).
        """
        total, squares = self.gammas
        return float(total**2 / squares) if squares > 0 else np.nan

    @property
    def crv1_factor(self) -> float:
        """G/(G-1) (N-1)/(N-K).

        Effects of documents are nested in the clusters: they cost one degree of freedom, for their
        level.
        """
        n, columns = self.solution.n_obs, self.solution.k + bool(self.solution.absorbed)
        return self.clusters / (self.clusters - 1) * (n - 1) / (n - columns)

    @property
    def left_out_clusters(self) -> int:
        """Number of clusters that were left out."""
        assert self.left_out is not None
        return len(self.left_out.clusters)

    @property
    def crv3(self) -> np.ndarray:
        """CRV3, from the changes of the estimates."""
        assert self.left_out is not None
        change, g = self.left_out.thetas - self.solution.theta, self.left_out_clusters
        return (g - 1) / g * change.T @ change

    @property
    def independent(self) -> np.ndarray:
        """The covariance under independent errors of equal variance."""
        return self.solution.ssr / self.solution.df_resid * np.eye(self.solution.k)


def cluster_scores(
    solution: Solution, a: np.ndarray, b: np.ndarray, of_rows: Adjusted
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ψ_g of clusters, (clusters, K), for CRV1 and for CR2.

    ψ_g = Σ R (b_mg - A_mg θ_m) is the change of the estimate per unit of the cluster's weight. For
    CR2 the scores of each part are those that CR2 gives its own regression; ``of_rows`` is the
    adjustment of all rows.
    """
    plain, adjusted = np.zeros((2, a.shape[1], solution.k))
    roots = {0: of_rows.root}
    for part, reach, theta, inverse in solution.pieces:
        scores = b[part] - a[part] @ theta
        plain += scores @ reach.T
        if part not in roots:
            assert inverse is not None
            to, back = coordinates_of_half(inverse)
            roots[part] = back @ clustered.cr2_adjustment(to.T @ a[part] @ to) @ to.T
        adjusted += (roots[part] @ scores[..., None])[..., 0] @ reach.T
    return plain, adjusted


def coordinates_of_half(inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps to coordinates in which X'X of a half is I, and back, given its inverse.

    They leave out what the half does not identify.
    """
    values, vectors = np.linalg.eigh(inverse)
    identified = values > 0.5  # A half is a summand of I.
    root, vectors = np.sqrt(values[identified]), vectors[:, identified]
    return vectors * root, vectors / root


def cr2_scores(solution: Solution) -> np.ndarray:
    """Return what clusters add to errors of coefficients of centred data, (clusters, K).

    Their sums of squares are the variances of CR2.
    """
    scores = [np.empty((0, solution.k))]
    for a, b, _ in solution.by_cluster():
        of_rows = Adjusted.of(a[0], b[0] - a[0] @ solution.pieces[0].theta)
        scores.append(cluster_scores(solution, a, b, of_rows)[1] @ solution.back.T)
    return np.concatenate(scores)


@dataclass
class Jackknife:
    """Estimates of one layer without each of its clusters that have rows."""

    # Indices of these clusters.
    clusters: np.ndarray
    # (clusters, K) array: NaN if the rest is collinear.
    thetas: np.ndarray
    # Squared error of the predictions for each cluster from the rest; NaN if one is undefined.
    sse: float


def jackknife(solution: Solution, clusters: Moments | None = None) -> Jackknife:
    """Leave out each cluster in turn and solve the rest; by default those of the moments."""
    clusters = solution.moments if clusters is None else clusters
    a, b, _ = solution.equations(solution.moments.total)
    used = np.flatnonzero(clusters.s[0, :, 0, 0] > 0.5)
    thetas, sse = [np.empty((0, solution.k))], 0.0
    for a_g, b_g, c_g in solution.by_cluster(replace(clusters, s=clusters.s[:, used])):
        theta, _ = solution.solved(a[:, None] - a_g, b[:, None] - b_g)
        thetas.append(theta)
        fitted = (a_g[0] @ theta[..., None])[..., 0]
        sse += float((c_g[0] + (theta * (fitted - 2 * b_g[0])).sum(axis=1)).sum())
    return Jackknife(used, np.concatenate(thetas), sse)


def cross_validated_sse(solution: Solution, folds: int | Moments) -> float:
    """Return the squared error of out-of-sample predictions for clusters.

    Cluster g, counted among those with rows, is in fold g mod ``folds``, unless moments of folds
    are given. With the sums over a fold f, θ = (A - A_f)⁻¹(b - b_f) and SSE_f = c_f - 2 θ'b_f +
    θ'A_f θ. The result is NaN with fewer than two clusters, or if the rest of a fold is collinear.
    """
    clusters = folds if isinstance(folds, Moments) else solution.moments
    s = clusters.s[:, clusters.s[0, :, 0, 0] > 0.5]
    count = s.shape[1] if isinstance(folds, Moments) else min(folds, s.shape[1])
    if count < 2:
        return np.nan
    sums = np.stack([s[:, fold::count].sum(axis=1) for fold in range(count)], axis=1)
    return jackknife(solution, replace(clusters, s=sums)).sse


@dataclass
class LayerFit:
    """One layer's regression."""

    layer: int
    names: list[str]  # of its terms
    # ``"ok"``, or the reason why the layer could not be fitted; the numbers are then NaN.
    status: str
    n_obs: int
    n_documents: int
    clusters: int  # with rows, documents even if they share bins
    parameters: int  # terms and document effects
    # estimate, uncorrected, (K,) arrays: on the scale of the data, corrected for bias or not.
    estimate: np.ndarray
    uncorrected: np.ndarray
    # (K, K) array: covariance of the estimates.
    covariance: np.ndarray
    # (K,) array: degrees of freedom of the t statistics: Satterthwaite's for CR2, clusters - 1 for
    # other clustered errors, otherwise N - K, where K includes document effects.
    df: np.ndarray
    # Other joint tests, in the order in which they were asked for.
    joint: list[Wald]
    # Columns of the table of fits: R² and the like.
    goodness: dict[str, float] = field(default_factory=dict)
    # The clusters that were left out, if each was, and the estimates on centred data without them,
    # (clusters, K).
    left_out: "LeftOut | None" = None
    # Joint test that all slopes are zero.
    wald: Wald = NO_TEST
    # Test that the halves of documents have equal lags and leads (`halves`).
    halves: Wald = NO_TEST


@dataclass
class LeftOut:
    """The clusters of a fit that were left out in turn."""

    places: np.ndarray  # (left out,) int array, among all clusters
    names: list[str]
    rows: np.ndarray  # (left out,) int array
    # (left out, K) array: estimates on centred data without each.
    without: np.ndarray


def unfitted(solution: Solution, status: str, joint: Sequence[np.ndarray] = ()) -> LayerFit:
    """Return the fit of a layer that cannot be fitted."""
    nothing = np.full(len(solution.moments.names), np.nan)
    tests = [NO_TEST._replace(df=len(contrasts)) for contrasts in joint]
    covariance = np.outer(nothing, nothing)
    return _fit(solution, status, nothing, nothing, covariance, nothing, tests)


def _fit(solution: Solution, status: str, *numbers: Any, **fields: Any) -> LayerFit:
    moments = solution.moments
    parameters = len(moments.names) + solution.absorbed
    counts = solution.n_obs, moments.documents, moments.count, parameters
    return LayerFit(moments.layer, moments.names, status, *counts, *numbers, **fields)


def obstacle_of(solution: Solution, covariance: Covariance, left_out: Jackknife | None) -> str:
    """Return ``"ok"``, or why a layer has no errors or no estimates."""
    moments = solution.moments
    if solution.status != "ok":
        return solution.status
    if covariance.clustered and moments.count < FEWEST_DOCUMENTS:
        unit = "group" if moments.grouped else "document"
        return f"{counted(moments.count, unit)}: too few to cluster by"
    if covariance.jackknife and left_out is not None:
        undefined = np.isnan(left_out.thetas).any(axis=1)
        if undefined.any():
            alone = moments.clusters[left_out.clusters[undefined.argmax()]]
            return f"without {alone} the regressors are collinear: no jackknife"
    return "ok"


def fitted(sums: LayerSums, covariance: Covariance, joint: Sequence[np.ndarray] = ()) -> LayerFit:
    """Return the estimates of one layer with their errors and joint tests."""
    solution, to_terms = sums.solution, sums.solution.to_terms
    estimate = solution.estimate
    v, df = to_terms @ covariance.of(sums) @ to_terms.T, covariance.df(sums)
    aht = covariance.satterthwaite
    degrees = [float(test.df()[0]) for test in sums.tests[1:]] if aht else [df] * len(joint)
    tests = [
        clustered.wald(contrasts @ estimate, contrasts @ v @ contrasts.T, eta, aht=aht)
        for contrasts, eta in zip(joint, degrees, strict=True)
    ]
    df = np.broadcast_to(np.asarray(df, dtype=float), len(estimate)).copy()
    unknown = np.isnan(df)
    v[unknown], v[:, unknown] = np.nan, np.nan
    # The first piece is the regression of all rows.
    plain = solution.coefficients(solution.pieces[0].theta)
    how_well = {"effective_documents": sums.effective, **goodness(solution)}
    return _fit(solution, "ok", estimate, plain, v, df, tests, goodness=how_well)


def goodness(solution: Solution) -> dict[str, float]:
    """Return how well the estimates of one layer fit all rows, by the column of the table of fits.

    With document effects, all R² refer to the variance within documents.
    """
    ssr, n_obs = solution.ssr, solution.n_obs
    r_squared = 1 - ssr / solution.tss
    of_lags, of_others = (residual_squares(solution.moments, lags=lags) for lags in (True, False))
    total_df = n_obs - (solution.absorbed or 1)
    # Corrected estimates do not maximise the likelihood.
    likelihood = -n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)
    return {
        "r_squared": r_squared,
        "adj_r_squared": 1 - (1 - r_squared) * total_df / solution.df_resid,
        "partial_r_squared": 1 - ssr / of_others,
        "r_squared_lags": 1 - of_lags / solution.tss,
        "r_squared_others": 1 - of_others / solution.tss,
        "sigma": float(np.sqrt(ssr / solution.df_resid)),
        "log_likelihood": np.nan if len(solution.moments.s) > 1 else float(likelihood),
    }


def out_of_sample(
    solution: Solution, left_out: Jackknife, folds: int | Moments
) -> dict[str, float]:
    """Return how well one layer predicts documents that it did not see, by column."""
    alone = len(left_out.clusters) < 2
    return {
        "cv_r_squared": 1 - cross_validated_sse(solution, folds) / solution.tss,
        "loo_r_squared": np.nan if alone else 1 - left_out.sse / solution.tss,
        "condition_number": condition_number(solution.moments),
    }


def residual_squares(moments: Moments, *, lags: bool) -> float:
    """Return the residual sum of squares of the regression on lags and leads alone, or without."""
    matrix = moments.total[0]
    columns = [place for place in range(2, moments.p) if is_lag(moments.terms[place - 1]) == lags]
    columns = columns if moments.within else [0, *columns]
    # The terms differ in size, and the regression has found them not to be collinear.
    size = np.sqrt(np.diag(matrix)[columns])
    a, b = matrix[np.ix_(columns, columns)] / np.outer(size, size), matrix[columns, 1] / size
    return float(matrix[1, 1] - b @ np.linalg.solve(a, b))


def condition_number(moments: Moments) -> float:
    """Return that of the uncentred X or, with document effects, of X without their means."""
    x, columns = moments.total[0], [*range(2, moments.p)]
    if not moments.within:
        columns = [0, *columns]
        shift = np.eye(moments.p)
        shift[0, 2:] = moments.centre[2:]
        x = product(x, shift)
    eigenvalues = np.linalg.eigvalsh(x[np.ix_(columns, columns)])
    return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))


def fit(
    solution: Solution,
    covariance: str,
    folds: int | Moments | None = None,
    *,
    robust_meat: np.ndarray | None = None,
    joint: Sequence[np.ndarray] = (),
    jackknifed: bool = False,
) -> LayerFit:
    """Fit one layer.

    Parameters
    ----------
    solution : Solution
        From `solve`.
    covariance : str
        One of `covariances.CATALOGUE`.
    folds : int, Moments or None
        Number of folds of clusters for the cross-validated R², at most one per cluster; or moments
        of the same documents, each of whose clusters is a fold. None leaves out what needs
        regressions without some clusters, and the test of all slopes.
    robust_meat : (K, K) array, optional
        From `residuals.robust_meat`, for a covariance that needs residuals.
    joint : sequence of (q, K) arrays
        Combinations of coefficients that are tested to be zero together.
    jackknifed : bool
        Whether to give the estimates without each cluster; with folds they always are.
    """
    moments, kind = solution.moments, CATALOGUE[covariance]
    tested, left_out = [*joint], None
    if folds is not None:
        tested.append(np.eye(len(moments.names))[0 if moments.within else 1 :])
    if solution.status == "ok" and (folds is not None or kind.jackknife or jackknifed):
        left_out = jackknife(solution)
    status = obstacle_of(solution, kind, left_out)
    if status != "ok":
        layer_fit = unfitted(solution, status, tested)
    else:
        sums = LayerSums.of(solution, tested)
        sums.left_out, sums.robust_meat = left_out, robust_meat
        layer_fit = fitted(sums, kind, tested)
        if left_out is not None:
            used, rows = left_out.clusters, moments.s[0, left_out.clusters, 0, 0]
            names = [moments.clusters[place] for place in used]
            without = left_out.thetas @ solution.back.T
            layer_fit.left_out = LeftOut(used, names, np.rint(rows).astype(np.int64), without)
            if folds is not None:
                layer_fit.goodness |= out_of_sample(solution, left_out, folds)
    if folds is not None:
        layer_fit.wald = layer_fit.joint.pop()
    return layer_fit
