"""Inference from cross-products: clustered covariances, the jackknife, cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnlag.errors import counted
from attnlag.regression.covariances import CATALOGUE, Covariance
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import NO_TEST, Adjusted, SatterthwaiteSums, Wald
from attnlag.regression.estimation.least_squares import Solution, names_of, solve_all
from attnlag.regression.estimation.packed import unpacked
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag

# Numbers in the cross-products of documents that are solved together.
NUMBERS_AT_ONCE = 2**22


@dataclass
class ScoreSums:
    """Sums over the clusters of one layer of what its coefficients owe to each."""

    # meat, adjusted, (K, K) arrays: Σ ψ_g ψ_g' with the scores ψ_g of CRV1 and of CR2, which
    # `cluster_scores` gives.
    meat: np.ndarray
    adjusted: np.ndarray
    # Σ γ_g and Σ γ_g², with γ_g = e'A⁻¹ A_g A⁻¹ e of the first slope.
    gammas: np.ndarray
    # Degrees of freedom of CR2: of all coefficients, then of each joint test.
    tests: list[SatterthwaiteSums]

    @classmethod
    def of(
        cls, stack: Stack, index: int, solution: Solution, joint: Sequence[np.ndarray] = ()
    ) -> "ScoreSums":
        """Return the sums over no clusters of a layer."""
        # Without a fit there are no degrees of freedom: NaN.
        tests = [SatterthwaiteSums.of(np.zeros((len(names_of(stack)), 1, 1)), 0)]
        if solution.status == "ok":
            to_terms = uncentred(stack, index) @ solution.back
            contrasts = [to_terms[:, None], *((each @ to_terms)[None] for each in joint)]
            tests = [SatterthwaiteSums.of(w, stack.count(index)) for w in contrasts]
        meat, adjusted = np.zeros((2, solution.k, solution.k))
        return cls(meat, adjusted, np.zeros(2), tests)

    def add(self, solution: Solution, packed: np.ndarray, first_slope: int) -> None:
        """Add the (parts, clusters, packed) cross-products of clusters."""
        a, b, _ = solution.equations(packed[0])
        adjusted_rows = Adjusted.of(a, b - a @ solution.pieces[0].theta)
        plain, adjusted = cluster_scores(solution, packed, adjusted_rows)
        self.meat += plain.T @ plain
        self.adjusted += adjusted.T @ adjusted
        gamma = (a @ solution.back[first_slope]) @ solution.back[first_slope]
        self.gammas += gamma.sum(), gamma @ gamma
        for test in self.tests:
            test.add(adjusted_rows)

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of CR2 for each coefficient, (K,)."""
        return self.tests[0].df()

    @property
    def etas(self) -> list[float]:
        """Degrees of freedom of CR2 for each joint test."""
        return [float(test.df()[0]) for test in self.tests[1:]]

    @property
    def effective(self) -> float:
        """Effective number of clusters for the first slope.

        It is G* = G / (1 + CV²(γ)): G*(0) of Carter, Schnepel and Steigerwald (2017) as given by
        MacKinnon, Nielsen and Webb (2023).
        """
        total, squares = self.gammas
        return float(total**2 / squares) if squares > 0 else np.nan


def uncentred(stack: Stack, index: int) -> np.ndarray:
    """Return the map from coefficients of centred data to those of the data, (K, K).

    It changes only the intercept, which is then that of an outcome with a mean of zero.
    """
    result = np.eye(len(names_of(stack)))
    if not stack.fixed_effects:
        result[0, 1:] = -stack.centre[index, 2:]
    return result


def sums_of_scores(
    stack: Stack, solutions: Sequence[Solution], joint: Sequence[np.ndarray] = ()
) -> list[ScoreSums]:
    """Return sums over all documents for every layer, see `fit`.

    Documents are read block by block, so the sums are exact even if the stack is binned. Degrees of
    freedom are those of the regression on all rows, also if halves correct it.
    """
    sums = [ScoreSums.of(stack, index, each, joint) for index, each in enumerate(solutions)]
    for products in stack.by_document():
        for of_layer, packed, solution in zip(sums, products, solutions, strict=True):
            if solution.status == "ok":
                of_layer.add(solution, packed, 0 if stack.fixed_effects else 1)
    return sums


