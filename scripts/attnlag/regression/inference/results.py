"""Tables of fits and of influential documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnlag.regression.estimation.wald import NO_TEST
from attnlag.regression.inference.layer_fit import SLOPES, LayerFit
from attnlag.regression.inference.multiple_tests import adjusted_p_values
from attnlag.regression.labels import OK, status
from attnlag.regression.terms import is_lag_or_lead

# Number of influential documents that are kept for each layer and term.
INFLUENTIAL = 100


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
        slopes = fit.errors.tests.get(SLOPES, NO_TEST)
        row = {
            "layer": fit.layer,
            "n_obs": fit.n_obs,
            "n_documents": fit.n_documents,
            "parameters": fit.parameters,
            "f_statistic": slopes.statistic,
            "f_df": slopes.df,
            "f_df_residual": slopes.df_residual,
            "f_p_value": slopes.p_value,
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
    place = int(np.argmax(fit.left_out.n_obs))
    return {
        "largest_cluster": fit.left_out.names[place],
        "largest_cluster_rows": int(fit.left_out.n_obs[place]),
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
                n_obs = fit.left_out.n_obs[row]
                in_errors = change[row] / errors[place]
                rows.append((fit.layer, term, document, n_obs, change[row], in_errors))
    return pd.DataFrame(rows, columns=columns)
