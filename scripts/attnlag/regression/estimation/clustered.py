"""Clustered covariances and their degrees of freedom, from sums over each cluster.

In coordinates in which X'X of all rows is I, cluster g has A_g = X_g'X_g and scores
s_g = X_g'(y_g - X_g θ). Three covariances of θ are built from these:

- CRV1: G/(G-1) (N-1)/(N-K) Σ s_g s_g', with G - 1 degrees of freedom;
- CR2: Σ s̃_g s̃_g' with s̃_g = (I - A_g)^(-1/2) s_g, which is unbiased if errors are independent and
  of equal variance (Bell and McCaffrey 2002). An estimate w'θ has Satterthwaite's degrees of
  freedom tr(Γ)²/‖Γ‖², where Γ is the covariance of the w's̃_g under such errors. A joint test of q
  estimates has the approximate Hotelling distribution (AHT) of Pustejovsky and Tipton (2018);
- CRV3, which leaves out each cluster in turn (`Jackknife`), with G - 1.

How a clustered error is computed: `least_squares.solve` gives θ as a sum of pieces R b_m (`Piece`;
a piece has a cell m, all rows or a half of them, and a gain R), and the map ``back`` from θ to the
coefficients. `cluster_scores` adds up the scores of the pieces, ψ_g = Σ R s_mg, or Σ R s̃_mg for
CR2; without halves these are s_g and s̃_g. An entry of `covariances.CATALOGUE` makes a covariance
of θ of these, and `ClusterSums.errors` makes that of the coefficients (by ``to_terms``: ``back``,
and the shift of the intercept from centred data); `results.coefficients_table` takes its roots.

Γ has a row and a column per cluster, but its trace and norm need only K x K sums over the clusters:
with Z_g = A_g (I - A_g)^(-1/2) and M_g = w'A_g w, Γ_gg = M_g and Γ_gh = -(Z_g w)'(Z_h w). A joint
test has q x q blocks Γ_gh, and η = q(q+1) / Σ_gh (tr Γ_gh² + (tr Γ_gh)²) for rows w that are
orthonormal.

References
----------
Bell and McCaffrey, Bias reduction in standard errors for linear regression with multi-stage
samples. Survey Methodology 28 (2002).
Pustejovsky and Tipton, Small-sample methods for cluster-robust variance estimation and hypothesis
testing in fixed effects models. Journal of Business & Economic Statistics 36 (2018).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from attnlag.errors import counted
from attnlag.regression.covariances import Covariance
from attnlag.regression.estimation.least_squares import Jackknife, Solution
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.terms import is_lag_or_lead

# A cluster with a leverage this close to 1 determines the direction alone: its residuals there are
# zero whatever the errors.
MIN_ONE_MINUS_LEVERAGE = 1e-9

# Ratio of the eigenvalues of a covariance in units of the errors, below which it is singular.
MIN_EIGENVALUE_RATIO = 1e-12

# (1 - x)^(-1/2) = Σ c_n x^n, precise to rounding for matrices whose trace is below the bound.
SERIES = np.cumprod([1.0, *((2 * n - 1) / (2 * n) for n in range(1, 8))])
SMALL = 0.01

# Numbers in the products of different clusters of a joint test, at most. Beyond it they are left
# out; their share is about the number of terms over that of clusters.
MAX_PRODUCTS = 2e10


class ClusterSums:
    """What the covariances of a solved layer are computed from: sums over its clusters.

    Degrees of freedom are those of the regression on all rows, also if halves correct it.
    """

    def __init__(
        self,
        solution: Solution,
        joint: Sequence[np.ndarray] = (),
        left_out: Jackknife | None = None,
        robust_meat: np.ndarray | None = None,
    ) -> None:
        self.solution, moments, to_terms = solution, solution.moments, solution.to_terms
        # For covariances that need them: the estimates without each cluster, and the middle of a
        # covariance of centred coefficients, (K, K), from the residuals.
        self.left_out, self.robust_meat = left_out, robust_meat
        # Combinations of coefficients, (q, K), that are tested to be zero together.
        self.contrasts = joint
        # What degrees of freedom of CR2 come from: of each coefficient, and of each joint test.
        of_each, count = np.eye(solution.k)[:, None], moments.count
        self.tests = [SatterthwaiteSums(row @ to_terms, count) for row in of_each]
        self.joint = [SatterthwaiteSums(rows @ to_terms, count) for rows in joint]
        first_slope = solution.back[0 if moments.within else 1]
        numbers = []
        for a, b, _ in solution.by_cluster(moments):
            of_rows = Adjustment(a[0])
            gamma = (a[0] @ first_slope) @ first_slope
            numbers.append((*cluster_scores(solution, a, b, of_rows), gamma))
            for test in (*self.tests, *self.joint):
                test.add(of_rows)
        # plain, adjusted, (clusters, K) arrays: the scores ψ_g of CRV1 and of CR2. gamma,
        # (clusters,) array: γ_g = e'A⁻¹ A_g A⁻¹ e of the first slope.
        self.plain, self.adjusted, self.gamma = map(np.concatenate, zip(*numbers, strict=True))

    def errors(self, kind: Covariance) -> tuple[np.ndarray, np.ndarray, list["Wald"]]:
        """Return errors on the scale of the data, by the function of ``kind``.

        They are the covariance of the coefficients, (K, K), the degrees of freedom of their t
        statistics, (K,), and the joint tests.
        """
        to_terms, estimate = self.solution.to_terms, self.solution.estimate
        v, of_t = to_terms @ kind.of(self) @ to_terms.T, kind.df(self)
        tests = []
        for rows, sums in zip(self.contrasts, self.joint, strict=True):
            df = sums.df() if kind.satterthwaite else of_t
            tests.append(wald(rows @ estimate, rows @ v @ rows.T, df, aht=kind.satterthwaite))
        dfs = np.full(self.solution.k, of_t, dtype=float)
        unknown = np.isnan(dfs)
        v[unknown], v[:, unknown] = np.nan, np.nan
        return v, dfs, tests

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of CR2 for each coefficient, (K,)."""
        return np.array([test.df() for test in self.tests])

    @property
    def effective(self) -> float:
        """Effective number of clusters for the first slope.

        It is G* = G / (1 + CV²(γ)): G*(0) of Carter, Schnepel and Steigerwald (2017) as given by
        MacKinnon, Nielsen and Webb (2023).
        """
        squares = self.gamma @ self.gamma
        return float(self.gamma.sum() ** 2 / squares) if squares > 0 else np.nan


