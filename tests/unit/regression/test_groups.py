"""The regression of each group, against statsmodels on the rows of that group."""

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from designs import columns_of, design_table, regression_settings, shard_of

from attnlag.regression import groups

LENGTHS = np.random.default_rng(3).integers(12, 40, 30).tolist()
GROUP_OF = {f"d{i}": ["prose", "verse", "code"][i % 3] for i in range(30)}
SETTINGS = regression_settings(alpha=0.1, adjust="none")


@pytest.mark.parametrize("parts", [1, 2])
def test_equals_statsmodels(parts):
    table = design_table(LENGTHS, layers=2, missing=0.05)
    middle = int(np.searchsorted(table["document"].to_pandas().cat.codes, 13))
    pieces = [table] if parts == 1 else [table.slice(0, middle), table.slice(middle)]
    shards = [shard_of(piece.unify_dictionaries().combine_chunks()) for piece in pieces]
    found = groups.coefficients_by_group(shards, GROUP_OF, SETTINGS)
    assert list(found["subset"].unique()) == ["prose", "verse", "code"]
    documents = table["document"].to_pandas().astype(str)
    for (group, layer), rows in found.groupby(["subset", "layer"], sort=False):
        own = table.filter(pa.array(documents.map(GROUP_OF) == group))
        y, x, codes = columns_of(own, layer)
        oracle = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
        np.testing.assert_allclose(rows["estimate"], oracle.params, rtol=1e-9)
        np.testing.assert_allclose(rows["std_error"], oracle.bse, rtol=1e-9)
        np.testing.assert_allclose(rows[["conf_low", "conf_high"]], oracle.conf_int(0.1), rtol=1e-8)
        assert (rows["n_obs"] == oracle.nobs).all()
        assert (rows["n_documents"] == 10).all()
        assert (rows["status"] == "ok").all()


def test_too_few_documents_say_so():
    few = {name: "rare" if name in ("d0", "d1") else "prose" for name in GROUP_OF}
    found = groups.coefficients_by_group([shard_of(design_table(LENGTHS))], few, SETTINGS)
    rare = found[found["subset"] == "rare"]
    assert rare["estimate"].isna().all()
    assert (rare["status"] == "2 documents: too few to cluster by").all()
    assert found.loc[found["subset"] == "prose", "estimate"].notna().all()


def test_groups_without_estimates_are_named():
    few = {name: "rare" if name in ("d0", "d1") else "prose" for name in GROUP_OF}
    found = groups.coefficients_by_group([shard_of(design_table(LENGTHS))], few, SETTINGS)
    assert groups.fitted_groups(found) == (
        ["prose"],
        {"rare": "2 documents: too few to cluster by"},
    )
    # Classical errors need no six documents.
    classical = groups.settings_of_groups(regression_settings(covariance="nonrobust"))
    found = groups.coefficients_by_group([shard_of(design_table(LENGTHS))], few, classical)
    assert groups.fitted_groups(found) == (["rare", "prose"], {})
    own = design_table(LENGTHS).slice(0, LENGTHS[0] + LENGTHS[1])
    y, x, _ = columns_of(own, 0)
    rows = found[(found["subset"] == "rare") & (found["layer"] == 0)]
    np.testing.assert_allclose(rows["std_error"], sm.OLS(y, x).fit().bse, rtol=1e-9)
    assert (rows["vcov_type"] == "nonrobust").all()


def test_dummies_of_groups_are_left_out():
    """Within a group they are constant."""
    table = design_table(LENGTHS)
    verse = table["document"].to_pandas().astype(str).map(GROUP_OF) == "verse"
    with_dummy = table.append_column("group_verse", pa.array(verse.astype(float)))
    plain = groups.coefficients_by_group([shard_of(table)], GROUP_OF, SETTINGS)
    found = groups.coefficients_by_group([shard_of(with_dummy)], GROUP_OF, SETTINGS)
    assert list(found["term"].unique()) == ["intercept", "lag_1", "lag_2"]
    np.testing.assert_allclose(found["estimate"], plain["estimate"], rtol=1e-9)


def test_of_very_many_groups_those_of_most_documents_are_fitted(monkeypatch):
    monkeypatch.setattr(groups, "MOST_GROUPS", 2)
    group_of = {"a": "one", "b": "two", "c": "three", "d": "three", "e": "two"}
    assert groups.largest_groups(group_of) == ["two", "three"]


def test_groups_have_errors_and_corrections_that_need_no_more_than_their_documents():
    for covariance in ("cluster", "cluster-jackknife", "nonrobust"):
        settings = regression_settings(covariance=covariance)
        assert groups.settings_of_groups(settings) == settings
    settings = regression_settings(covariance="hac", adjust="max-t")
    assert groups.settings_of_groups(settings) == regression_settings()
