"""Inference from cross-products: clustered covariances, the jackknife, cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from attnlag.errors import counted
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.clustered import NO_TEST, Freedom, Wald
from attnlag.regression.estimation.least_squares import Solution, names_of, solve_all
from attnlag.regression.estimation.packed import unpacked
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.limits import CLUSTERED, FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag

# Numbers in the cross-products of documents that are solved together.
NUMBERS_AT_ONCE = 2**22


@dataclass
class DocumentSums:
    """Sums over all documents for the covariance of one layer."""

    # meat, adjusted, (K, K) arrays: Σ ψ_g ψ_g' with the scores ψ_g of CRV1 and of CR2, which
    # `influences` gives.
    meat: np.ndarray
    adjusted: np.ndarray
    # Effective number of documents for the first slope, G* = G / (1 + CV²(γ)) with γ_g = e'A⁻¹ A_g
    # A⁻¹ e: G*(0) of Carter, Schnepel and Steigerwald (2017) as given by MacKinnon, Nielsen and
    # Webb (2023).
    effective: float
    # (K,) array: degrees of freedom of CR2 for each coefficient.
    df: np.ndarray
    # Those of joint tests.
    etas: list[float]


def uncentred(stack: Stack, index: int) -> np.ndarray:
    """Return the map from coefficients of centred data to those of the data, (K, K).

    It changes only the intercept, which is then that of an outcome with a mean of zero.
    """
    result = np.eye(len(names_of(stack)))
    if not stack.fixed_effects:
        result[0, 1:] = -stack.centre[index, 2:]
    return result


def sums_by_document(
    stack: Stack,
    solutions: Sequence[Solution],
    joint: Sequence[np.ndarray] = (),
) -> list[DocumentSums]:
    """Return sums over all documents for every layer, see `fit`.

    Documents are read block by block, so the sums are exact even if the stack is binned. Degrees of
    freedom are those of the regression on all rows, also if halves correct it.
    """
    sums_of_layers = []
    for index, solution in enumerate(solutions):
        zeros = np.zeros((2, solution.k, solution.k))
        tests = []
        if solution.status == "ok":
            to_terms = uncentred(stack, index) @ solution.back
            combined = [to_terms[:, None], *((contrasts @ to_terms)[None] for contrasts in joint)]
            tests = [Freedom.of(w, stack.count(index)) for w in combined]
        sums_of_layers.append((zeros, np.zeros(2), tests))
    place = 0 if stack.fixed_effects else 1
    reported = len(names_of(stack))
    for products in stack.by_document():
        for (meats, gammas, tests), packed, solution in zip(
            sums_of_layers, products, solutions, strict=True
        ):
            if solution.status != "ok":
                continue
            a, _, _ = solution.equations(packed[0])
            root = clustered.root_of_rest(a)
            plain, adjusted = influences(solution, packed, root)
            meats += plain.T @ plain, adjusted.T @ adjusted
            gamma = (a @ solution.back[place]) @ solution.back[place]
            gammas += gamma.sum(), gamma @ gamma
            z = a @ root
            m = z @ root - z @ z
            for test in tests:
                test.add(z, m)
    return [
        DocumentSums(
            meats[0],
            meats[1],
            float(gammas[0] ** 2 / gammas[1]) if gammas[1] > 0 else np.nan,
            tests[0].eta() if tests else np.full(reported, np.nan),
            [float(test.eta()[0]) for test in tests[1:]],
        )
        for meats, gammas, tests in sums_of_layers
    ]


def influences(
    solution: Solution, packed: np.ndarray, root: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ψ_g of one layer, (documents, K), for CRV1 and for CR2.

    ψ_g = Σ R (b_mg - A_mg θ_m) is the change of the estimate per unit of the document's weight. For
    CR2 the scores of each part are those that CR2 gives its own regression. ``root`` is from
    `clustered.root_of_rest` for all rows; without it both are for CRV1.
    """
    plain, adjusted = np.zeros((2, packed.shape[1], solution.k))
    roots: dict[int, np.ndarray] = {} if root is None else {0: root}
    for part, reach, theta, inverse in solution.pieces:
        a, b, _ = solution.equations(packed[part])
        scores = b - a @ theta
        plain += scores @ reach.T
        if root is None:
            continue
        if part not in roots:
            assert inverse is not None
            to, back = coordinates_of_half(inverse)
            roots[part] = back @ clustered.root_of_rest(to.T @ a @ to) @ to.T
        adjusted += (roots[part] @ scores[..., None])[..., 0] @ reach.T
    return plain, plain if root is None else adjusted


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
            root = clustered.root_of_rest(solution.equations(packed[0])[0])
            _, adjusted = influences(solution, packed, root)
            scores[:, index] = adjusted @ solution.back.T
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


