"""What the library computes, computed again: with all rows and matrices written out, or by others.

Rows are those of a regression: ``y``, ``x`` with a column for each term, and ``codes``, the number
of each row's document. An estimate is a function of the rows that are kept, a mask of them.
"""

from unittest.mock import patch

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats import multitest


def lags_of(values, sequence, lags=(), leads=()):
    """Return a series as ``y`` beside its lags and leads within a sequence, by shifts of it."""
    by_sequence = values.groupby(sequence, observed=True)
    places = {f"lag_{lag}": lag for lag in lags} | {f"lead_{lead}": -lead for lead in leads}
    return pd.DataFrame({"y": values} | {name: by_sequence.shift(n) for name, n in places.items()})


def spline(position, knots):
    """Return Harrell's restricted cubic spline of log(1 + position), a column for each term.

    It is rcspline.eval of the R package Hmisc with norm = 2.
    """
    x, t = np.log1p(position), np.log1p(knots)

    def bent(knot):
        return np.maximum((x - knot) / (t[-1] - t[0]) ** (2 / 3), 0) ** 3

    terms = [
        bent(knot) + ((t[-2] - knot) * bent(t[-1]) - (t[-1] - knot) * bent(t[-2])) / (t[-1] - t[-2])
        for knot in t[:-2]
    ]
    return {f"position_{number}": term for number, term in enumerate([x, *terms], 1)}


def dummies_of(codes):
    return (np.asarray(codes)[:, None] == np.unique(codes)).astype(float)


def with_effects(x, codes):
    """Return X with a dummy for each document in place of the constant."""
    return np.column_stack([x[:, 1:], dummies_of(codes)])


def clustered(codes):
    """Return the options of a statsmodels fit for CRV1 errors and the t distribution."""
    return {"cov_type": "cluster", "cov_kwds": {"groups": codes}, "use_t": True}


def ols(y, x, kept=slice(None)):
    """Return the coefficients of least squares, also where they are not told apart."""
    return np.linalg.lstsq(np.asarray(x)[kept], np.asarray(y)[kept], rcond=1e-10)[0]


def jackknifed(estimate, codes):
    """Return CRV3 from the estimates without each cluster, and their changes, a row for each."""
    change = np.array([estimate(codes != code) for code in np.unique(codes)])
    change -= np.asarray(estimate(np.full(len(codes), True)))
    return (len(change) - 1) / len(change) * change.T @ change, change


def first_halves(codes):
    """Return which rows lie in the first halves of their documents; the middle one does."""
    rows = pd.Series(codes).groupby(np.asarray(codes))
    return (rows.cumcount() < (rows.transform("size") + 1) // 2).to_numpy()


def half_panel(estimate, codes):
    """Return 2 b - (b of the first halves + b of the second halves) / 2."""
    first = first_halves(codes)
    return 2 * estimate(first | True) - (estimate(first) + estimate(~first)) / 2


def cr2_scores(y, x, codes):
    """Return CR2's adjusted scores of each cluster and their influence on the residuals."""
    bread = np.linalg.inv(x.T @ x)
    annihilator = np.eye(len(y)) - x @ bread @ x.T
    scores, influence = [], []
    for cluster in (codes == code for code in np.unique(codes)):
        values, vectors = np.linalg.eigh(annihilator[np.ix_(cluster, cluster)])
        scale = np.where(values > 1e-9, 1 / np.sqrt(np.maximum(values, 1e-12)), 0)
        adjusted = (vectors * scale) @ vectors.T @ x[cluster] @ bread
        scores.append((annihilator @ y)[cluster] @ adjusted)
        influence.append(annihilator[:, cluster] @ adjusted)
    return np.stack(scores), np.stack(influence)


def cr2(y, x, codes, contrasts=()):
    """Return CR2, and the degrees of freedom of joint contrasts, with all matrices written out."""
    scores, influence = cr2_scores(y, x, codes)
    df = []
    for contrast in contrasts:
        p = influence @ np.atleast_2d(contrast).T
        values, vectors = np.linalg.eigh(np.einsum("gna,gnb->ab", p, p))
        p = p @ (vectors / np.sqrt(values)) @ vectors.T
        q, total = p.shape[2], 0.0
        for s in range(q):
            for t in range(q):
                first, second = p[:, :, s], p[:, :, t]
                total += ((first @ second.T) * (second @ first.T)).sum()
                total += ((first @ first.T) * (second @ second.T)).sum()
        df.append(q * (q + 1) / total)
    return scores.T @ scores, df


def aht(estimate, covariance, contrast, eta):
    """Return the F statistic, both degrees of freedom and the p-value of a joint test."""
    apart, q = contrast @ estimate, len(contrast)
    distance = apart @ np.linalg.solve(contrast @ covariance @ contrast.T, apart)
    statistic, df = (eta - q + 1) / (eta * q) * distance, eta - q + 1
    return statistic, q, df, stats.f.sf(statistic, q, df)


def mean_of(values, document, alpha):
    """Return a mean clustered by document: itself, its error and interval, with G* documents.

    The error is that of statsmodels with G* in place of its number of documents.
    """
    values, codes = np.asarray(values, dtype=float), pd.factorize(document)[0]
    sizes = np.bincount(codes)
    fit = sm.OLS(values, np.ones(len(values))).fit(**clustered(codes))
    effective, g = sizes.sum() ** 2 / (sizes**2).sum(), len(sizes)
    error = fit.bse[0] * np.sqrt(effective / (effective - 1) * (g - 1) / g)
    reach = stats.t.ppf(1 - alpha / 2, effective - 1) * error
    mean = fit.params[0]
    return {"mean": mean, "std_error": error, "conf_low": mean - reach, "conf_high": mean + reach}


def multipletests(p_values, method):
    """Return statsmodels' correction without the garbage collection of its every call."""
    with patch("gc.collect"):
        return multitest.multipletests(p_values, method=method)
