"""Inference from cross-products: clustered covariances, the jackknife, cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlag.errors import counted
from attnlag.regression.least_squares import Solution, names_of, part_inverses, solve_all
from attnlag.regression.packed import unpacked
from attnlag.regression.settings import CLUSTERED, FEWEST_DOCUMENTS
from attnlag.regression.stacks import Stack

# Number of documents whose cross-products are solved together.
CHUNK = 20_000


@dataclass
class DocumentSums:
    """Sums over all documents for the covariance of one layer.

    Attributes
    ----------
    meat : (K, K) array
        Σ ψ_g ψ_g' with ψ_g = Σ λ_m A_m⁻¹ (b_g - A_g θ)_m.
    effective : float
        Effective number of documents for the first slope, G* = G / (1 + CV²(γ)) with
        γ_g = e'A⁻¹ A_g A⁻¹ e: G*(0) of Carter, Schnepel and Steigerwald (2017) as given by
        MacKinnon, Nielsen and Webb (2023).
    """

    meat: np.ndarray
    effective: float


def sums_by_document(stack: Stack, solutions: Sequence[Solution]) -> list[DocumentSums]:
    """Return sums over all documents for every layer.

    Documents are read block by block, so the sums are exact even if the stack is binned.
    """
    meats = [np.zeros((s.k, s.k)) for s in solutions]
    gammas = np.zeros((len(solutions), 2))
    place = 0 if stack.fixed_effects else 1
    for products in stack.by_document():
        for index, (packed, solution) in enumerate(zip(products, solutions, strict=True)):
            if solution.status != "ok":
                continue
            psi = influences(solution, packed)
            meats[index] += psi.T @ psi
            a, _, _ = solution.equations(packed[0])
            gamma = (a @ solution.back[place]) @ solution.back[place]
            gammas[index] += gamma.sum(), gamma @ gamma
    return [
        DocumentSums(meat, float(total**2 / squares) if squares > 0 else np.nan)
        for meat, (total, squares) in zip(meats, gammas, strict=True)
    ]


def influences(solution: Solution, packed: np.ndarray) -> np.ndarray:
    """Return ψ_g, (documents, K), of one layer's (parts, documents, packed) cross-products."""
    psi = np.zeros((packed.shape[1], solution.k))
    parts = zip(solution.combine, solution.breads, solution.thetas, packed, strict=True)
    for combine, bread, theta, part in parts:
        a, b, _ = solution.equations(part)
        psi += (b - a @ theta) @ (combine @ bread).T
    return psi


@dataclass
class Jackknife:
    """Estimates of one layer without each of its clusters.

    Attributes
    ----------
    thetas : (clusters, K) array
        NaN if the rest is collinear or the cluster has no rows.
    sse : float
        Squared error of the predictions for each cluster from the rest; NaN if one is undefined.
    present : (clusters,) bool array
        Clusters with rows.
    """

    thetas: np.ndarray
    sse: float
    present: np.ndarray


