"""Results in words and in the summary table that a statistician expects."""

import numpy as np
import pandas as pd
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from attnlag.regression import Fit
from attnlag.wording import COVARIANCE

PREDICTIVE = (
    "Coefficients of lags within one layer are predictive associations: all tokens of a layer\n"
    "are computed in parallel from the layer before, so none of them is caused by another."
)


def layer_summary(
    fit: Fit, coefficients: pd.DataFrame, *, title: str, alpha: float, adjust: str
) -> str:
    """Return one layer's fit as a table of text.

    Parameters
    ----------
    fit : Fit
    coefficients : pandas.DataFrame
        The layer's rows of the tidy table, in the order of the terms.
    title : str
    alpha : float
    adjust : str
        The correction behind the column of adjusted p-values.
    """
    if fit.status != "ok":
        return f"{title}\n\nNot fitted: {fit.status} ({fit.n_obs:,} rows).\n"
    k = len(fit.estimate)
    aic = -2 * fit.log_likelihood + 2 * k
    bic = -2 * fit.log_likelihood + np.log(fit.n_obs) * k
    covariance = COVARIANCE[coefficients["vcov_type"].iloc[0]]
    left = [
        ("Dep. variable:", "log norm"),
        ("Method:", "least squares"),
        ("No. observations:", f"{fit.n_obs:,}"),
        ("No. documents:", f"{fit.n_documents:,}"),
        ("Df residuals:", f"{fit.n_obs - k:,}"),
        ("Df model:", str(k - 1)),
        ("Df of t and F:", f"{fit.df:,}"),
        ("Condition no.:", f"{fit.condition_number:.4g}"),
    ]
    right = [
        ("R-squared:", f"{fit.r_squared:.4f}"),
        ("Adj. R-squared:", f"{fit.adj_r_squared:.4f}"),
        ("Cross-validated R-squared:", f"{fit.cv_r_squared:.4f}"),
        ("Residual std. dev.:", f"{fit.sigma:.5g}"),
        ("F-statistic (Wald):", f"{fit.f_statistic:.5g}"),
        ("Prob (F-statistic):", f"{fit.f_p_value:.3g}"),
        ("Log-likelihood:", f"{fit.log_likelihood:.6g}"),
        ("AIC / BIC:", f"{aic:.6g} / {bic:.6g}"),
    ]
    top = SimpleTable(
        [[value, *pair] for (_, value), pair in zip(left, right, strict=True)],
        title=title,
        stubs=[name for name, _ in left],
        txt_fmt={**fmt_params, "data_fmts": ["%s"], "data_aligns": "rlr", "colsep": "   "},
    )
    shown = coefficients[
        ["estimate", "std_error", "statistic", "p_value", "p_adjusted", "conf_low", "conf_high"]
    ]
    formats = ["{:.5f}", "{:.5f}", "{:.3f}", "{:.3g}", "{:.3g}", "{:.5f}", "{:.5f}"]
    body = SimpleTable(
        [[f.format(v) for f, v in zip(formats, row, strict=True)] for row in shown.to_numpy()],
        headers=[
            "coef",
            "std err",
            "t",
            "P>|t|",
            "adj. P",
            f"[{alpha / 2:g}",
            f"{1 - alpha / 2:g}]",
        ],
        stubs=list(coefficients["term"]),
        txt_fmt=fmt_params,
    )
    notes = (
        f"Standard errors: {covariance}. Adj. P: {adjust}, over the layers, per term.\n{PREDICTIVE}"
    )
    return f"{top.as_text()}\n{body.as_text()}\n{notes}\n"


def findings(
    coefficients: pd.DataFrame, fits: pd.DataFrame, *, name: str, alpha: float, adjust: str
) -> str:
    """Return in a few lines what a reader wants to know first.

    Parameters
    ----------
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression.
    name : str
        What was regressed, as in ``"smollm2-135m, prompts, attention, notebook"``.
    """
    fitted = fits[fits["status"] == "ok"]
    lines = [
        f"{name}: {len(fitted)} of {len(fits)} layers fitted, "
        f"{int(fits['n_obs'].max()):,} rows from {int(fits['n_documents'].max()):,} documents"
    ]
    correction = "uncorrected" if adjust == "none" else f"{adjust} over layers"
    for term, rows in coefficients.groupby("term", sort=False):
        if term == "intercept":
            continue
        low, high = rows["estimate"].min(), rows["estimate"].max()
        significant = rows["p_adjusted"] < alpha
        lines.append(
            f"  {str(term).replace('_', ' ')}: significant in {int(significant.sum())} of "
            f"{len(fits)} layers (p < {alpha:g}, {correction}), positive in "
            f"{int((significant & (rows['estimate'] > 0)).sum())} of these; "
            f"coefficients {low:.3f} to {high:.3f}"
        )
    if len(fitted):
        best = fitted.iloc[int(fitted["r_squared"].argmax())]
        lines.append(
            f"  R²: {fitted['r_squared'].min():.3f} to {best['r_squared']:.3f} "
            f"(highest in layer {int(best['layer'])}); "
            f"cross-validated by document: {fitted['cv_r_squared'].min():.3f} to "
            f"{fitted['cv_r_squared'].max():.3f}"
        )
    for row in fits[fits["status"] != "ok"].itertuples():
        lines.append(f"  layer {row.layer} was not fitted: {row.status}")
    return "\n".join(lines) + "\n"
