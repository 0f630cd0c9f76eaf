"""Least squares from cross-products per document: estimates, standard errors, fit.

Notation: for document g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors];
A, b, c are their sums over documents, N the rows, K the columns of X, G the documents. With
document effects there is no constant, and X and y have the means of their document taken out.

The half-panel jackknife combines three regressions, of all rows and of either half of every
document: b̂ = 2 b̂_all - (b̂_first + b̂_second) / 2 (Dhaene and Jochmans 2015; Chudik, Pesaran and
Yang 2018). All else here is written for such a combination b̂ = Σ λ_m b̂_m; ordinary least squares
is the one with a single part of weight 1. A covariate may vary too little in one of the halves to
be told from the others there, as the spline of position does in the second: its coefficient is
then that of all rows, and only the others are corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special
from scipy.linalg import solve_triangular

from attnlag.crossproducts import Stack, unpacked
from attnlag.errors import UserError, counted

# Below this, a t distribution with G - 1 degrees of freedom is no cure for so few clusters.
FEWEST_DOCUMENTS = 6

# A column that varies less than this, relative to its mean, varies by rounding only.
LEAST_VARIATION = 1e-12

# A design whose scaled cross-products are worse conditioned than this has lost all its digits.
WORST_CONDITION = 1e12

# A share of A that is left without a document, or in a half of them; less is rounding.
LEAST_LEFT = 1e-10

# Documents whose cross-products are solved at once.
CHUNK = 20_000

# The most influential documents that are kept of each layer and term.
INFLUENTIAL = 100

ADJUSTMENTS = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}
CLUSTERED = ("cluster", "cluster-jackknife")

HALF_PANEL = np.array([2.0, -0.5, -0.5])


@dataclass
class Solution:
    """The normal equations of one layer, in coordinates θ in which X'X of all rows is I.

    Attributes
    ----------
    status : str
        ``"ok"``, or why the layer cannot be fitted; nothing else is then set but the counts.
    n_obs, documents, absorbed : int
        Rows, documents that give rows, and means of documents that were taken out.
    weights : (parts, K) array
        λ of each part, for each coefficient.
    transform : (packed, K² + K + 1) array
        From packed cross-products to A, b and c in these coordinates.
    back : (K, K) array
        From θ to coefficients of centred data.
    breads, thetas : (parts, K, K) and (parts, K) arrays
        A⁻¹ and estimates of each part; a generalised inverse in a half that does not tell all
        terms apart.
    combine : (parts, K, K) array
        The weights in these coordinates: θ = Σ combine_m θ_m.
    theta : (K,) array
        The estimates.
    ssr, tss : float
        Sums of squares: residual, and total about the mean or the means of documents.
    """

    status: str
    n_obs: int
    documents: int
    absorbed: int = 0
    weights: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    transform: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    back: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    breads: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    thetas: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    combine: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    theta: np.ndarray = field(default_factory=lambda: np.empty(0))
    ssr: float = np.nan
    tss: float = np.nan

    @property
    def k(self) -> int:
        return len(self.theta)

    @property
    def df_resid(self) -> int:
        return self.n_obs - self.k - self.absorbed

    def equations(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return A (…, K, K), b (…, K) and c (…) of packed cross-products (…, packed)."""
        k = self.k
        flat = packed @ self.transform
        a = flat[..., : k * k].reshape(*packed.shape[:-1], k, k)
        return a, flat[..., k * k : -1], flat[..., -1]


def names_of(stack: Stack) -> list[str]:
    """Return the terms of a regression: the constant first, unless document effects absorb it."""
    return stack.terms[1:] if stack.fixed_effects else ["intercept", *stack.terms[1:]]


