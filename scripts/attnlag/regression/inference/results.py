"""Tables of coefficients and fits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression.estimation.layer_fit import LayerFit
from attnlag.regression.labels import OK, status
from attnlag.regression.settings import Errors
from attnlag.regression.terms import is_lag_or_lead
from attnlag.regression.units import key_columns

# Number of influential documents that are kept for each layer and term.
INFLUENTIAL = 100

# Columns of the table of coefficients.
COLUMNS = ["subset", "layer", "term", "estimate", "std_error", "statistic", "df", "p_value"]
COLUMNS += ["p_adjusted", "conf_low", "conf_high", "level"]
COLUMNS += ["equivalence", "vcov_type", "uncorrected"]


def coefficients_table(fits: Sequence[LayerFit], settings: Errors) -> pd.DataFrame:
    """Return the tidy table: one row per layer and term, or per layer, ``part`` and term.

    ``p_adjusted`` corrects the p-values of a term over the layers. Intervals are those of single
    coefficients. ``equivalence`` states whether one is negligible (`equivalence_test`), except for
    the intercept and the columns of a spline, for which no size is.
    """
    estimate = []
    std_error = []
    df = []
    uncorrected = []
    for fit in fits:
        estimate.append(fit.estimate)
        std_error.append(fit.coefficients.std_error)
        df.append(fit.df)
        uncorrected.append(fit.uncorrected)
    coefficients = Estimates(
        value=np.concatenate(estimate),
        std_error=np.concatenate(std_error),
        df=np.concatenate(df),
    )
    low, high = coefficients.interval(settings.alpha)
    table = pd.DataFrame(key_columns(fits)).assign(
        estimate=coefficients.value,
        uncorrected=np.concatenate(uncorrected),
        std_error=coefficients.std_error,
        df=coefficients.df,
        statistic=coefficients.statistic,
        p_value=coefficients.p_value,
        conf_low=low,
        conf_high=high,
        level=level_of(settings.alpha),
    )
    by_term = table.groupby("term")
    table["p_adjusted"] = by_term["p_value"].transform(adjusted_p_values, adjust=settings.adjust)
    table["equivalence"] = None
    for term, rows in by_term:
        if str(term).startswith(("intercept", "position_")):
            continue
        table.loc[rows.index, "equivalence"] = equivalence_test(
            rows["estimate"], rows["std_error"], rows["df"], settings
        )
    table["vcov_type"] = settings.covariance
    if settings.cluster == "group":
        table["vcov_type"] += "-group"
    table["subset"] = "all"
    if any(fit.part for fit in fits):
        return table[[*COLUMNS[:2], "part", *COLUMNS[2:]]]
    return table[COLUMNS]


def equivalence_test(
    estimate: pd.Series | np.ndarray,
    error: pd.Series | np.ndarray,
    df: pd.Series | np.ndarray | int,
    settings: Errors,
) -> np.ndarray:
    """Return which coefficients of several layers, (layers,), are shown to be beyond or within ± δ.

    ``"present"``: |β| ≤ δ is rejected by the p-value of |b| at the bound, which at δ = 0 is the
    two-sided one of β = 0; what is present is thus significant too. ``"absent"``: |β| ≥ δ is
    rejected by two one-sided tests. ``"undecided"``: neither, or no estimate. The p-values of
    either kind are corrected over the layers.
    """
    bound = settings.equivalence_bound
    size = np.abs(np.asarray(estimate, dtype=float))
    error = np.asarray(error, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = (size - bound) / error
        within = (bound - size) / error
        opposite = (size + bound) / error
    p_beyond = special.stdtr(df, -beyond) + special.stdtr(df, -opposite)
    p_within = special.stdtr(df, -within)
    present = adjusted_p_values(pd.Series(p_beyond), settings.adjust) < settings.alpha
    absent = adjusted_p_values(pd.Series(p_within), settings.adjust) < settings.alpha
    return np.select([absent, present], ["absent", "present"], "undecided").astype(object)


def adjusted_p_values(p_values: pd.Series, adjust: str) -> np.ndarray:
    """Return p-values, (tests,), corrected for their number; NaN stays and is not counted."""
    adjusted = p_values.to_numpy(copy=True)
    tested = ~np.isnan(adjusted)
    if adjust == "none" or not tested.any():
        return adjusted
    p = adjusted[tested]
    if adjust == "holm":
        # The function of statsmodels runs the garbage collector: 0.05 s in each of many calls.
        order = np.argsort(p)
        steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        p[order] = np.minimum(steps, 1)
    else:
        # The import takes half a second, which the default correction does not need.
        from statsmodels.stats.multitest import multipletests

        p = multipletests(p, method="fdr_bh")[1]
    adjusted[tested] = p
    return adjusted


def extremes(table: pd.DataFrame) -> tuple[pd.Series, pd.Series, bool] | None:
    """Return the subsets with the smallest and the largest median, and whether they are apart.

    They are apart if their intervals do not meet, and None is returned if fewer than two subsets
    have an interval. The table has the rows of one term, with ``subset``, ``median``,
    ``median_low`` and ``median_high``, whose intervals hold for all subsets at once.
    """
    medians = table.dropna(subset="median_low").drop_duplicates("subset").sort_values("median")
    if len(medians) < 2:
        return None
    medians = medians.set_index("subset")
    apart = medians["median_high"].iloc[0] < medians["median_low"].iloc[-1]
    return medians.iloc[0], medians.iloc[-1], bool(apart)


# Columns of the table of fits that a layer without a fit has no numbers in.
GOODNESS = [
    *("effective_documents", "r_squared", "adj_r_squared", "cv_r_squared", "loo_r_squared"),
    *("partial_r_squared", "r_squared_lags", "r_squared_others", "sigma", "condition_number"),
    *("f_statistic", "f_df", "f_df_residual", "f_p_value", "log_likelihood"),
    *("largest_cluster", "largest_cluster_rows"),
]


def fits_table(
    fits: Sequence[LayerFit],
    dropped: Sequence[int] | np.ndarray,
    diagnostics: pd.DataFrame,
    mixers: Mapping[str, str],
    adjust: str,
) -> pd.DataFrame:
    """Return one row per layer with the goodness of fit, and the diagnostics of residuals.

    ``dropped``, (layers,), counts the rows that were dropped for a zero or non-finite norm, and
    ``mixers`` names those of layers without attention.
    """
    rows = []
    for fit in fits:
        row = {
            "layer": fit.layer,
            "n_obs": fit.n_obs,
            "n_documents": fit.n_documents,
            "parameters": fit.parameters,
            "f_statistic": fit.wald.statistic,
            "f_df": fit.wald.df,
            "f_df_residual": fit.wald.df_residual,
            "f_p_value": fit.wald.p_value,
            "halves_f": fit.halves.statistic,
            "halves_df": fit.halves.df,
            "halves_df_residual": fit.halves.df_residual,
            "halves_p_value": fit.halves.p_value,
            "mixer": mixers.get(str(fit.layer), "attention"),
            "status": status(fit.reason),
        }
        rows.append(row | fit.goodness | _largest_cluster(fit))
    table = pd.DataFrame(rows).assign(n_dropped=dropped)
    table["halves_p_adjusted"] = adjusted_p_values(table["halves_p_value"], adjust)
    first = ["layer", "n_obs", "n_dropped", "n_documents", *GOODNESS, "parameters"]
    last = ["halves_f", "halves_df", "halves_df_residual", "halves_p_value", "halves_p_adjusted"]
    last += ["mixer", "status"]
    diagnostics = diagnostics.reset_index(drop=True).astype(float)
    diagnostics.loc[table["status"] != OK] = np.nan
    # A column of `GOODNESS` that no layer has is NaN.
    return pd.concat(
        [table.reindex(columns=first), diagnostics, table.reindex(columns=last)], axis=1
    )


def _largest_cluster(fit: LayerFit) -> dict[str, Any]:
    """Return the name and the rows of the cluster with most rows, of a layer that is fitted."""
    if fit.left_out is None:
        return {}
    place = int(np.argmax(fit.left_out.rows))
    return {
        "largest_cluster": fit.left_out.names[place],
        "largest_cluster_rows": int(fit.left_out.rows[place]),
    }


def influence_table(fits: Sequence[LayerFit]) -> pd.DataFrame:
    """Return the clusters whose omission changes the coefficients of lags and leads most.

    They are documents or groups of them, in the column ``document``. There are at most
    ``INFLUENTIAL`` per layer and term, largest change first. ``change`` is the estimate minus the
    estimate without the cluster, ``change_in_se`` the same in standard errors.
    """
    columns = ["layer", "term", "document", "n_obs", "change", "change_in_se"]
    rows = []
    for fit in fits:
        if fit.left_out is None:
            continue
        errors = fit.coefficients.std_error
        for place, term in enumerate(fit.names):
            if not is_lag_or_lead(term):
                continue
            change = fit.estimate[place] - fit.left_out.coefficients[:, place]
            # Ties keep the order of the documents.
            order = np.argsort(-np.abs(np.nan_to_num(change)), kind="stable")[:INFLUENTIAL]
            for row in order.tolist():
                document = fit.left_out.names[row]
                n_obs = fit.left_out.rows[row]
                in_errors = change[row] / errors[place]
                rows.append((fit.layer, term, document, n_obs, change[row], in_errors))
    return pd.DataFrame(rows, columns=columns)