def cluster_scores(
    solution: Solution, packed: np.ndarray, of_rows: Adjusted
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ψ_g of one layer, (clusters, K), for CRV1 and for CR2.

    ψ_g = Σ R (b_mg - A_mg θ_m) is the change of the estimate per unit of the cluster's weight. For
    CR2 the scores of each part are those that CR2 gives its own regression; ``of_rows`` is the
    adjustment of all rows.
    """
    plain, adjusted = np.zeros((2, packed.shape[1], solution.k))
    roots = {0: of_rows.root}
    for part, reach, theta, inverse in solution.pieces:
        a, b, _ = solution.equations(packed[part])
        scores = b - a @ theta
        plain += scores @ reach.T
        if part not in roots:
            assert inverse is not None
            to, back = coordinates_of_half(inverse)
            roots[part] = back @ clustered.cr2_adjustment(to.T @ a @ to) @ to.T
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


def cr2_scores(stack: Stack, solutions: Sequence[Solution]) -> np.ndarray:
    """Return what clusters add to errors of coefficients of centred data, (clusters, layers, K).

    Their sums of squares are the variances of CR2; NaN in layers that are not fitted.
    """
    shape = (len(stack.clusters), len(solutions), len(names_of(stack)))
    scores = np.full(shape, np.nan)
    for index, solution in enumerate(solutions):
        if solution.status == "ok":
            packed = stack.products[index]
            a, b, _ = solution.equations(packed[0])
            of_rows = Adjusted.of(a, b - a @ solution.pieces[0].theta)
            scores[:, index] = cluster_scores(solution, packed, of_rows)[1] @ solution.back.T
    return scores


@dataclass
class Jackknife:
    """Estimates of one layer without each of its clusters that have rows."""

    # Indices of these clusters.
    clusters: np.ndarray
    # (clusters, K) array: NaN if the rest is collinear.
    thetas: np.ndarray
    # Squared error of the predictions for each cluster from the rest; NaN if one is undefined.
    sse: float


def jackknife(solution: Solution, packed: np.ndarray, totals: np.ndarray) -> Jackknife:
    """Leave out each cluster in turn and solve the rest.

    ``packed`` has the products of clusters, (parts, clusters, packed), and ``totals`` their sums.
    """
    a, b, _ = solution.equations(totals)
    clusters = np.flatnonzero(packed[0, :, 0] > 0.5)
    thetas = np.empty((len(clusters), solution.k))
    sse = 0.0
    step = max(1, NUMBERS_AT_ONCE // (len(packed) * solution.k**2))
    for start in range(0, len(clusters), step):
        block = slice(start, start + step)
        a_g, b_g, c_g = solution.equations(packed[:, clusters[block]])
        theta, _ = solution.solved(a[:, None] - a_g, b[:, None] - b_g)
        thetas[block] = theta
        fitted = (a_g[0] @ theta[..., None])[..., 0]
        sse += float(
            (c_g[0] - 2 * (theta * b_g[0]).sum(axis=1) + (theta * fitted).sum(axis=1)).sum()
        )
    return Jackknife(clusters, thetas, sse)


def cross_validated_sse(
    solution: Solution, packed: np.ndarray, totals: np.ndarray, folds: int
) -> float:
    """Return the squared error of out-of-sample predictions for clusters.

    Cluster g, counted among those with rows, is in fold g mod ``folds``. With the sums over a fold
    f, θ = (A - A_f)⁻¹(b - b_f) and SSE_f = c_f - 2 θ'b_f + θ'A_f θ. The result is NaN with fewer
    than two clusters, or if the rest of a fold is collinear.
    """
    packed = packed[:, packed[0, :, 0] > 0.5]
    folds = min(folds, packed.shape[1])
    if folds < 2:
        return np.nan
    sums = np.stack([packed[:, fold::folds].sum(axis=1) for fold in range(folds)], axis=1)
    return jackknife(solution, sums, totals).sse


@dataclass
class LayerFit:
    """One layer's regression."""

    # (K,) array: intercept first, unless document effects absorb it, then the regressors, on the
    # scale of the data.
    estimate: np.ndarray
    # (K, K) array: covariance of the estimates.
    covariance: np.ndarray
    n_obs: int
    n_documents: int
    # Number of terms and document effects.
    parameters: int
    # ``"ok"``, or the reason why the layer could not be fitted; the numbers are then NaN.
    status: str
    # (K,) array: degrees of freedom of the t statistics: Satterthwaite's for CR2, clusters - 1 for
    # other clustered errors, otherwise N - K, where K includes document effects.
    df: np.ndarray
    # (K,) array: estimates before the correction of bias, if there is one.
    uncorrected: np.ndarray
    # Indices of the clusters with rows in the stack, if each was left out.
    clusters: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    # (clusters, K) array: estimates on centred data without each of them.
    without: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    # Effective number of documents (or bins of them) for the shortest lag, or for the shortest lead
    # if there is no lag.
    effective_documents: float = np.nan
    # r_squared, adj_r_squared, cv_r_squared, loo_r_squared: the last two are out of sample, for
    # folds of documents and for single documents, against the overall mean. With document effects
    # all four refer to the variance within documents.
    r_squared: float = np.nan
    adj_r_squared: float = np.nan
    cv_r_squared: float = np.nan
    loo_r_squared: float = np.nan
    # R² of the lags and leads given the other terms: 1 - SSR / SSR without them.
    partial_r_squared: float = np.nan
    # R² of the regressions on the lags and leads alone, and on the other terms alone.
    r_squared_lags: float = np.nan
    r_squared_others: float = np.nan
    # Residual standard deviation, sqrt(SSR / (N - K)), where K includes document effects.
    sigma: float = np.nan
    # Ratio of the largest to the smallest singular value of X, uncentred; with document effects, of
    # X without the means of documents.
    condition_number: float = np.nan
    # Joint test that all slopes are zero.
    wald: Wald = NO_TEST
    # Test that the halves of documents have equal lags and leads (`halves`).
    halves: Wald = NO_TEST
    # Other joint tests.
    joint: list[Wald] = field(default_factory=list)
    # Gaussian log likelihood at the estimates; NaN if they do not maximise it.
    log_likelihood: float = np.nan

    @property
    def f_statistic(self) -> float:
        return self.wald.statistic

    @property
    def f_df(self) -> int:
        return self.wald.df

    @property
    def f_df_residual(self) -> float:
        return self.wald.df_residual

    @property
    def f_p_value(self) -> float:
        return self.wald.p_value


def unfitted(columns: int, solution: Solution, joint: Sequence[np.ndarray]) -> LayerFit:
    """Return the fit of a layer that cannot be fitted."""
    return LayerFit(
        estimate=np.full(columns, np.nan),
        covariance=np.full((columns, columns), np.nan),
        n_obs=solution.n_obs,
        n_documents=solution.documents,
        parameters=columns + solution.absorbed,
        status=solution.status,
        df=np.full(columns, np.nan),
        uncorrected=np.full(columns, np.nan),
        joint=[NO_TEST._replace(df=len(contrasts)) for contrasts in joint],
    )


@dataclass
class LayerSums:
    """What the covariances of one layer are computed from."""

    solution: Solution
    scores: ScoreSums
    clusters: int  # with rows
    # The estimates without each cluster, if asked for.
    left_out: Jackknife | None = None
    # (K, K) array or None: the middle of a covariance of centred coefficients, from the residuals.
    robust_meat: np.ndarray | None = None

    @property
    def crv1_factor(self) -> np.ndarray:
        """The factor of CRV1.

        Effects of documents are nested in the clusters: they cost one degree of freedom, for their
        level.
        """
        columns = self.solution.k + bool(self.solution.absorbed)
        return clustered.crv1_factor(self.clusters, self.solution.n_obs, columns)

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


def obstacle_of(sums: LayerSums, stack: Stack, covariance: Covariance) -> str:
    """Return ``"ok"``, or why a layer has no errors or no estimates."""
    if sums.solution.status != "ok":
        return sums.solution.status
    if covariance.clustered and sums.clusters < FEWEST_DOCUMENTS:
        unit = "group" if stack.grouped else "document"
        return f"{counted(sums.clusters, unit)}: too few to cluster by"
    if covariance.jackknife and sums.left_out is not None:
        undefined = np.isnan(sums.left_out.thetas).any(axis=1)
        if undefined.any():
            alone = stack.clusters[sums.left_out.clusters[undefined.argmax()]]
            return f"without {alone} the regressors are collinear: no jackknife"
    return "ok"


def fitted(
    stack: Stack,
    index: int,
    sums: LayerSums,
    covariance: Covariance,
    joint: Sequence[np.ndarray] = (),
) -> LayerFit:
    """Return the estimates of one layer with their errors and joint tests."""
    solution, scores = sums.solution, sums.scores
    # Return to the scale of the data, which changes only the intercept.
    to_terms = uncentred(stack, index) @ solution.back
    # The first piece is the regression of all rows.
    estimate, plain = to_terms @ solution.theta, to_terms @ solution.pieces[0].theta
    if not stack.fixed_effects:
        for values in (estimate, plain):
            values[0] += stack.centre[index, 1]
    v, df = to_terms @ covariance.of(sums) @ to_terms.T, covariance.df(sums)
    aht = covariance.satterthwaite
    degrees = scores.etas if aht else np.broadcast_to(df, len(joint)).tolist()
    tests = [
        clustered.wald(contrasts @ estimate, contrasts @ v @ contrasts.T, eta, aht=aht)
        for contrasts, eta in zip(joint, degrees, strict=True)
    ]
    df = np.broadcast_to(np.asarray(df, dtype=float), len(estimate)).copy()
    unknown = np.isnan(df)
    v[unknown], v[:, unknown] = np.nan, np.nan
    return LayerFit(
        estimate=estimate,
        covariance=v,
        df=df,
        uncorrected=plain,
        n_obs=solution.n_obs,
        n_documents=solution.documents,
        effective_documents=scores.effective,
        parameters=solution.k + solution.absorbed,
        status="ok",
        joint=tests,
        **goodness(stack, index, solution),
    )


def goodness(stack: Stack, index: int, solution: Solution) -> dict[str, Any]:
    """Return how well the estimates of one layer fit all rows, by the field of `LayerFit`."""
    ssr, n_obs = solution.ssr, solution.n_obs
    r_squared = 1 - ssr / solution.tss
    total_df = n_obs - (solution.absorbed or 1)
    # Corrected estimates do not maximise the likelihood.
    likelihood = -n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)
    return {
        "r_squared": r_squared,
        "adj_r_squared": 1 - (1 - r_squared) * total_df / solution.df_resid,
        "partial_r_squared": 1 - ssr / residual_squares(stack, index, lags=False),
        "r_squared_lags": 1 - residual_squares(stack, index, lags=True) / solution.tss,
        "r_squared_others": 1 - residual_squares(stack, index, lags=False) / solution.tss,
        "sigma": float(np.sqrt(ssr / solution.df_resid)),
        "log_likelihood": np.nan if len(stack.totals[index]) > 1 else float(likelihood),
    }