def solve(stack: Stack, index: int) -> Solution:
    """Solve the normal equations of one layer, from the sums over all documents.

    Parameters
    ----------
    stack : Stack
        Its clusters are not looked at.
    index : int
        Which of its layers.

    Returns
    -------
    solution : Solution
        With the reason as its status where there is none: too few rows, a constant, collinearity.
    """
    p, totals = stack.p, stack.totals[index]
    names = names_of(stack)
    columns = list(range(2 if stack.fixed_effects else 0, p))
    columns = columns if stack.fixed_effects else [0, *range(2, p)]
    k, n_obs = len(columns), int(np.rint(totals[0, 0]))
    documents = int(stack.documents[index])
    absorbed = documents if stack.fixed_effects else 0

    def without(status: str) -> Solution:
        return Solution(status, n_obs, documents, absorbed)

    if n_obs == 0 and "previous_layer" in names and stack.layers[index] == min(stack.layers):
        return without(NO_LAYER_BEFORE)
    if n_obs <= k + absorbed:
        beside = f" and {counted(absorbed, 'document effect')}" if absorbed else ""
        return without(f"{counted(n_obs, 'row')} for {counted(k, 'term')}{beside}")

    matrix = unpacked(totals, p)
    size = np.sqrt(np.maximum(np.diagonal(matrix[0]), 0))
    within = " within documents" if stack.fixed_effects else ""
    least = LEAST_VARIATION * np.sqrt(n_obs) * np.abs(stack.centre[index])
    if stack.fixed_effects:
        # What the means of documents leave is a difference of sums: it is known to half the digits.
        least = np.maximum(least, np.sqrt(LEAST_VARIATION) * stack.spread[index])
    constant = [
        term for term, place in zip(stack.terms, range(1, p), strict=True) if not size[place] > 0
    ] + [
        term
        for term, place in zip(stack.terms, range(1, p), strict=True)
        if 0 < size[place] <= least[place]
    ]
    if "y" in constant:
        return without(f"the outcome is constant{within}")
    if constant:
        are = "is" if len(constant) == 1 else "are"
        return without(f"{_listed(sorted(constant, key=stack.terms.index))} {are} constant{within}")

    scale = size[columns]
    scaled = matrix[0][np.ix_(columns, columns)] / np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if not eigenvalues[-1] <= WORST_CONDITION * eigenvalues[0]:
        involved = [n for n, x in zip(names, vectors[:, 0], strict=True) if abs(x) > 0.01]
        return without(f"{_listed(involved)} are collinear{within}")

    root = np.linalg.cholesky(scaled)
    back = solve_triangular(root, np.eye(k), lower=True).T / scale[:, None]
    chosen = np.zeros((p, k))
    chosen[columns] = back
    units = unpacked(np.eye(totals.shape[-1]), p)
    transform = np.concatenate(
        [
            (chosen.T @ units @ chosen).reshape(len(units), -1),
            units[:, 1] @ chosen,
            units[:, 1, 1:2],
        ],
        axis=1,
    )
    solution = Solution("ok", n_obs, documents, absorbed, transform=transform, back=back)
    solution.theta = np.empty(k)
    a, b, c = solution.equations(totals)
    solution.weights = np.ones((1, k))
    solution.breads = np.linalg.inv(a[:1])
    if len(totals) > 1:
        halves = generalised_inverse(a[1:])[0]
        solution.breads = np.concatenate([solution.breads, halves])
        # Which coefficients do the halves tell? Those whose row of back is in the space of A.
        missed = np.abs(back @ (halves @ a[1:] - np.eye(k))).max(axis=2)
        told = missed < 1e-6 * np.abs(back).max(axis=1)
        corrected = told.all(axis=0)
        solution.weights = np.where(corrected, HALF_PANEL[:, None], np.eye(3)[:, :1])
        lost = [
            term
            for term, known in zip(names, corrected, strict=True)
            if not known and term.startswith(("lag_", "lead_"))
        ]
        if lost:
            return without(f"a half of the documents alone does not tell {_listed(lost)}")
    inverse = np.linalg.inv(back)
    solution.combine = inverse @ (solution.weights[:, :, None] * back)
    solution.thetas = (solution.breads @ b[..., None])[..., 0]
    solution.thetas[0] = np.linalg.solve(a[0], b[0])
    solution.theta = theta = (solution.combine @ solution.thetas[..., None])[..., 0].sum(axis=0)
    solution.ssr = float(c[0] - 2 * theta @ b[0] + theta @ a[0] @ theta)
    solution.tss = float(matrix[0, 1, 1] - matrix[0, 0, 1] ** 2 / n_obs)
    return solution


