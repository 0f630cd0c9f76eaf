"""The regression of each group, against statsmodels on the rows of that group."""

import numpy as np
import pyarrow as pa
import statsmodels.api as sm
from designs import (
    columns_of,
    design_of_tokens,
    design_table,
    joined_of,
    moments_of,
    pieces_of,
    regression_settings,
)
from numpy.testing import assert_allclose
from oracles import clustered

from attnlag.regression.inference import groups

LENGTHS = np.random.default_rng(3).integers(12, 40, 30).tolist()
GROUP_OF = {f"d{i}": ["prose", "verse", "code"][i % 3] for i in range(30)}
SETTINGS = regression_settings(alpha=0.1, adjust="none", covariance="cluster-crv1")


def by_group(table, group_of=GROUP_OF, settings=SETTINGS):
    """Return the coefficients of each group of a design of two shards."""
    layers = joined_of(map(moments_of, pieces_of(table, 13)))
    return groups.coefficients_by_group(layers, group_of, settings)


def test_the_regression_of_a_group_equals_statsmodels_on_its_rows():
    table = design_table(LENGTHS, layers=2, missing=0.05)
    found = by_group(table)
    assert list(found["subset"].unique()) == ["prose", "verse", "code"]
    documents = table["document"].to_pandas().astype(str)
    for (group, layer), rows in found.groupby(["subset", "layer"], sort=False):
        own = table.filter(pa.array(documents.map(GROUP_OF) == group))
        y, x, codes = columns_of(own, layer)
        oracle = sm.OLS(y, x).fit(**clustered(codes))
        assert_allclose(rows["estimate"], oracle.params, rtol=1e-9)
        assert_allclose(rows["std_error"], oracle.bse, rtol=1e-9)
        assert_allclose(rows[["conf_low", "conf_high"]], oracle.conf_int(0.1), rtol=1e-8)
        counts = rows[["n_obs", "n_documents", "status"]].drop_duplicates()
        assert counts.values.tolist() == [[oracle.nobs, 10, "ok"]]


def test_a_group_of_too_few_documents_to_cluster_by_is_not_fitted_and_is_named():
    table = design_table(LENGTHS)
    few = {name: "rare" if name in ("d0", "d1") else "prose" for name in GROUP_OF}
    found = by_group(table, few)
    unfitted = {"rare": "2 documents: too few to cluster by"}
    assert groups.fitted_groups(found) == (["prose"], unfitted)
    # Classical errors need no six documents.
    found = by_group(table, few, regression_settings(covariance="nonrobust"))
    assert groups.fitted_groups(found) == (["rare", "prose"], {})
    y, x, _ = columns_of(pieces_of(table, 2)[0], 0)
    rows = found[(found["subset"] == "rare") & (found["layer"] == 0)]
    assert_allclose(rows["std_error"], sm.OLS(y, x).fit().bse, rtol=1e-9)
    assert (rows["vcov_type"] == "nonrobust").all()


def test_dummies_of_groups_are_dropped_within_a_group():
    table = design_table(LENGTHS)
    verse = table["document"].to_pandas().astype(str).map(GROUP_OF) == "verse"
    with_dummy = table.append_column("group_verse", pa.array(verse.astype(float)))
    plain, found = by_group(table), by_group(with_dummy)
    assert list(found["term"].unique()) == ["intercept", "lag_1", "lag_2"]
    assert_allclose(found["estimate"], plain["estimate"], rtol=1e-9)


def test_groups_use_clustered_errors_if_others_need_residuals():
    for covariance in ("cluster", "cluster-crv1", "cluster-jackknife", "nonrobust"):
        settings = regression_settings(covariance=covariance)
        assert groups.settings_of_groups(settings) == settings
    settings = regression_settings(covariance="hac")
    assert groups.settings_of_groups(settings) == regression_settings()


def test_a_group_without_rows_has_no_dummies_and_no_coefficients(tokens):
    table = design_of_tokens(tokens, lags=(1,), covariates=("upos",))
    documents = table["document"].to_pandas().astype(str).unique()
    group_of = {name: "long" for name in documents} | {f"short {i}": "short" for i in range(8)}
    found = by_group(table, group_of)
    fitted, without = groups.fitted_groups(found)
    assert fitted == ["long"]
    assert without == {"short": "0 rows for 2 terms"}
