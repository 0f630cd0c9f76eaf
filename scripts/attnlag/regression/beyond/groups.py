"""A separate regression for each group of documents, from the same cross-products."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from attnlag.corpus.documents import largest_groups
from attnlag.regression.design.covariates import is_term
from attnlag.regression.estimation import merging, regress
from attnlag.regression.estimation.crossproducts import DocumentProducts, Shard, of_documents
from attnlag.regression.estimation.least_squares import names_of
from attnlag.regression.estimation.stacks import stacked
from attnlag.regression.inference import bootstrap, results
from attnlag.regression.limits import CLUSTERED
from attnlag.regression.settings import RegressionSettings

# Covariances that need no residuals.
FROM_SUMS = (*CLUSTERED, "nonrobust")


def settings_of_groups(settings: RegressionSettings) -> RegressionSettings:
    """Return the settings of the regressions of groups.

    Covariances that need the residuals of each group's regression (HC1, HC3, HAC) and clustering by
    group are replaced by clustering by document. Max-t becomes Holm, because its draws are those
    of the whole corpus.
    """
    return settings.changed(
        cluster="document",
        covariance=settings.covariance if settings.covariance in FROM_SUMS else "cluster",
        adjust="holm" if settings.adjust == "max-t" else settings.adjust,
    )


def coefficients_by_group(
    shards: Sequence[Shard], group_of: Mapping[str, str], settings: RegressionSettings
) -> pd.DataFrame:
    """Fit a separate regression to each group of documents, in every layer.

    The formulas are those of the whole regression. A term that is constant within a group, such as
    the dummies of groups, is left out.

    Parameters
    ----------
    shards : sequence of Shard
        Shards of one design, in order.
    group_of : mapping of document to group
        In the order of the corpus.
    settings : RegressionSettings
        From `settings_of_groups`.

    Returns
    -------
    table : pandas.DataFrame
        A tidy table with the group as ``subset`` and, for each layer of a group, ``n_obs``,
        ``n_documents`` and ``status``; ``median``, ``median_low`` and ``median_high`` of each lag
        or lead over the layers, whose intervals hold for all groups at once. A group with too few
        documents to cluster by has NaN estimates and a status that says so.
    """
    covariance = settings.covariance
    tables = []
    largest = largest_groups(group_of)
    for group in largest:
        documents = {document for document, other in group_of.items() if other == group}
        own = [without_dummies(of_documents(shard, documents)) for shard in shards]
        kept = merging.kept_terms(own)
        own = [merging.merged_shard(shard, kept) for shard in own]
        stack = stacked(
            own,
            fixed_effects=settings.fixed_effects == "document",
            budget=settings.stack_mb * 1e6,
        )
        fits = regress.fit(stack, covariance, 2)
        table = results.coefficients_table(
            fits,
            stack,
            covariance=covariance,
            alpha=settings.alpha,
            adjust=settings.adjust,
            negligible=settings.negligible,
        )
        of_layer = pd.DataFrame(
            {
                "layer": stack.layers,
                "n_obs": [fit.n_obs for fit in fits],
                "n_documents": [fit.n_documents for fit in fits],
                "status": [fit.status for fit in fits],
            }
        )
        medians = bootstrap.medians_of_jackknife(
            fits,
            names_of(stack),
            len(stack.clusters),
            alpha=settings.alpha / len(largest),
            draws=settings.bootstrap,
            seed=settings.seed,
        )
        table = table.merge(of_layer, on="layer").merge(medians, on="term", how="left")
        tables.append(table.assign(subset=group))
    return pd.concat(tables, ignore_index=True)


def fitted_groups(table: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    """Return the groups with estimates in some layer, and the reasons why the others have none.

    Parameters
    ----------
    table : pandas.DataFrame
        From `coefficients_by_group`.
    """
    fitted, without = [], {}
    for group, rows in table.groupby("subset", sort=False):
        if rows["estimate"].notna().any():
            fitted.append(str(group))
        else:
            without[str(group)] = str(rows["status"].iloc[0])
    return fitted, without


def without_dummies(shard: Shard) -> Shard:
    """Return a shard without the terms that distinguish groups."""
    kept = [term for term in shard.terms if not is_term(term, "group")]
    if len(kept) == len(shard.terms):
        return shard
    p = 1 + len(shard.terms)
    places = [0, *(1 + shard.terms.index(term) for term in kept)]
    row, column = np.triu_indices(p)
    chosen = np.isin(row, places) & np.isin(column, places)

    def batches() -> Iterator[DocumentProducts]:
        for block in shard.batches():
            yield DocumentProducts(block.documents, block.products[..., chosen])

    totals = replace(
        shard.totals,
        pooled=shard.totals.pooled[..., chosen],
        within=shard.totals.within[..., chosen],
    )
    return replace(
        shard, terms=kept, centre=shard.centre[:, places], totals=totals, batches=batches
    )