def generalised_inverse(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return generalised inverses of (…, K, K) parts of I, and the ranks of the parts."""
    values, vectors = np.linalg.eigh(a)
    kept = values > LEAST_LEFT
    scaled = vectors / np.where(kept, values, np.inf)[..., None, :]
    return scaled @ np.swapaxes(vectors, -1, -2), kept.sum(axis=-1)


def part_estimates(
    solution: Solution, m: int, a: np.ndarray, b: np.ndarray, whole: np.ndarray
) -> np.ndarray:
    """Return what part ``m`` adds to the estimates when its sums are these.

    Parameters
    ----------
    solution : Solution
    m : int
    a, b : (…, K, K) and (…, K) arrays
        A and b of some of the documents.
    whole : (K, K) array
        A of all of them.

    Returns
    -------
    theta : (…, K) array
        NaN where these documents do not tell what all of them tell.
    """
    if m == 0:
        singular = np.linalg.det(a) <= LEAST_LEFT * np.linalg.det(whole)
        a[singular] = np.eye(solution.k)
        theta = np.linalg.solve(a, b[..., None])[..., 0]
    else:
        inverse, rank = generalised_inverse(a)
        singular = rank < generalised_inverse(whole)[1]
        theta = (inverse @ b[..., None])[..., 0]
    theta[singular] = np.nan
    return theta @ solution.combine[m].T


NO_LAYER_BEFORE = "there is no layer before it"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def solve_all(stack: Stack) -> list[Solution]:
    """Solve every layer."""
    return [solve(stack, index) for index in range(len(stack.layers))]


# --- covariances ---------------------------------------------------------------------------


@dataclass
class DocumentSums:
    """What one layer needs of each document, summed over all of them.

    Attributes
    ----------
    meat : (K, K) array
        Σ ψ_g ψ_g' with ψ_g = Σ λ_m A_m⁻¹ (b_g - A_g θ)_m.
    effective : float
        The number of equal documents that say as much about the first slope, G* = G / (1 + CV²(γ))
        with γ_g = e'A⁻¹ A_g A⁻¹ e: G*(0) of Carter, Schnepel and Steigerwald (2017) in MacKinnon,
        Nielsen and Webb (2023).
    """

    meat: np.ndarray
    effective: float


def sums_by_document(stack: Stack, solutions: Sequence[Solution]) -> list[DocumentSums]:
    """Return sums over all documents for every layer.

    Documents are read one block after another, so that this is exact where the stack is binned.
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
    """What one layer's estimates are without each of its clusters.

    Attributes
    ----------
    thetas : (clusters, K) array
        NaN where the rest is collinear or the cluster has no rows.
    sse : float
        Squared error of the predictions for each cluster by the rest; NaN if one has none.
    present : (clusters,) bool array
        Clusters that give rows.
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
            theta += part_estimates(solution, m, a[m] - a_g, b[m] - b_g, a[m])
            if m == 0:
                a_0, b_0, c_0 = a_g, b_g, c_g
        thetas[rows] = theta
        fitted = (a_0 @ theta[..., None])[..., 0]
        sse += float((c_0 - 2 * (theta * b_0).sum(axis=1) + (theta * fitted).sum(axis=1)).sum())
    return Jackknife(thetas, sse, present)


def cross_validated_sse(
    solution: Solution, packed: np.ndarray, totals: np.ndarray, folds: int
) -> float:
    """Return the squared error of predictions for clusters that the fit did not see.

    Cluster g is in fold g mod ``folds``, counted among those with rows. With the sums over a fold
    f, θ = (A - A_f)⁻¹(b - b_f) and SSE_f = c_f - 2 θ'b_f + θ'A_f θ. NaN with fewer than two
    clusters, or where a fold's rest is collinear.
    """
    packed = packed[:, packed[0, :, 0] > 0.5]
    folds = min(folds, packed.shape[1])
    if folds < 2:
        return np.nan
    sums = np.stack([packed[:, fold::folds].sum(axis=1) for fold in range(folds)], axis=1)
    return jackknife(solution, sums, totals).sse


# --- one layer -----------------------------------------------------------------------------


@dataclass
class Fit:
    """One layer's regression.

    Attributes
    ----------
    estimate : (K,) array
        Intercept first, unless document effects absorb it, then the regressors, on the scale of
        the data.
    covariance : (K, K) array
        Of the estimates.
    df : int
        Degrees of freedom of the t statistics: N - K, document effects counted in K, or
        clusters - 1 when clustered.
    n_obs, n_documents : int
    effective_documents : float
        As many equal documents (or bins of them) would say as much about the nearest lag, or the
        nearest lead if there is no lag.
    r_squared, adj_r_squared, cv_r_squared, loo_r_squared : float
        The last two of documents that the fit did not see: by folds, and one by one, against the
        overall mean. With document effects all are of what the means of documents leave.
    sigma : float
        Residual standard deviation, sqrt(SSR / (N - K)), document effects counted in K.
    condition_number : float
        Ratio of the largest to the smallest singular value of X, uncentred; with document effects
        of what their means leave.
    f_statistic, f_p_value : float
        Wald test that all slopes are zero; NaN where there are not enough clusters for it.
    log_likelihood : float
        Gaussian, at the estimates.
    parameters : int
        Terms and document effects.
    status : str
        ``"ok"``, or why the layer could not be fitted; the numbers are then NaN.
    without : (clusters, K) array
        The estimates of centred data without each cluster that gives rows.
    clusters : int array
        Their places in the stack.
    p_wild : (K,) array or None
        P-values of the wild cluster bootstrap, where it was asked for.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    df: int
    n_obs: int
    n_documents: int
    effective_documents: float
    r_squared: float
    adj_r_squared: float
    cv_r_squared: float
    loo_r_squared: float
    sigma: float
    condition_number: float
    f_statistic: float
    f_p_value: float
    log_likelihood: float
    parameters: int
    status: str
    without: np.ndarray
    clusters: np.ndarray
    p_wild: np.ndarray | None = None


def unfitted(columns: int, solution: Solution) -> Fit:
    """Return the fit of a layer that has none."""
    nan = float("nan")
    return Fit(
        estimate=np.full(columns, nan),
        covariance=np.full((columns, columns), nan),
        df=0,
        n_obs=solution.n_obs,
        n_documents=solution.documents,
        effective_documents=nan,
        r_squared=nan,
        adj_r_squared=nan,
        cv_r_squared=nan,
        loo_r_squared=nan,
        sigma=nan,
        condition_number=nan,
        f_statistic=nan,
        f_p_value=nan,
        log_likelihood=nan,
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
    folds: int,
    robust: np.ndarray | None = None,
) -> Fit:
    """Return one layer's fit from its solution.

    Parameters
    ----------
    stack : Stack
    index : int
        Which of its layers.
    solution : Solution
    by_document : DocumentSums
    covariance : str
        ``"cluster"``, ``"cluster-jackknife"``, ``"nonrobust"``, or another for which the
        covariance is given.
    folds : int
        Folds of clusters for the cross-validated R²; at most one per cluster is used.
    robust : (K, K) array, optional
        Covariance of the estimates of centred data, from the residuals themselves.
    """
    names = names_of(stack)
    if solution.status != "ok":
        return unfitted(len(names), solution)
    packed, totals = stack.products[index], stack.totals[index]
    back, theta, n_obs, k = solution.back, solution.theta, solution.n_obs, solution.k
    left_out = jackknife(solution, packed, totals)
    clusters = np.flatnonzero(left_out.present)
    without = left_out.thetas[clusters]
    if covariance in CLUSTERED and solution.documents < FEWEST_DOCUMENTS:
        solution.status = f"{counted(solution.documents, 'document')}: too few to cluster by"
        return unfitted(len(names), solution)
    if covariance == "cluster":
        g = solution.documents
        # One degree of freedom for the constant, or for the level of all document effects.
        factor = g / (g - 1) * (n_obs - 1) / (n_obs - k - (1 if solution.absorbed else 0))
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

    # Back to the scale of the data: only the intercept moves.
    centre = stack.centre[index]
    uncentre, estimate = np.eye(k), beta
    if not stack.fixed_effects:
        uncentre[0, 1:] = -centre[2:]
        estimate = uncentre @ beta
        estimate[0] += centre[1]
    # X'X itself, for the condition number that statisticians know.
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
        cv_r_squared=1 - cross_validated_sse(solution, packed, totals, folds) / tss,
        loo_r_squared=1 - left_out.sse / tss if len(clusters) > 1 else np.nan,
        sigma=float(np.sqrt(ssr / solution.df_resid)),
        condition_number=float(np.sqrt(eigenvalues[-1] / eigenvalues[0])),
        f_statistic=f_statistic,
        f_p_value=float(special.fdtrc(len(slopes), df, f_statistic)),
        log_likelihood=float(-n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)),
        parameters=k + solution.absorbed,
        status="ok",
        without=without @ back.T,
        clusters=clusters,
    )


