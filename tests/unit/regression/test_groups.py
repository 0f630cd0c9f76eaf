"""The regression of each group, against statsmodels on the rows of that group."""

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from designs import (
    columns_of,
    design_of_tokens,
    design_table,
    fits_of,
    fitted,
    joined_of,
    moments_of,
    pieces_of,
    regressed,
    regression_settings,
    stored_of,
)
from numpy.testing import assert_allclose
from oracles import clustered, jackknifed, ols, with_effects

from attnlag.regression.inference import groups

LENGTHS = np.random.default_rng(3).integers(12, 40, 30).tolist()
GROUP_OF = {f"d{i}": ["prose", "verse", "code"][i % 3] for i in range(30)}
SETTINGS = regression_settings(alpha=0.1, adjust="none", covariance="cluster-crv1")


@pytest.mark.parametrize("parts", [1, 2])
def test_the_regression_of_a_group_equals_statsmodels_on_its_rows(parts):
    table = design_table(LENGTHS, layers=2, missing=0.05)
    pieces = [table] if parts == 1 else pieces_of(table, 13)
    found = groups.coefficients_by_group(joined_of(map(moments_of, pieces)), GROUP_OF, SETTINGS)
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
    found = groups.coefficients_by_group(moments_of(table), few, SETTINGS)
    unfitted = {"rare": "2 documents: too few to cluster by"}
    assert groups.fitted_groups(found) == (["prose"], unfitted)
    # Classical errors need no six documents.
    classical = regression_settings(covariance="nonrobust")
    found = groups.coefficients_by_group(moments_of(table), few, classical)
    assert groups.fitted_groups(found) == (["rare", "prose"], {})
    y, x, _ = columns_of(pieces_of(table, 2)[0], 0)
    rows = found[(found["subset"] == "rare") & (found["layer"] == 0)]
    assert_allclose(rows["std_error"], sm.OLS(y, x).fit().bse, rtol=1e-9)
    assert (rows["vcov_type"] == "nonrobust").all()


def test_dummies_of_groups_are_dropped_within_a_group():
    table = design_table(LENGTHS)
    verse = table["document"].to_pandas().astype(str).map(GROUP_OF) == "verse"
    with_dummy = table.append_column("group_verse", pa.array(verse.astype(float)))
    plain = groups.coefficients_by_group(moments_of(table), GROUP_OF, SETTINGS)
    found = groups.coefficients_by_group(moments_of(with_dummy), GROUP_OF, SETTINGS)
    assert list(found["term"].unique()) == ["intercept", "lag_1", "lag_2"]
    assert_allclose(found["estimate"], plain["estimate"], rtol=1e-9)


def test_groups_use_clustered_errors_if_others_need_residuals():
    for covariance in ("cluster", "cluster-crv1", "cluster-jackknife", "nonrobust"):
        settings = regression_settings(covariance=covariance)
        assert groups.settings_of_groups(settings) == settings
    settings = regression_settings(covariance="hac")
    assert groups.settings_of_groups(settings) == regression_settings()


GENRES = {f"d{i}": f"genre {i % 8}" for i in range(30)}


@pytest.mark.parametrize("budget", [np.inf, 1.0])
def test_errors_by_group_equal_those_of_statsmodels(budget, tmp_path):
    """Groups are few, so that they are clusters under any limit of memory."""
    table = design_table(LENGTHS, layers=2, missing=0.05)
    stored = stored_of(pieces_of(table, 13), tmp_path / "shards", budget)
    layers = regressed(stored, group_of=GENRES)
    assert layers[0].clusters == [f"genre {place}" for place in range(8)]
    assert layers[0].bins is None
    both = (fits_of(layers, covariance) for covariance in ("cluster-crv1", "cluster-jackknife"))
    for layer, (fit, jackknife) in enumerate(zip(*both, strict=True)):
        y, x, codes = columns_of(table, layer)
        # The codes count the documents in their order.
        genres = codes % 8
        oracle = sm.OLS(y, x).fit(**clustered(genres))
        assert_allclose(fit.estimate, oracle.params, rtol=1e-9)
        assert_allclose(fit.covariance, oracle.cov_params(), rtol=1e-8)
        assert (fit.df == 7).all()
        assert fit.n_documents == 30
        covariance, _ = jackknifed(lambda kept, y=y, x=x: ols(y, x, kept), genres)
        assert_allclose(jackknife.covariance, covariance, rtol=1e-7)


def test_document_effects_are_removed_by_document_and_not_by_group():
    table = design_table(LENGTHS, layers=1)
    (fit,) = fitted(table, "cluster-crv1", effects=True, group_of=GENRES)
    y, x, codes = columns_of(table, 0)
    options = {"groups": codes % 8, "use_correction": False}
    oracle = sm.OLS(y, with_effects(x, codes)).fit(cov_type="cluster", cov_kwds=options)
    assert_allclose(fit.estimate, oracle.params[:2], rtol=1e-9)
    # One degree of freedom for the level of all effects: they are nested in the clusters.
    factor = 8 / 7 * (len(y) - 1) / (len(y) - 3)
    assert_allclose(fit.covariance, factor * oracle.cov_params()[:2, :2], rtol=1e-7)


def test_a_group_without_rows_has_no_dummies_and_no_coefficients(tokens):
    table = design_of_tokens(tokens, lags=(1,), covariates=("upos",))
    documents = table["document"].to_pandas().astype(str).unique()
    group_of = {name: "long" for name in documents} | {f"short {i}": "short" for i in range(8)}
    found = groups.coefficients_by_group(moments_of(table), group_of, regression_settings())
    fitted, without = groups.fitted_groups(found)
    assert fitted == ["long"]
    assert without == {"short": "0 rows for 2 terms"}