def out_of_sample(stack: Stack, index: int, sums: LayerSums, folds: int | Stack) -> dict[str, Any]:
    """Return how well one layer predicts documents that it did not see, by field of `LayerFit`."""
    assert sums.left_out is not None
    solution, packed, number = sums.solution, stack.products[index], folds
    if isinstance(folds, Stack):
        packed, number = folds.products[index], folds.products.shape[2]
    assert isinstance(number, int)
    sse = cross_validated_sse(solution, packed, stack.totals[index], number)
    return {
        "cv_r_squared": 1 - sse / solution.tss,
        "loo_r_squared": 1 - sums.left_out.sse / solution.tss
        if sums.left_out_clusters > 1
        else np.nan,
        "condition_number": condition_number(stack, index),
    }


def residual_squares(stack: Stack, index: int, *, lags: bool) -> float:
    """Return the residual sum of squares of the regression on lags and leads alone, or without."""
    matrix = unpacked(stack.totals[index, 0], stack.p)
    columns = [place for place in range(2, stack.p) if is_lag(stack.terms[place - 1]) == lags]
    columns = columns if stack.fixed_effects else [0, *columns]
    # The terms differ in size, and the regression has found them not to be collinear.
    size = np.sqrt(np.diag(matrix)[columns])
    a, b = matrix[np.ix_(columns, columns)] / np.outer(size, size), matrix[columns, 1] / size
    return float(matrix[1, 1] - b @ np.linalg.solve(a, b))