def fit(
    stack: Stack,
    covariance: str,
    folds: int,
    solutions: Sequence[Solution] | None = None,
    robust: Sequence[np.ndarray] | None = None,
) -> list[Fit]:
    """Fit every layer of a merged stack.

    Parameters
    ----------
    stack : Stack
    covariance : str
    folds : int
    solutions : sequence of Solution, optional
        From `solve_all`, if they are at hand.
    robust : sequence of (K, K) arrays, optional
        Covariances from the residuals, for hc1, hc3 and hac.

    Raises
    ------
    UserError
        If errors are to be clustered by fewer than ``FEWEST_DOCUMENTS`` documents.
    """
    documents = int(stack.documents.max(initial=0))
    if covariance in CLUSTERED and documents < FEWEST_DOCUMENTS:
        raise UserError(
            f"inference.covariance: found {covariance} with {counted(documents, 'document')} that "
            f"give{'s' if documents == 1 else ''} rows, expected at least {FEWEST_DOCUMENTS} for "
            "errors clustered by document; use covariance: hac (Newey-West within sequences, also "
            "for a single document), covariance: nonrobust (independent errors, as the teaching "
            "notebook does), or more documents"
        )
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


# --- tables --------------------------------------------------------------------------------


def coefficients(
    fits: Sequence[Fit],
    stack: Stack,
    *,
    covariance: str,
    alpha: float,
    adjust: str,
) -> pd.DataFrame:
    """Return the tidy table: one row per layer and term.

    ``p_adjusted`` corrects the p-values of a term over the layers; it is left NaN for ``max-t``,
    which takes the bootstrap. Intervals are those of single coefficients at level 1 - ``alpha``.
    """
    rows = []
    for layer, result in zip(stack.layers, fits, strict=True):
        errors = np.sqrt(np.diag(result.covariance))
        for term, estimate, error in zip(names_of(stack), result.estimate, errors, strict=True):
            rows.append((layer, term, estimate, error, result.df))
    table = pd.DataFrame(rows, columns=["layer", "term", "estimate", "std_error", "df"])
    table["statistic"] = table["estimate"] / table["std_error"]
    table["p_value"] = 2 * special.stdtr(table["df"], -table["statistic"].abs())
    table["p_adjusted"] = np.nan
    if adjust != "max-t":
        table["p_adjusted"] = table.groupby("term")["p_value"].transform(adjusted, adjust=adjust)
    reach = special.stdtrit(table["df"], 1 - alpha / 2) * table["std_error"]
    table["conf_low"] = table["estimate"] - reach
    table["conf_high"] = table["estimate"] + reach
    table["vcov_type"] = covariance
    table["subset"] = "all"
    order = ["subset", "layer", "term", "estimate", "std_error", "statistic", "df", "p_value"]
    table = table[[*order, "p_adjusted", "conf_low", "conf_high", "vcov_type"]]
    if any(result.p_wild is not None for result in fits):
        missing = np.full(len(names_of(stack)), np.nan)
        found = [missing if result.p_wild is None else result.p_wild for result in fits]
        table["p_wild"] = np.concatenate(found)
    return table


