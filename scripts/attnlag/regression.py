"""Least squares from cross-products per document: estimates, standard errors, fit.

Notation: for document g, A_g = X_g'X_g, b_g = X_g'y_g, c_g = y_g'y_g with X = [1, regressors];
A, b, c are their sums over documents, N the rows, K the columns of X, G the documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from attnlag.crossproducts import Stack
from attnlag.errors import UserError, counted

# Below this, a t distribution with G - 1 degrees of freedom is no cure for so few clusters.
FEWEST_DOCUMENTS = 6

# A column that varies less than this, relative to its mean, varies by rounding only.
LEAST_VARIATION = 1e-12

# A design whose scaled cross-products are worse conditioned than this has lost all its digits.
WORST_CONDITION = 1e12

ADJUSTMENTS = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}


@dataclass
class Fit:
    """One layer's regression.

    Attributes
    ----------
    estimate : (K,) array
        Intercept first, then the regressors, on the scale of the data.
    covariance : (K, K) array
        Of the estimates.
    df : int
        Degrees of freedom of the t statistics: N - K, or G - 1 when clustered.
    n_obs, n_documents : int
    r_squared, adj_r_squared, cv_r_squared : float
        The last by folds of documents, against the overall mean.
    sigma : float
        Residual standard deviation, sqrt(SSR / (N - K)).
    condition_number : float
        Ratio of the largest to the smallest singular value of X, uncentred.
    f_statistic, f_p_value : float
        Wald test that all slopes are zero, with (K - 1, df) degrees of freedom.
    log_likelihood : float
        Gaussian, at the estimates.
    means : (K,) array
        Means of the regressors, 1 first.
    status : str
        ``"ok"``, or why the layer could not be fitted; the numbers are then NaN.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    df: int
    n_obs: int
    n_documents: int
    r_squared: float
    adj_r_squared: float
    cv_r_squared: float
    sigma: float
    condition_number: float
    f_statistic: float
    f_p_value: float
    log_likelihood: float
    means: np.ndarray
    status: str


def unfitted(columns: int, n_obs: int, n_documents: int, means: np.ndarray, status: str) -> Fit:
    """Return the fit of a layer that has none."""
    nan = float("nan")
    return Fit(
        estimate=np.full(columns, nan),
        covariance=np.full((columns, columns), nan),
        df=0,
        n_obs=n_obs,
        n_documents=n_documents,
        r_squared=nan,
        adj_r_squared=nan,
        cv_r_squared=nan,
        sigma=nan,
        condition_number=nan,
        f_statistic=nan,
        f_p_value=nan,
        log_likelihood=nan,
        means=means,
        status=status,
    )


def cross_validated_sse(a: np.ndarray, b: np.ndarray, c: np.ndarray, folds: int) -> float:
    """Return the squared error of predictions for documents that the fit did not see.

    Document g is in fold g mod ``folds``. With the sums over a fold f, β = (A - A_f)⁻¹(b - b_f)
    and SSE_f = c_f - 2 β'b_f + β'A_f β.

    Parameters
    ----------
    a : (G, K, K) array
    b : (G, K) array
    c : (G,) array
    folds : int
        At most G.
    """
    sse = 0.0
    for fold in range(folds):
        a_f, b_f, c_f = (part[fold::folds].sum(axis=0) for part in (a, b, c))
        beta = np.linalg.solve(a.sum(axis=0) - a_f, b.sum(axis=0) - b_f)
        sse += float(c_f - 2 * beta @ b_f + beta @ a_f @ beta)
    return sse


def clustered_covariance(
    bread: np.ndarray, scores: np.ndarray, n_obs: int, n_documents: int
) -> np.ndarray:
    """Return CRV1: G/(G-1) (N-1)/(N-K) A⁻¹ (Σ s_g s_g') A⁻¹.

    Parameters
    ----------
    bread : (K, K) array
        A⁻¹.
    scores : (G, K) array
        s_g = b_g - A_g b̂.
    """
    k = len(bread)
    factor = n_documents / (n_documents - 1) * (n_obs - 1) / (n_obs - k)
    return factor * bread @ (scores.T @ scores) @ bread