def cluster_scores(
    solution: Solution, a: np.ndarray, b: np.ndarray, of_rows: "Adjustment"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ψ_g of clusters, (clusters, K), for CRV1 and for CR2.

    ψ_g = Σ R (b_mg - A_mg θ_m) is the change of the estimate per unit of the cluster's weight. For
    CR2 the scores of each cell are those that CR2 gives its own regression; ``of_rows`` is the
    adjustment of all rows.
    """
    plain, adjusted = np.zeros((2, a.shape[1], solution.k))
    roots = {0: of_rows.root}
    for cell, gain, theta, inverse in solution.pieces:
        scores = b[cell] - a[cell] @ theta
        plain += scores @ gain.T
        if cell not in roots:
            to, back = coordinates_of_half(inverse)
            roots[cell] = back @ cr2_adjustment(to.T @ a[cell] @ to) @ to.T
        adjusted += (roots[cell] @ scores[..., None])[..., 0] @ gain.T
    return plain, adjusted


def coordinates_of_half(inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps to coordinates in which X'X of a half is I, and back, given its inverse.

    They leave out what the half does not identify.
    """
    values, vectors = np.linalg.eigh(inverse)
    identified = values > 0.5  # A half is a summand of I.
    root, vectors = np.sqrt(values[identified]), vectors[:, identified]
    return vectors * root, vectors / root


def cr2_adjustment(a: np.ndarray) -> np.ndarray:
    """Return (I - A)^(-1/2) of (clusters, K, K) summands of I, without the null space of I - A."""
    k = a.shape[-1]
    small = np.trace(a, axis1=-2, axis2=-1) < SMALL
    result = np.empty_like(a)
    low = a[small]
    total = np.broadcast_to(SERIES[-1] * np.eye(k), low.shape)
    for coefficient in SERIES[-2::-1]:
        total = low @ total + coefficient * np.eye(k)
    result[small] = total
    values, vectors = np.linalg.eigh(a[~small])
    rest = 1 - values
    scale = np.where(
        rest > MIN_ONE_MINUS_LEVERAGE, 1 / np.sqrt(np.maximum(rest, MIN_ONE_MINUS_LEVERAGE)), 0
    )
    result[~small] = (vectors * scale[:, None, :]) @ np.swapaxes(vectors, -1, -2)
    return result


class Adjustment:
    """How CR2 adjusts the scores of clusters, and what their degrees of freedom need."""

    def __init__(self, a: np.ndarray) -> None:
        """Take the A_g of clusters, (clusters, K, K), which are summands of I."""
        # root, z, m, (clusters, K, K) arrays: (I - A_g)^(-1/2), Z_g, and M_g for w = I, which is
        # A_g but for the directions that a cluster alone determines.
        self.root = cr2_adjustment(a)
        self.z = a @ self.root
        self.m = self.z @ self.root - self.z @ self.z

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Return s̃_g of scores s_g, (clusters, K)."""
        return (self.root @ scores[..., None])[..., 0]


class SatterthwaiteSums:
    """Degrees of freedom of a test of q estimates w θ, (q, K), from sums over clusters."""

    def __init__(self, w: np.ndarray, clusters: int) -> None:
        q, k = w.shape
        # The rows of a joint test are orthonormal.
        self.w = np.linalg.qr(w.T)[0].T if q > 1 else w
        # Σ tr M_g, and Σ ‖M_g‖² + (tr M_g)² - ‖U_g'U_g‖² - ‖U_g‖⁴ with U_g = Z_g w'.
        self.trace = self.squares = 0.0
        # Σ vec(U_g) vec(U_g)', (Kq, Kq).
        few = q == 1 or clusters * (k * q) ** 2 <= MAX_PRODUCTS
        self.products = np.zeros((k * q, k * q)) if few else None

    def add(self, clusters: Adjustment) -> None:
        """Add clusters."""
        moved = clusters.z @ self.w.T
        flat = moved.reshape(len(moved), -1)
        inner, lengths = np.swapaxes(moved, 1, 2) @ moved, (flat**2).sum(axis=1)
        reduced = self.w @ clusters.m @ self.w.T
        traces = reduced.trace(axis1=1, axis2=2)
        self.trace += traces.sum()
        self.squares += (reduced**2).sum() + (traces**2).sum()
        self.squares -= (inner**2).sum() + (lengths**2).sum()
        if self.products is not None:
            self.products += flat.T @ flat

    def df(self) -> float:
        """Return the degrees of freedom η; those of t for a single estimate."""
        (q, k), total = self.w.shape, self.squares
        if self.products is not None:
            # Σ_gh tr (U_g'U_h)² exchanges the two estimates of the products.
            products = self.products.reshape(k, q, k, q)
            total = total + (products * (np.swapaxes(products, 1, 3) + products)).sum()
        # For a single estimate, of rows of any length, the total is 2 ‖Γ‖². For orthonormal rows
        # the trace is q. An estimate that a single cluster determines has no error to be seen.
        seen = self.trace > MIN_ONE_MINUS_LEVERAGE * (self.w**2).sum()
        return float((q + 1) / q * self.trace**2 / total) if seen else np.nan


def obstacle_of(solution: Solution, covariance: Covariance, left_out: Jackknife | None) -> str:
    """Return ``"ok"``, or why a layer has no errors or no estimates."""
    moments = solution.moments
    if solution.status != "ok":
        return solution.status
    if covariance.clustered and moments.count < MIN_DOCUMENTS:
        unit = "group" if moments.grouped else "document"
        return f"{counted(moments.count, unit)}: too few to cluster by"
    if covariance.jackknife and left_out is not None:
        undefined = np.isnan(left_out.thetas).any(axis=1)
        if undefined.any():
            alone = left_out.names[undefined.argmax()]
            return f"without {alone} the regressors are collinear: no jackknife"
    return "ok"


class Wald(NamedTuple):
    """A joint test: its F statistic, degrees of freedom and p-value; NaN with too few clusters."""

    statistic: float
    df: int
    df_residual: float
    p_value: float


NO_TEST = Wald(np.nan, 0, np.nan, np.nan)


def wald(estimate: np.ndarray, covariance: np.ndarray, df: float, *, aht: bool) -> Wald:
    """Test that q estimates are zero, by Q = b'V⁻¹b.

    There is no test if V is singular, as where documents repeat. AHT compares (η - q + 1)/(η q) Q
    with F(q, η - q + 1), where ``df`` is η; otherwise Q/q is compared with F(q, df), with the
    degrees of freedom of the errors.
    """
    q = len(estimate)
    df_residual = df - q + 1 if aht else df
    enough = df_residual > 0 if aht else q <= df
    if not (q and enough and np.isfinite(covariance).all()) or _is_singular(covariance):
        return Wald(np.nan, q, df_residual, np.nan)
    distance = float(estimate @ np.linalg.solve(covariance, estimate)) / q
    statistic = distance * df_residual / df if aht else distance
    return Wald(statistic, q, df_residual, float(special.fdtrc(q, df_residual, statistic)))


def with_bounded_df(test: Wald, bound: float) -> Wald:
    """Return an AHT test with at most ``bound`` degrees of freedom η, and its p-value.

    Those of AHT come from independent errors of equal variance. Where slopes differ between
    clusters, a large cluster determines more than these tell.
    """
    q = test.df
    eta = test.df_residual + q - 1
    if not eta > bound:
        return test
    squared = test.statistic * eta / test.df_residual
    df_residual = bound - q + 1
    if not df_residual > 0:
        return Wald(np.nan, q, df_residual, np.nan)
    statistic = squared * df_residual / bound
    return Wald(statistic, q, df_residual, float(special.fdtrc(q, df_residual, statistic)))


def _is_singular(covariance: np.ndarray) -> bool:
    """Return whether estimates in units of their errors have a singular covariance."""
    scale = np.sqrt(np.diag(covariance))
    if not (scale > 0).all():
        return True
    values = np.linalg.eigvalsh(covariance / np.outer(scale, scale))
    return bool(values[0] <= MIN_EIGENVALUE_RATIO * values[-1])


def equal_halves(solution: Solution) -> Wald:
    """Test that the halves of documents have the same lags and leads, which half-panel presumes.

    The halves are regressed apart, each with a level of its own, as in the half-panel jackknife.
    Documents are the clusters of both regressions, so that the difference of their lags and leads
    has CR2 and the AHT test. Both have the same bias in short documents; their difference has none.
    The result is `NO_TEST` if halves are not apart or documents are few.
    """
    moments = solution.moments
    if not solution.n_corrected or moments.count < MIN_DOCUMENTS:
        return NO_TEST
    pieces = [piece for piece in solution.pieces if piece.cell]
    to = [coordinates_of_half(piece.inverse)[0] for piece in pieces]
    back = solution.back[list(map(is_lag_or_lead, moments.names))]
    w = np.concatenate([back @ to[0], -back @ to[1]], axis=1)
    covariance = np.zeros((len(back), len(back)))
    test = SatterthwaiteSums(w, moments.count)
    for a, b, _ in solution.by_cluster(moments):
        # The two regressions are one with a block for each.
        both = np.zeros((a.shape[1], w.shape[1], w.shape[1]))
        scores, start = [], 0
        for own, piece in zip(to, pieces, strict=True):
            end = start + own.shape[1]
            both[:, start:end, start:end] = own.T @ a[piece.cell] @ own
            scores.append((b[piece.cell] - a[piece.cell] @ piece.theta) @ own)
            start = end
        adjustment = Adjustment(both)
        apart = adjustment.of(np.concatenate(scores, axis=1)) @ w.T
        covariance += apart.T @ apart
        test.add(adjustment)
    estimate = back @ (pieces[0].theta - pieces[1].theta)
    return wald(estimate, covariance, test.df(), aht=True)


def cr2_of_rows(a: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return CR2 of a regression that is not a layer's, and the df of each coefficient.

    ``a`` has X_g'X_g, (clusters, K, K), and ``scores`` X_g'e_g, (clusters, K).
    """
    # Coordinates in which the sum of a is I.
    to = np.linalg.inv(np.linalg.cholesky(a.sum(axis=0)))
    adjustment = Adjustment(to @ a @ to.T)
    adjusted = adjustment.of(scores @ to.T) @ to
    tests = [SatterthwaiteSums(w[None], len(a)) for w in to.T]
    for test in tests:
        test.add(adjustment)
    return adjusted.T @ adjusted, np.array([test.df() for test in tests])


class RowFit(NamedTuple):
    """A least-squares fit of rows, with CR2."""

    estimate: np.ndarray  # (K,)
    covariance: np.ndarray  # (K, K)
    df: np.ndarray  # (K,)
    residuals: np.ndarray  # (rows,)


def regression(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> RowFit:
    """Regress y on x, (K, rows); ``cluster`` numbers the clusters of the rows from 0."""
    a = np.array([[np.bincount(cluster, column * other) for other in x] for column in x]).T
    b = np.stack([np.bincount(cluster, column * y) for column in x], axis=-1)
    estimate = np.linalg.solve(a.sum(axis=0), b.sum(axis=0))
    return RowFit(estimate, *cr2_of_rows(a, b - a @ estimate), y - estimate @ x)
