"""A separate regression for each group of documents, from the same cross-products."""

from collections.abc import Mapping, Sequence

import pandas as pd

from attnlag.corpus.documents import largest_groups
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import bootstrap, fallbacks, layer_fit
from attnlag.regression.inference.layer_fit import fit_layer
from attnlag.regression.labels import status
from attnlag.regression.moments import merging
from attnlag.regression.moments.moments import Moments
from attnlag.regression.settings import RegressionSettings


def coefficients_by_group(
    layers: Sequence[Moments], group_of: Mapping[str, str], settings: RegressionSettings
) -> pd.DataFrame:
    """Fit a separate regression to each group of documents, in every layer.

    The formulas are those of the whole regression. A term that is constant within a group, such as
    the dummies of groups, is left out. A group with too few documents to cluster by has NaN
    estimates and a status that says so. Intervals of medians hold for all groups at once.
    """
    settings = fallbacks.by_document(settings)
    fixed_effects = settings.fixed_effects == "document"
    largest = largest_groups(group_of)
    tables = []
    for group in largest:
        documents = [document for document, other in group_of.items() if other == group]
        own = merging.moments_of_documents(
            layers, documents, fixed_effects=fixed_effects, without=("group_",)
        )
        fits = []
        for moments in own:
            fits.append(fit_layer(solve(moments), settings.covariance, jackknifed=True))
        table = layer_fit.coefficients_table(fits, settings)
        layers_fitted = []
        for fit in fits:
            layers_fitted.append((fit.layer, fit.n_obs, fit.n_documents, status(fit.reason)))
        columns = ["layer", "n_obs", "n_documents", "status"]
        table = table.merge(pd.DataFrame(layers_fitted, columns=columns), on="layer")
        medians = bootstrap.medians_of_jackknife(fits, settings, len(largest))
        table = table.merge(medians, on="term", how="left")
        tables.append(table.assign(subset=group))
    return pd.concat(tables, ignore_index=True)


def fitted_groups(table: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    """Return the groups with estimates in some layer, and the reasons why the others have none."""
    fitted = []
    without = {}
    for group, rows in table.groupby("subset", sort=False):
        if rows["estimate"].notna().any():
            fitted.append(str(group))
        else:
            without[str(group)] = str(rows["status"].iloc[0])
    return fitted, without
