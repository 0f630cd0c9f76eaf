"""The fit of one layer as a table of text."""

import numpy as np
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from attnlag.claims.fits import FitTables
from attnlag.escaping import text_for
from attnlag.regression.covariances import label_of
from attnlag.regression.labels import OUTCOMES, correction

WITHIN_DOCUMENTS = "Means of documents are removed, and every R-squared is within documents."

BIAS_CORRECTED = (
    "Lags and leads are corrected by the half-panel jackknife, and the other terms solved anew\n"
    "given these."
)

PREDICTIVE = (
    "Coefficients of lags within one layer are predictive associations: all tokens of a layer\n"
    "are computed in parallel from the layer before, so none of them is caused by another."
)


def layer_summary(fitted: FitTables, layer: int, name: str) -> str:
    """Return the fit of one layer of the regression ``name`` as a table of text."""
    settings = fitted.settings
    fit = fitted.goodness.iloc[fitted.layers.index(layer)]
    mixer = fit["mixer"]
    title = f"{name}: layer {layer}" + (f" ({mixer})" if mixer != "attention" else "")
    if fit.status != "ok":
        return f"{title}\n\nNot fitted: {fit.status} ({fit.n_obs:,} rows).\n"
    within = settings.fixed_effects == "document"
    likelihood = criteria = ("", "")
    if np.isfinite(fit.log_likelihood):
        twice = -2 * fit.log_likelihood
        aic = twice + 2 * fit.parameters
        bic = twice + np.log(fit.n_obs) * fit.parameters
        likelihood = "Log-likelihood:", f"{fit.log_likelihood:.6g}"
        criteria = "AIC / BIC:", f"{aic:.6g} / {bic:.6g}"
    by_folds = _share(fit.cv_r_squared)
    by_document = _share(fit.loo_r_squared)
    effective = f"{fit.effective_documents:,.1f}"
    degrees = f"{int(fit.f_df):,} and {fit.f_df_residual:,.1f}"
    r_squared = "R-squared within docs:" if within else "R-squared:"
    above = _two_columns(
        [
            ("Dep. variable:", OUTCOMES[settings.outcome], r_squared, f"{fit.r_squared:.4f}"),
            ("Method:", "least squares", "Adj. R-squared:", f"{fit.adj_r_squared:.4f}"),
            ("No. observations:", f"{fit.n_obs:,}", "R-squared, by folds:", by_folds),
            ("No. documents:", f"{fit.n_documents:,}", "R-squared, by document:", by_document),
            ("Effective documents:", effective, "F-statistic (Wald):", f"{fit.f_statistic:.5g}"),
            ("Df of F:", degrees, "Prob (F-statistic):", f"{fit.f_p_value:.3g}"),
            ("Condition no.:", f"{fit.condition_number:.4g}", *likelihood),
            ("Residual std. dev.:", f"{fit.sigma:.5g}", *criteria),
        ],
        title,
    )
    coefficients = fitted.coefficients[fitted.coefficients["layer"] == layer]
    headers = {
        "estimate": ("coef", ".5f"),
        "std_error": ("std err", ".5f"),
        "statistic": ("t", ".3f"),
        "df": ("df", ".1f"),
        "p_value": ("P>|t|", ".3g"),
        "p_adjusted": ("adj. P", ".3g"),
        "conf_low": (f"[{settings.alpha / 2:g}", ".5f"),
        "conf_high": (f"{1 - settings.alpha / 2:g}]", ".5f"),
    }
    columns = {}
    for name, (header, digits) in headers.items():
        columns[header] = coefficients[name].map(f"{{:{digits}}}".format)
    table = SimpleTable(
        list(zip(*columns.values(), strict=True)),
        headers=list(columns),
        stubs=[text_for("line", term) for term in coefficients["term"]],
        txt_fmt=fmt_params,
    )
    bera = f"{fit.jarque_bera:.4g} (p {fit.jarque_bera_p_value:.3g})"
    pagan = f"{fit.breusch_pagan:.4g} (p {fit.breusch_pagan_p_value:.3g})"
    omitted = f"{fit.omitted_f:.4g} (p {fit.omitted_p_value:.3g})"
    watson = f"{fit.durbin_watson:.4f}"
    below = _two_columns(
        [
            ("Jarque-Bera:", bera, "Breusch-Pagan:", pagan),
            ("Skewness:", f"{fit['skewness']:.4f}", "Omitted lags (F):", omitted),
            ("Kurtosis:", f"{fit['kurtosis']:.4f}", "Durbin-Watson (biased):", watson),
        ]
    )
    errors = label_of(coefficients["vcov_type"].iloc[0])
    notes = [
        f"Standard errors: {errors}. Adj. P: {correction(settings.adjust)}, per term.",
        "Residuals: tests within sequences; Durbin-Watson is biased towards 2 by a lagged outcome.",
        within and WITHIN_DOCUMENTS,
        settings.bias_correction != "none" and BIAS_CORRECTED,
        PREDICTIVE,
    ]
    parts = [above.as_text(), table.as_text(), below.as_text(), *filter(None, notes)]
    return "\n".join(parts) + "\n"


def _share(value: float) -> str:
    """Return a share of variance with four decimals, or that there is none."""
    if not np.isfinite(value):
        return "none"
    return f"{value:.4f}"


def _two_columns(rows: list[tuple[str, str, str, str]], title: str = "") -> SimpleTable:
    """Return a table of names and values, two pairs per row."""
    return SimpleTable(
        [row[1:] for row in rows],
        title=title,
        stubs=[row[0] for row in rows],
        txt_fmt={**fmt_params, "data_fmts": ["%s"], "data_aligns": "rlr", "colsep": "   "},
    )