def fit_layer(products: np.ndarray, centre: np.ndarray, covariance: str, folds: int) -> Fit:
    """Regress y on a constant and the regressors of one layer.

    Parameters
    ----------
    products : (G, p, p) array
        S_g of w = [1, y, regressors], centred by ``centre``, the overall means.
    centre : (p,) array
    covariance : {"cluster", "nonrobust"}
    folds : int
        Folds of documents for the cross-validated R²; at most one per document is used.

    Returns
    -------
    fit : Fit
    """
    products = products[products[:, 0, 0] > 0]
    columns = [0, *range(2, products.shape[-1])]
    k, n_documents = len(columns), len(products)
    n_obs = int(np.rint(products[:, 0, 0].sum()))
    means = np.concatenate([[1.0], centre[2:]])
    if n_obs <= k:
        return unfitted(k, n_obs, n_documents, means, f"{counted(n_obs, 'row')} for {k} terms")

    a_g = products[:, columns][:, :, columns]
    b_g, c_g = products[:, columns, 1], products[:, 1, 1]
    a, b, c = a_g.sum(axis=0), b_g.sum(axis=0), float(c_g.sum())
    scale = np.sqrt(np.diag(a))
    least = LEAST_VARIATION * np.sqrt(n_obs) * np.abs(centre)
    if not np.sqrt(c) > least[1]:
        return unfitted(k, n_obs, n_documents, means, "the outcome is constant")
    if (scale[1:] <= least[2:]).any():
        return unfitted(k, n_obs, n_documents, means, "a regressor is constant")
    if np.linalg.cond(a / np.outer(scale, scale)) > WORST_CONDITION:
        return unfitted(k, n_obs, n_documents, means, "the regressors are collinear")

    inverse = np.linalg.inv(a / np.outer(scale, scale)) / np.outer(scale, scale)
    beta = np.linalg.solve(a / np.outer(scale, scale), b / scale) / scale
    ssr = c - beta @ b
    tss = c - float(products[:, 0, 1].sum()) ** 2 / n_obs
    if covariance == "cluster":
        scores = b_g - a_g @ beta
        v = clustered_covariance(inverse, scores, n_obs, n_documents)
        df = n_documents - 1
    else:
        v = ssr / (n_obs - k) * inverse
        df = n_obs - k
    f_statistic = float(beta[1:] @ np.linalg.solve(v[1:, 1:], beta[1:])) / (k - 1)

    # Back to the scale of the data: only the intercept moves.
    uncentre = np.eye(k)
    uncentre[0, 1:] = -centre[2:]
    estimate = uncentre @ beta
    estimate[0] += centre[1]
    # X'X itself, for the condition number that statisticians know.
    back = np.eye(k)
    back[1:, 0] = centre[2:]
    eigenvalues = np.linalg.eigvalsh(back @ a @ back.T)

    used = min(folds, n_documents)
    cv_r_squared = float("nan")
    if used > 1:
        cv_r_squared = 1 - cross_validated_sse(a_g, b_g, c_g, used) / tss
    r_squared = 1 - ssr / tss
    return Fit(
        estimate=estimate,
        covariance=uncentre @ v @ uncentre.T,
        df=df,
        n_obs=n_obs,
        n_documents=n_documents,
        r_squared=r_squared,
        adj_r_squared=1 - (1 - r_squared) * (n_obs - 1) / (n_obs - k),
        cv_r_squared=cv_r_squared,
        sigma=float(np.sqrt(ssr / (n_obs - k))),
        condition_number=float(np.sqrt(eigenvalues[-1] / eigenvalues[0])),
        f_statistic=f_statistic,
        f_p_value=float(stats.f.sf(f_statistic, k - 1, df)),
        log_likelihood=float(-n_obs / 2 * (np.log(2 * np.pi * ssr / n_obs) + 1)),
        means=means,
        status="ok",
    )


def fit(stack: Stack, covariance: str, folds: int) -> list[Fit]:
    """Fit every layer of a merged stack.

    Raises
    ------
    UserError
        If errors are to be clustered by fewer than ``FEWEST_DOCUMENTS`` documents.
    """
    if covariance == "cluster" and len(stack.documents) < FEWEST_DOCUMENTS:
        raise UserError(
            f"inference.covariance: found cluster with {counted(len(stack.documents), 'document')}"
            f" that give rows, expected at least {FEWEST_DOCUMENTS} for errors clustered by "
            "document; use covariance: nonrobust (independent errors), or more documents"
        )
    return [
        fit_layer(stack.products[index], stack.centre[index], covariance, folds)
        for index in range(len(stack.layers))
    ]


def coefficients(
    fits: Sequence[Fit], stack: Stack, *, covariance: str, alpha: float, adjust: str
) -> pd.DataFrame:
    """Return the tidy table: one row per layer and term.

    ``p_adjusted`` corrects the p-values of a term over the layers; intervals are those of single
    coefficients at level 1 - ``alpha``.
    """
    terms = ["intercept", *stack.terms[1:]]
    rows = []
    for layer, result in zip(stack.layers, fits, strict=True):
        errors = np.sqrt(np.diag(result.covariance))
        for term, estimate, error in zip(terms, result.estimate, errors, strict=True):
            rows.append((layer, term, estimate, error, result.df))
    table = pd.DataFrame(rows, columns=["layer", "term", "estimate", "std_error", "df"])
    table["statistic"] = table["estimate"] / table["std_error"]
    table["p_value"] = 2 * stats.t.sf(table["statistic"].abs(), table["df"])
    table["p_adjusted"] = table.groupby("term")["p_value"].transform(adjusted, adjust=adjust)
    reach = stats.t.ppf(1 - alpha / 2, table["df"]) * table["std_error"]
    table["conf_low"] = table["estimate"] - reach
    table["conf_high"] = table["estimate"] + reach
    table["vcov_type"] = covariance
    table["subset"] = "all"
    order = ["subset", "layer", "term", "estimate", "std_error", "statistic", "df", "p_value"]
    return table[[*order, "p_adjusted", "conf_low", "conf_high", "vcov_type"]]


def adjusted(p_values: pd.Series, adjust: str) -> np.ndarray:
    """Return p-values corrected for their number; NaN stays NaN and does not count."""
    corrected = p_values.to_numpy(copy=True)
    known = ~np.isnan(corrected)
    if adjust != "none" and known.any():
        corrected[known] = multipletests(corrected[known], method=ADJUSTMENTS[adjust])[1]
    return corrected


def fits_table(fits: Sequence[Fit], layers: Sequence[int], dropped: Sequence[int]) -> pd.DataFrame:
    """Return one row per layer with the goodness of its fit.

    Parameters
    ----------
    fits : sequence of Fit
    layers : sequence of int
    dropped : sequence of int
        Rows of each layer that a zero or non-finite norm took.
    """
    columns = [
        "n_obs",
        "n_documents",
        "r_squared",
        "adj_r_squared",
        "cv_r_squared",
        "sigma",
        "condition_number",
        "f_statistic",
        "f_p_value",
        "log_likelihood",
        "status",
    ]
    rows = [
        [layer, *(getattr(result, c) for c in columns)]
        for layer, result in zip(layers, fits, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["layer", *columns])
    table.insert(2, "n_dropped", list(dropped))
    return table