def adjusted(p_values: pd.Series, adjust: str) -> np.ndarray:
    """Return p-values corrected for their number; NaN stays NaN and does not count."""
    corrected = p_values.to_numpy(copy=True)
    known = ~np.isnan(corrected)
    if adjust == "none" or not known.any():
        return corrected
    p = corrected[known]
    if adjust == "holm":
        # The default. Statsmodels, which has it too, takes most of a second to import.
        order = np.argsort(p)
        steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        p[order] = np.minimum(steps, 1)
    else:
        from statsmodels.stats.multitest import multipletests

        p = multipletests(p, method=ADJUSTMENTS[adjust])[1]
    corrected[known] = p
    return corrected


GOODNESS = [
    "n_obs",
    "n_documents",
    "effective_documents",
    "r_squared",
    "adj_r_squared",
    "cv_r_squared",
    "loo_r_squared",
    "sigma",
    "condition_number",
    "f_statistic",
    "f_p_value",
    "log_likelihood",
]


def fits_table(
    fits: Sequence[Fit],
    layers: Sequence[int],
    dropped: Sequence[int],
    diagnostics: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return one row per layer with the goodness of its fit.

    Parameters
    ----------
    fits : sequence of Fit
    layers : sequence of int
    dropped : sequence of int
        Rows of each layer that a zero or non-finite norm took.
    diagnostics : pandas.DataFrame, optional
        More columns, of the residuals, a row per layer.
    """
    rows = [
        [layer, *(getattr(result, name) for name in GOODNESS)]
        for layer, result in zip(layers, fits, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["layer", *GOODNESS])
    table.insert(2, "n_dropped", list(dropped))
    if diagnostics is not None:
        diagnostics = diagnostics.reset_index(drop=True).astype(float)
        diagnostics.loc[[result.status != "ok" for result in fits]] = np.nan
        table = pd.concat([table, diagnostics], axis=1)
    table["status"] = [result.status for result in fits]
    return table


def influence_table(fits: Sequence[Fit], stack: Stack) -> pd.DataFrame:
    """Return the documents without which the coefficients of lags and leads change most.

    At most ``INFLUENTIAL`` of each layer and term, largest change first: ``change`` is the estimate
    less the one without the document, ``change_in_se`` the same in standard errors.
    """
    rows = []
    names = names_of(stack)
    for index, (layer, result) in enumerate(zip(stack.layers, fits, strict=True)):
        if result.status != "ok":
            continue
        errors = np.sqrt(np.diag(result.covariance))
        for place, term in enumerate(names):
            if not term.startswith(("lag_", "lead_")):
                continue
            change = result.estimate[place] - result.without[:, place]
            # Ties in the order of the documents.
            order = np.argsort(-np.abs(np.nan_to_num(change)), kind="stable")[:INFLUENTIAL]
            for chosen in order:
                cluster = int(result.clusters[chosen])
                n_obs = int(np.rint(stack.products[index, 0, cluster, 0]))
                document = stack.clusters[cluster]
                part = change[chosen]
                rows.append((layer, term, document, n_obs, part, part / errors[place]))
    return pd.DataFrame(
        rows, columns=["layer", "term", "document", "n_obs", "change", "change_in_se"]
    )