def covariance_of_theta(
    kind: str,
    solution: Solution,
    by_document: DocumentSums,
    left_out: Jackknife | None,
    count: int,
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the covariance of θ, of independent errors if it is of residuals, and its df."""
    if kind == "cluster":
        return by_document.adjusted, by_document.df
    if kind == "cluster-crv1":
        return crv1_of_theta(solution, by_document, count), count - 1
    if kind == "cluster-jackknife":
        assert left_out is not None
        change, g = left_out.thetas - solution.theta, len(left_out.clusters)
        return (g - 1) / g * change.T @ change, g - 1
    return solution.ssr / solution.df_resid * np.eye(solution.k), solution.df_resid


def crv1_of_theta(solution: Solution, by_document: DocumentSums, count: int) -> np.ndarray:
    """Return CRV1 of θ.

    Effects of documents are nested in the clusters: they cost one degree of freedom, for their
    level.
    """
    columns = solution.k + bool(solution.absorbed)
    return clustered.crv1_factor(count, solution.n_obs, columns) * by_document.meat


def fit_layer(
    stack: Stack,
    index: int,
    solution: Solution,
    by_document: DocumentSums,
    *,
    covariance: str,
    folds: int | Stack | None,
    robust: np.ndarray | None = None,
    joint: Sequence[np.ndarray] = (),
) -> LayerFit:
    """Return one layer's fit from its solution, see `fit`."""
    packed, totals = stack.products[index], stack.totals[index]
    count, left_out = stack.count(index), None
    if solution.status == "ok" and covariance in CLUSTERED and count < FEWEST_DOCUMENTS:
        unit = "group" if stack.grouped else "document"
        solution.status = f"{counted(count, unit)}: too few to cluster by"
    if solution.status == "ok" and (folds is not None or covariance == "cluster-jackknife"):
        left_out = jackknife(solution, packed, totals)
        undefined = np.isnan(left_out.thetas).any(axis=1)
        if covariance == "cluster-jackknife" and undefined.any():
            alone = stack.clusters[left_out.clusters[undefined.argmax()]]
            solution.status = f"without {alone} the regressors are collinear: no jackknife"
    if solution.status != "ok":
        return unfitted(len(names_of(stack)), solution, joint)
    v, df = covariance_of_theta(covariance, solution, by_document, left_out, count)

    # Return to the scale of the data, which changes only the intercept.
    uncentre = uncentred(stack, index)
    to_terms = uncentre @ solution.back
    # The first piece is the regression of all rows.
    estimate, plain = to_terms @ solution.theta, to_terms @ solution.pieces[0].theta
    if not stack.fixed_effects:
        for values in (estimate, plain):
            values[0] += stack.centre[index, 1]
    v = to_terms @ v @ to_terms.T if robust is None else uncentre @ robust @ uncentre.T
    aht = covariance == "cluster"
    degrees = by_document.etas if aht else np.broadcast_to(df, len(joint)).tolist()
    tests = [
        clustered.wald(contrasts @ estimate, contrasts @ v @ contrasts.T, eta, aht=aht)
        for contrasts, eta in zip(joint, degrees, strict=True)
    ]
    df = np.broadcast_to(np.asarray(df, dtype=float), len(estimate)).copy()
    unknown = np.isnan(df)
    v[unknown], v[:, unknown] = np.nan, np.nan
    ssr, tss, n_obs = solution.ssr, solution.tss, solution.n_obs
    result = LayerFit(
        estimate=estimate,
        covariance=v,
        df=df,
        uncorrected=plain,
        n_obs=n_obs,
        n_documents=solution.documents,
        effective_documents=by_document.effective,
        r_squared=1 - ssr / tss,
        partial_r_squared=1 - ssr / residual_squares(stack, index, lags=False),
        r_squared_lags=1 - residual_squares(stack, index, lags=True) / tss,
        r_squared_others=1 - residual_squares(stack, index, lags=False) / tss,
        sigma=float(np.sqrt(ssr / solution.df_resid)),
        log_likelihood=np.nan
        if len(totals) > 1
        else float(-n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)),
        parameters=solution.k + solution.absorbed,
        status="ok",
        joint=tests,
    )
    total_df = n_obs - (solution.absorbed or 1)
    result.adj_r_squared = 1 - (1 - result.r_squared) * total_df / solution.df_resid
    if left_out is not None:
        result.clusters, result.without = left_out.clusters, left_out.thetas @ solution.back.T
    if left_out is None or folds is None:
        return result
    if isinstance(folds, Stack):
        packed = folds.products[index]
    number = packed.shape[1] if isinstance(folds, Stack) else folds
    result.cv_r_squared = 1 - cross_validated_sse(solution, packed, totals, number) / tss
    if len(left_out.clusters) > 1:
        result.loo_r_squared = 1 - left_out.sse / tss
    result.condition_number = condition_number(stack, index)
    return result


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
        One of `CLUSTERED`, ``"nonrobust"``, or another type whose covariances are given as
        ``robust``.
    folds : int, Stack or None
        Number of folds of clusters for the cross-validated R², at most one per cluster; or a stack
        of the same documents, each of whose clusters is a fold. None leaves out all that needs
        regressions without some clusters, and the test of all slopes.
    solutions : sequence of Solution, optional
        From `solve_all`, if already computed.
    robust : sequence of (K, K) arrays, optional
        Covariances of the estimates on centred data, computed from the residuals.
    joint : sequence of (q, K) arrays
        Combinations of coefficients that are tested to be zero together.
    """
    solutions = solve_all(stack) if solutions is None else solutions
    if folds is not None:
        slopes = np.eye(len(names_of(stack)))[0 if stack.fixed_effects else 1 :]
        joint = [*joint, slopes]
    by_document = sums_by_document(stack, solutions, joint)
    fits = [
        fit_layer(
            stack,
            index,
            solution,
            by_document[index],
            covariance=covariance,
            folds=folds,
            robust=None if robust is None else robust[index],
            joint=joint,
        )
        for index, solution in enumerate(solutions)
    ]
    if folds is not None:
        for layer_fit in fits:
            layer_fit.wald = layer_fit.joint.pop()
    return fits