def jackknife(solution: Solution, packed: np.ndarray, totals: np.ndarray) -> Jackknife:
    """Leave out each cluster in turn: θ₍g₎ = Σ λ_m (A_m - A_mg)⁻¹ (b_m - b_mg).

    Parameters
    ----------
    solution : Solution
    packed : (parts, clusters, packed) array
    totals : (parts, packed) array
    """
    a, b, _ = solution.equations(totals)
    present = packed[0, :, 0] > 0.5
    thetas = np.full((packed.shape[1], solution.k), np.nan)
    sse = 0.0
    chosen = np.flatnonzero(present)
    for start in range(0, len(chosen), CHUNK):
        rows = chosen[start : start + CHUNK]
        theta = np.zeros((len(rows), solution.k))
        for m in range(len(packed)):
            a_g, b_g, c_g = solution.equations(packed[m, rows])
            inverses = solution.combine[m] @ part_inverses(solution, m, a[m] - a_g, a[m])
            theta += (inverses @ (b[m] - b_g)[..., None])[..., 0]
            if m == 0:
                a_0, b_0, c_0 = a_g, b_g, c_g
        thetas[rows] = theta
        fitted = (a_0 @ theta[..., None])[..., 0]
        sse += float((c_0 - 2 * (theta * b_0).sum(axis=1) + (theta * fitted).sum(axis=1)).sum())
    return Jackknife(thetas, sse, present)


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
class Fit:
    """One layer's regression.

    Attributes
    ----------
    estimate : (K,) array
        Intercept first, unless document effects absorb it, then the regressors, on the scale of
        the data.
    covariance : (K, K) array
        Covariance of the estimates.
    df : int
        Degrees of freedom of the t statistics: clusters - 1 with clustered errors, otherwise N - K,
        where K includes document effects.
    n_obs, n_documents : int
    effective_documents : float
        Effective number of documents (or bins of them) for the shortest lag, or for the shortest
        lead if there is no lag.
    r_squared, adj_r_squared, cv_r_squared, loo_r_squared : float
        The last two are out of sample, for folds of documents and for single documents, against
        the overall mean. With document effects all four refer to the variance within documents.
    sigma : float
        Residual standard deviation, sqrt(SSR / (N - K)), where K includes document effects.
    condition_number : float
        Ratio of the largest to the smallest singular value of X, uncentred; with document effects,
        of X without the means of documents.
    f_statistic, f_p_value : float
        Wald test that all slopes are zero; NaN if there are too few clusters.
    log_likelihood : float
        Gaussian log likelihood at the estimates; NaN if they do not maximise it.
    parameters : int
        Number of terms and document effects.
    status : str
        ``"ok"``, or the reason why the layer could not be fitted; the numbers are then NaN.
    without : (clusters, K) array
        Estimates on centred data without each cluster that has rows.
    clusters : int array
        Indices of these clusters in the stack.
    uncorrected : tuple of str
        Terms that the half-panel jackknife does not correct, because a half of the documents does
        not identify them.
    p_wild : (K,) array or None
        P-values of the wild cluster bootstrap, if requested.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    n_obs: int
    n_documents: int
    parameters: int
    status: str
    without: np.ndarray
    clusters: np.ndarray
    df: int = 0
    effective_documents: float = np.nan
    r_squared: float = np.nan
    adj_r_squared: float = np.nan
    cv_r_squared: float = np.nan
    loo_r_squared: float = np.nan
    sigma: float = np.nan
    condition_number: float = np.nan
    f_statistic: float = np.nan
    f_p_value: float = np.nan
    log_likelihood: float = np.nan
    uncorrected: tuple[str, ...] = ()
    p_wild: np.ndarray | None = None


def unfitted(columns: int, solution: Solution) -> Fit:
    """Return the fit of a layer that cannot be fitted."""
    return Fit(
        estimate=np.full(columns, np.nan),
        covariance=np.full((columns, columns), np.nan),
        n_obs=solution.n_obs,
        n_documents=solution.documents,
        parameters=columns + solution.absorbed,
        status=solution.status,
        without=np.empty((0, columns)),
        clusters=np.empty(0, dtype=np.int64),
    )


def fit_layer(
    stack: Stack,
    index: int,
    solution: Solution,
    by_document: DocumentSums,
    *,
    covariance: str,
    folds: int | Stack,
    robust: np.ndarray | None = None,
) -> Fit:
    """Return one layer's fit from its solution.

    Parameters
    ----------
    stack : Stack
    index : int
        Place of the layer in the stack.
    solution : Solution
    by_document : DocumentSums
    covariance : str
        ``"cluster"``, ``"cluster-jackknife"``, ``"nonrobust"``, or another type whose covariance
        is given as ``robust``.
    folds : int or Stack
        Number of folds of clusters for the cross-validated R², at most one per cluster; or a stack
        of the same documents, each of whose clusters is a fold.
    robust : (K, K) array, optional
        Covariance of the estimates on centred data, computed from the residuals.
    """
    names = names_of(stack)
    if solution.status != "ok":
        return unfitted(len(names), solution)
    packed, totals = stack.products[index], stack.totals[index]
    back, theta, n_obs, k = solution.back, solution.theta, solution.n_obs, solution.k
    left_out = jackknife(solution, packed, totals)
    clusters = np.flatnonzero(left_out.present)
    without = left_out.thetas[clusters]
    count = stack.count(index)
    if covariance in CLUSTERED and count < FEWEST_DOCUMENTS:
        unit = "group" if stack.grouped else "document"
        solution.status = f"{counted(count, unit)}: too few to cluster by"
        return unfitted(len(names), solution)
    if covariance == "cluster":
        g = count
        # Document effects are nested in the clusters and together cost one degree of freedom, for
        # their level. Effects of tokens cost one each.
        taken_out = 1 + stack.absorbed if solution.absorbed else 0
        factor = g / (g - 1) * (n_obs - 1) / (n_obs - k - taken_out)
        v, df = factor * back @ by_document.meat @ back.T, g - 1
    elif covariance == "cluster-jackknife":
        g = len(clusters)
        if np.isnan(without).any():
            alone = stack.clusters[clusters[int(np.isnan(without).any(axis=1).argmax())]]
            solution.status = f"without {alone} the regressors are collinear: no jackknife"
            return unfitted(len(names), solution)
        change = without - theta
        v, df = (g - 1) / g * back @ (change.T @ change) @ back.T, g - 1
    elif covariance == "nonrobust":
        v, df = solution.ssr / solution.df_resid * back @ back.T, solution.df_resid
    else:
        assert robust is not None
        v, df = robust, solution.df_resid

    beta = back @ theta
    slopes = np.arange(0 if stack.fixed_effects else 1, k)
    f_statistic = float("nan")
    if len(slopes) <= df:
        v_slopes = v[np.ix_(slopes, slopes)]
        f_statistic = float(beta[slopes] @ np.linalg.solve(v_slopes, beta[slopes])) / len(slopes)

    # Return to the scale of the data, which changes only the intercept.
    centre = stack.centre[index]
    uncentre, estimate = np.eye(k), beta
    if not stack.fixed_effects:
        uncentre[0, 1:] = -centre[2:]
        estimate = uncentre @ beta
        estimate[0] += centre[1]
    # The condition number is defined by the uncentred X'X.
    columns = slopes + (2 if stack.fixed_effects else 1)
    x = unpacked(totals[0], stack.p)
    if stack.fixed_effects:
        x = x[np.ix_(columns, columns)]
    else:
        shift = np.eye(stack.p)
        shift[2:, 0] = centre[2:]
        chosen = [0, *range(2, stack.p)]
        x = (shift @ x @ shift.T)[np.ix_(chosen, chosen)]
    eigenvalues = np.linalg.eigvalsh(x)

    ssr, tss = solution.ssr, solution.tss
    if isinstance(folds, Stack):
        own = folds.products[index]
        unseen = cross_validated_sse(solution, own, totals, own.shape[1])
    else:
        unseen = cross_validated_sse(solution, packed, totals, folds)
    r_squared = 1 - ssr / tss
    total_df = n_obs - (solution.absorbed or 1)
    return Fit(
        estimate=estimate,
        covariance=uncentre @ v @ uncentre.T,
        df=df,
        n_obs=n_obs,
        n_documents=solution.documents,
        effective_documents=by_document.effective,
        r_squared=r_squared,
        adj_r_squared=1 - (1 - r_squared) * total_df / solution.df_resid,
        cv_r_squared=1 - unseen / tss,
        loo_r_squared=1 - left_out.sse / tss if len(clusters) > 1 else np.nan,
        sigma=float(np.sqrt(ssr / solution.df_resid)),
        condition_number=float(np.sqrt(eigenvalues[-1] / eigenvalues[0])),
        f_statistic=f_statistic,
        f_p_value=float(special.fdtrc(len(slopes), df, f_statistic)),
        log_likelihood=np.nan
        if len(totals) > 1
        else float(-n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)),
        parameters=k + solution.absorbed,
        status="ok",
        without=without @ back.T,
        clusters=clusters,
        uncorrected=tuple(
            name
            for name, of_parts in zip(names, solution.weights.T, strict=True)
            if len(totals) > 1 and not of_parts[1:].any()
        ),
    )


def fit(
    stack: Stack,
    covariance: str,
    folds: int | Stack,
    solutions: Sequence[Solution] | None = None,
    robust: Sequence[np.ndarray] | None = None,
) -> list[Fit]:
    """Fit every layer of a merged stack.

    Parameters
    ----------
    stack : Stack
    covariance : str
    folds : int or Stack
    solutions : sequence of Solution, optional
        From `solve_all`, if already computed.
    robust : sequence of (K, K) arrays, optional
        Covariances computed from the residuals, for hc1, hc3 and hac.
    """
    solutions = solve_all(stack) if solutions is None else solutions
    by_document = sums_by_document(stack, solutions)
    return [
        fit_layer(
            stack,
            index,
            solution,
            by_document[index],
            covariance=covariance,
            folds=folds,
            robust=None if robust is None else robust[index],
        )
        for index, solution in enumerate(solutions)
    ]
