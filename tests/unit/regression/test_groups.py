"""The regression of each group of documents is that of its rows alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from designs import changed, design_of_tokens, design_table, pieces_of
from fits import fit_settings, fitted, joined_of, moments_of

from attnlag.regression.inference import groups, results

LENGTHS = np.random.default_rng(3).integers(12, 40, 30).tolist()
GROUP_OF = {f"d{i}": ["prose", "verse", "code"][i % 3] for i in range(30)}


def by_group(table, group_of=GROUP_OF, covariance="cluster", **settings):
    """Return the coefficients of each group of a design of two shards."""
    layers = joined_of(map(moments_of, pieces_of(table, 13)))
    settings = fit_settings(covariance=covariance, **settings)
    return groups.coefficients_by_group(layers, group_of, settings)


def in_group(table, group, group_of=GROUP_OF):
    """Return which rows are of a group."""
    return pc.is_in(table["document"], pa.array([d for d, own in group_of.items() if own == group]))


@pytest.mark.parametrize("effects", ["none", "document"])
@pytest.mark.parametrize(
    "covariance", ["cluster", "cluster-crv1", "cluster-jackknife", "nonrobust"]
)
def test_the_regression_of_a_group_is_that_of_its_rows(covariance, effects):
    """The dummies of groups are dropped."""
    table = design_table(LENGTHS, layers=2, missing=0.05)
    verse = in_group(table, "verse").to_numpy().astype(float)
    stated = {"covariance": covariance, "alpha": 0.1, "adjust": "holm", "fixed_effects": effects}
    found = by_group(table.append_column("group_verse", pa.array(verse)), **stated)
    assert list(found["subset"].unique()) == ["prose", "verse", "code"]
    for group, rows in found.groupby("subset"):
        own = table.filter(in_group(table, group))
        fits = fitted(own, covariance, effects=effects == "document")
        table_of_rows = results.coefficients_table(fits, fit_settings(**stated))
        expected = table_of_rows.assign(subset=group).set_index(rows.index)
        pd.testing.assert_frame_equal(rows[expected.columns], expected, rtol=1e-9)
        counts = rows[["n_obs", "n_documents", "status"]].drop_duplicates()
        assert counts.values.tolist() == [[fit.n_obs, 10, "ok"] for fit in fits]


def test_a_group_of_too_few_documents_to_cluster_by_is_not_fitted_and_is_named():
    """A fit in one of the layers is enough."""
    table = design_table(LENGTHS)
    table = changed(table, {"layer_01.y": np.full(len(table), 2.5)})
    few = {name: "rare" if name in ("d0", "d1") else "prose" for name in GROUP_OF}
    unfitted = {"rare": "2 documents: too few to cluster by"}
    assert groups.fitted_groups(by_group(table, few)) == (["prose"], unfitted)
    # Classical errors need no six documents.
    assert groups.fitted_groups(by_group(table, few, "nonrobust")) == (["rare", "prose"], {})


def test_groups_use_clustered_errors_if_others_need_residuals():
    table = design_table(LENGTHS)
    pd.testing.assert_frame_equal(by_group(table, covariance="hac"), by_group(table))
    assert set(by_group(table, cluster="group")["vcov_type"]) == {"cluster"}


def test_a_group_without_rows_has_no_dummies_and_no_coefficients(tokens):
    table = design_of_tokens(tokens, lags=(1,), covariates=("upos",))
    documents = table["document"].to_pandas().astype(str).unique()
    group_of = {name: "long" for name in documents} | {f"short {i}": "short" for i in range(8)}
    found = groups.fitted_groups(by_group(table, group_of))
    assert found == (["long"], {"short": "0 rows for 2 terms"})
