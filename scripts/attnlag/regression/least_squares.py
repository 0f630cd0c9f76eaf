"""Least squares from cross-products per document: estimates, standard errors, fit.

Notation: for document g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors];
A, b, c are their sums over documents; N, K and G are the numbers of rows, columns of X and
documents. With document effects there is no constant, and the document means are subtracted from X
and y.

The half-panel jackknife combines three regressions, on all rows and on either half of every
document: b̂ = 2 b̂_all - (b̂_first + b̂_second) / 2 (Dhaene and Jochmans 2015; Chudik, Pesaran and
Yang 2018). The code is written for any combination b̂ = Σ λ_m b̂_m; ordinary least squares has a
single part with weight 1. A covariate may vary too little in one half to be identified there, as
the spline of position does in the second half. Its coefficient is then that of all rows, and only
the other coefficients are corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_triangular

from attnlag.errors import counted
from attnlag.regression.covariates import layers_before
from attnlag.regression.packed import unpacked
from attnlag.regression.stacks import Stack
from attnlag.regression.terms import is_lag

# A column whose variation relative to its mean is below this varies only by rounding.
LEAST_VARIATION = 1e-12

# Log norms whose standard deviation is below this are regarded as equal, as are other outcomes
# whose standard deviation is below this times their root mean square. The value is the rounding
# error of bfloat16, the coarsest precision in which models run and vectors are stored. If a
# normalisation without trained weights follows the sublayer, all norms equal the square root of
# the width, up to a tenth of this because of the normalisation's epsilon. Layers of trained models
# vary ten times as much or more.
LEAST_SPREAD = 2**-8

# A design whose scaled cross-products have a larger condition number has lost all precision.
WORST_CONDITION = 1e12

# Least ratio of the smallest to the largest eigenvalue of A, without a document or in a half of the
# documents. Below it, these rows do not identify all terms, although all documents do.
LEAST_LEFT = 1e-10

# An eigenvalue below this is rounding, if A over all rows is the identity.
ROUNDING = 1e-13

HALF_PANEL = np.array([2.0, -0.5, -0.5])


@dataclass
class Solution:
    """The normal equations of one layer, in coordinates θ in which X'X of all rows is I.

    Attributes
    ----------
    status : str
        ``"ok"``, or the reason why the layer cannot be fitted; only the counts are then set.
    n_obs, documents, absorbed : int
        Number of rows, of documents with rows, and of removed effects: means of documents and
        effects of tokens.
    weights : (parts, K) array
        λ of each part, for each coefficient.
    transform : (packed, K² + K + 1) array
        Maps packed cross-products to A, b and c in these coordinates.
    back : (K, K) array
        Maps θ to the coefficients of centred data.
    breads, thetas : (parts, K, K) and (parts, K) arrays
        A⁻¹ and estimates of each part; a generalised inverse in a half that does not identify all
        terms.
    combine : (parts, K, K) array
        The weights in these coordinates: θ = Σ combine_m θ_m.
    theta : (K,) array
        The estimates.
    ssr, tss : float
        Residual sum of squares, and total sum of squares about the mean or the document means.
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
        Its clusters are not used.
    index : int
        Place of the layer in the stack.

    Returns
    -------
    solution : Solution
        If there is none, its status gives the reason: too few rows, a constant, collinearity.
    """
    p, totals = stack.p, stack.totals[index]
    names = names_of(stack)
    columns = [*range(2, p)] if stack.fixed_effects else [0, *range(2, p)]
    k, n_obs = len(columns), int(np.rint(totals[0, 0]))
    documents = int(stack.documents[index])
    absorbed = documents + stack.absorbed if stack.fixed_effects else 0

    def without(status: str) -> Solution:
        return Solution(status, n_obs, documents, absorbed)

    if n_obs == 0 and stack.layers[index] - min(stack.layers) < layers_before(names):
        return without(NO_LAYER_BEFORE)
    if n_obs <= k + absorbed:
        beside = f" and {counted(absorbed, 'effect')}" if absorbed else ""
        return without(f"{counted(n_obs, 'row')} for {counted(k, 'term')}{beside}")

    matrix = unpacked(totals, p)
    size = np.sqrt(np.maximum(np.diagonal(matrix[0]), 0))
    within = " within documents" if stack.fixed_effects else ""
    least = LEAST_VARIATION * np.sqrt(n_obs) * np.abs(stack.centre[index])
    if stack.fixed_effects:
        # Removing the means of documents is a difference of sums, which has half the digits.
        least = np.maximum(least, np.sqrt(LEAST_VARIATION) * stack.root_squares[index])
    constant = [term for term, a, b in zip(stack.terms, size[1:], least[1:], strict=True) if a <= b]
    if "y" in constant:
        return without(f"the outcome is constant{within}")
    # The absolute error of a logarithm is the relative error of the number; other outcomes have an
    # error relative to their size.
    size_of_y = np.hypot(stack.root_squares[index, 1] / np.sqrt(n_obs), stack.centre[index, 1])
    least_spread = LEAST_SPREAD * (1.0 if stack.of_logs else size_of_y)
    flat = [
        "the outcome" if term == "y" else term
        for term, spread in zip(stack.terms, size[1:] / np.sqrt(n_obs), strict=True)
        if (term == "y" or layers_before([term])) and spread < least_spread
    ]
    if flat:
        return without(
            f"{'norms' if stack.of_logs else 'numbers'} are equal but for rounding: the standard "
            f"deviation of {flat[0]}{within} is below {LEAST_SPREAD:.4f}"
            f"{'' if stack.of_logs else ' of their size'}, the precision of bfloat16"
        )
    if constant:
        are = "is" if len(constant) == 1 else "are"
        return without(f"{_listed(constant)} {are} constant{within}")

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
    # The contribution of each element S_ij of the triangle to A, b and c, and of S_ji if i ≠ j.
    i, j = np.triu_indices(p)
    other = (i != j)[:, None]
    to_a = chosen[i][:, :, None] * chosen[j][:, None, :]
    to_a += other[..., None] * np.swapaxes(to_a, 1, 2)
    to_b = (i == 1)[:, None] * chosen[j] + other * (j == 1)[:, None] * chosen[i]
    to_c = ((i == 1) & (j == 1))[:, None].astype(float)
    transform = np.concatenate([to_a.reshape(len(i), -1), to_b, to_c], axis=1)
    solution = Solution("ok", n_obs, documents, absorbed, transform=transform, back=back)
    solution.theta = np.empty(k)
    a, b, c = solution.equations(totals)
    solution.weights = np.ones((1, k))
    solution.breads = np.linalg.inv(a[:1])
    if len(totals) > 1:
        halves = generalised_inverse(a[1:])[0]
        solution.breads = np.concatenate([solution.breads, halves])
        # The halves identify the coefficients whose row of back lies in the range of A.
        missed = np.abs(back @ (halves @ a[1:] - np.eye(k))).max(axis=2)
        told = missed < 1e-6 * np.abs(back).max(axis=1)
        corrected = told.all(axis=0)
        solution.weights = np.where(corrected, HALF_PANEL[:, None], np.eye(3)[:, :1])
        lost = [
            term for term, known in zip(names, corrected, strict=True) if not known and is_lag(term)
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
    """Return generalised inverses of (…, K, K) summands of I, and their ranks."""
    values, vectors = np.linalg.eigh(a)
    kept = values > LEAST_LEFT
    scaled = vectors / np.where(kept, values, np.inf)[..., None, :]
    return scaled @ np.swapaxes(vectors, -1, -2), kept.sum(axis=-1)


def part_inverses(solution: Solution, m: int, a: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return A⁻¹ of part ``m`` for the given sums.

    Parameters
    ----------
    solution : Solution
    m : int
    a : (…, K, K) array
        A over some of the documents.
    whole : (K, K) array
        A over all documents.

    Returns
    -------
    inverses : (…, K, K) array
        NaN if these documents do not identify all terms that all documents identify.
    """
    if m == 0:
        singular = is_singular(a)
        inverses = np.linalg.inv(np.where(singular[..., None, None], np.eye(solution.k), a))
    else:
        inverses, rank = generalised_inverse(a)
        singular = rank < generalised_inverse(whole)[1]
    inverses[singular] = np.nan
    return inverses


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
    doubtful = ~(np.linalg.det(scaled) > 4 * LEAST_LEFT) | (scale < ROUNDING / LEAST_LEFT)
    singular = np.zeros(doubtful.shape, dtype=bool)
    if doubtful.any():
        values = np.linalg.eigvalsh(a[doubtful])
        least = np.maximum(LEAST_LEFT * values[:, -1], ROUNDING)
        singular[doubtful] = ~(values[:, 0] > least)
    return singular


NO_LAYER_BEFORE = "there is no layer before it"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def solve_all(stack: Stack) -> list[Solution]:
    """Solve every layer."""
    return [solve(stack, index) for index in range(len(stack.layers))]