def condition_number(stack: Stack, index: int) -> float:
    """Return that of the uncentred X or, with document effects, of X without their means."""
    x = unpacked(stack.totals[index, 0], stack.p)
    columns = [*range(2, stack.p)]
    if not stack.fixed_effects:
        columns = [0, *columns]
        shift = np.eye(stack.p)
        shift[2:, 0] = stack.centre[index, 2:]
        x = shift @ x @ shift.T
    eigenvalues = np.linalg.eigvalsh(x[np.ix_(columns, columns)])
    return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))


def fit(
    stack: Stack,
    covariance: str,
    folds: int | Stack | None,
    solutions: Sequence[Solution] | None = None,
    robust: Sequence[np.ndarray] | None = None,
    joint: Sequence[np.ndarray] = (),
) -> list[LayerFit]:
    """Fit every layer of a merged stack.

    Parameters
    ----------
    covariance : str
        One of `covariances.CATALOGUE`.
    folds : int, Stack or None
        Number of folds of clusters for the cross-validated R², at most one per cluster; or a stack
        of the same documents, each of whose clusters is a fold. None leaves out all that needs
        regressions without some clusters, and the test of all slopes.
    solutions : sequence of Solution, optional
        From `solve_all`, if already computed.
    robust : sequence of (K, K) arrays, optional
        From `residuals.robust_meat`, for a covariance that needs residuals.
    joint : sequence of (q, K) arrays
        Combinations of coefficients that are tested to be zero together.
    """
    solutions = solve_all(stack) if solutions is None else solutions
    kind = CATALOGUE[covariance]
    if folds is not None:
        slopes = np.eye(len(names_of(stack)))[0 if stack.fixed_effects else 1 :]
        joint = [*joint, slopes]
    scores = sums_of_scores(stack, solutions, joint)
    fits = []
    for index, solution in enumerate(solutions):
        sums = LayerSums(solution, scores[index], stack.count(index))
        sums.robust_meat = None if robust is None else robust[index]
        if solution.status == "ok" and (folds is not None or kind.jackknife):
            sums.left_out = jackknife(solution, stack.products[index], stack.totals[index])
        status = obstacle_of(sums, stack, kind)
        if status != "ok":
            fits.append(unfitted(len(names_of(stack)), replace(solution, status=status), joint))
            continue
        layer_fit = fitted(stack, index, sums, kind, joint)
        if sums.left_out is not None:
            layer_fit.clusters = sums.left_out.clusters
            layer_fit.without = sums.left_out.thetas @ solution.back.T
        if folds is not None:
            layer_fit = replace(layer_fit, **out_of_sample(stack, index, sums, folds))
        fits.append(layer_fit)
    if folds is not None:
        for layer_fit in fits:
            layer_fit.wald = layer_fit.joint.pop()
    return fits
