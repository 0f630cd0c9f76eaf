"""Slopes by class of tokens against statsmodels, and the regressions of groups of documents."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from designs import RARE, changed, design_of_tokens, design_table, norms_table, pieces_of
from fits import fit_settings, fitted, joined_of, moments_of
from numpy.testing import assert_allclose, assert_array_equal
from oracles import aht, clustered, cr2, dummies_of, half_panel, jackknifed, multipletests, ols
from scipy import stats

from attnlag.regression import properties
from attnlag.regression.estimation.wald import Wald, with_bounded_eta
from attnlag.regression.inference import groups, layer_fit
from attnlag.regression.moments import merging
from attnlag.regression.moments.moments import Moments
from attnlag.regression.settings import ClassesSettings
from attnlag.regression.slopes import classes


def by_class(tokens, offset=0, of="upos", least_rows=100, group=None, terms=(), **changes):
    """Return the slopes by class as the programs find them, their tests, and rows with a class.

    A third of the documents are of the group, if it has a name.
    """
    table = design_of_tokens(tokens, lags=(1, 2), **dict(terms))
    if group:
        own = table["document"].to_pandas().cat.codes.to_numpy() % 3 == 1
        table = table.append_column(group, pa.array(own.astype(float)))
    values, names = properties.read_property(of, [tokens[1]]), properties.classes_of(of)
    cuts = values.cuts() if of in properties.MODERATORS else None
    cells = {"classes": len(names), "class_of_row": classes.codes_of(values, offset, cuts)}
    halves = changes.get("bias_correction") == "half-panel"
    layers = moments_of(table, 500, halves, **cells)
    regression = fit_settings(**{"covariance": "cluster-crv1"} | changes)
    settings = {"property": of, "offset": offset, "least_rows": least_rows}
    found = classes.slopes_by_class(layers, ClassesSettings(regression=regression, **settings))
    frame = table.to_pandas()
    values = values.values_of(changed(table, {"position": frame["position"] + offset}))
    known = ~np.isnan(values)
    kinds = values[known].astype(int) if cuts is None else np.digitize(values[known], cuts, True)
    kinds = pd.Series(np.array(names)[kinds])
    kinds = kinds.where(kinds.map(kinds.value_counts()) >= least_rows, "other")
    renamed = {f"layer_01.{name}": name for name in ("y", "lag_1", "lag_2")}
    return *found, frame[known].assign(kind=kinds.to_numpy()).rename(columns=renamed)


def estimates(table):
    return table.query("layer == 1 and term == 'lag_1'").set_index("subset")


def columns_of(data):
    """Return y, X, documents and classes; X has levels, lags 1 and lags 2 of the classes."""
    own, lags = dummies_of(data["kind"]), data[["lag_1", "lag_2"]].to_numpy()
    x = np.hstack([own, own * lags[:, :1], own * lags[:, 1:]])
    codes = data["document"].cat.codes.to_numpy()
    return data["y"].to_numpy(), x, codes, np.unique(data["kind"])


EFFECTS = {"fixed_effects": "document"}
NUMBER = {"of": "entropy_before", "least_rows": 30}
SPLINE = {"covariates": ("position", "upos"), "position_knots": (2, 8, 20)}
BEFORE = {"offset": -1, "terms": {"covariates": ("upos", "upos_previous")}}
SURPRISAL = {"of": "surprisal", "terms": {"covariates": ("surprisal",)}}


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, []),
        # Several classes are merged.
        ({"offset": -1, "least_rows": 350}, []),
        # Covariates are common to all classes. Dummies of the same token are dropped beside levels,
        (EFFECTS | {"terms": SPLINE}, ["position_1", "position_2"]),
        # but those of the outcome stay beside the classes of the token before.
        (BEFORE, [f"upos_{name}" for name in ("VERB", "DET", "ADJ", RARE)]),
        (EFFECTS | {"bias_correction": "half-panel"}, []),
        (NUMBER, []),
        (NUMBER | {"offset": -1}, []),
        # Thirds of a number do not replace it.
        (EFFECTS | NUMBER | SURPRISAL, ["surprisal"]),
        # The name of a group may hold the separator of terms and classes.
        ({"group": "group_vers|e"}, ["group_vers|e"]),
    ],
)
def test_slopes_equal_those_of_one_regression_of_all_classes(tokens, options, held):
    found, _, data = by_class(tokens, **options)
    assert (found["status"] == "ok").all()
    y, x, codes, kinds = columns_of(data)
    effects, of_lag_1 = "fixed_effects" in options, slice(len(kinds), 2 * len(kinds))
    x = np.hstack([x, data[held], *[dummies_of(codes)] * effects])

    def slopes(kept):
        return ols(y, x, kept)[of_lag_1]

    rows = estimates(found).loc[kinds]
    expected = slopes(slice(None))
    if "bias_correction" in options:
        expected = half_panel(slopes, codes)
    assert_allclose(rows["estimate"], expected, atol=1e-9)
    if not effects:
        errors = sm.OLS(y, x).fit(**clustered(codes)).bse[of_lag_1]
        assert_allclose(rows["std_error"], errors)
    of_class = data.groupby("kind")["document"]
    assert rows["n_obs"].to_dict() == of_class.size().to_dict()
    assert rows["n_documents"].to_dict() == of_class.nunique().to_dict()
    assert estimates(found).loc["all", "n_obs"] == len(data)


def test_few_documents_are_allowed_for(tokens):
    """By default errors are CR2's, and equal slopes are tested by AHT.

    What is merged is not tested. Degrees of freedom are at most the harmonic mean of the slopes'.
    """
    found, tests, data = by_class(tokens, covariance="cluster")
    assert set(tests["merged"]) == {RARE}
    y, x, codes, kinds = columns_of(data)
    wide = np.eye(3 * len(kinds))[len(kinds) : 2 * len(kinds)]
    own = wide[[kind != "other" for kind in kinds]]
    equal = own[1:] - own[:1]
    v, df = cr2(y, x, codes, [*wide, equal])
    rows = estimates(found).loc[kinds]
    assert_allclose(rows["std_error"], np.sqrt(np.diag(wide @ v @ wide.T)), rtol=1e-9)
    assert_allclose(rows["df"], df[:-1], rtol=1e-9)
    bound = stats.hmean(rows["df"].drop("other"))
    assert bound < df[-1]
    expected = aht(wide.T @ rows["estimate"].to_numpy(), v, equal, bound)
    test = tests.query("layer == 1 and term == 'lag_1'").iloc[0]
    test = test[["f_statistic", "df", "df_residual", "p_value"]]
    assert test.tolist() == pytest.approx(expected, rel=1e-7)
    for _, of_layers in tests.groupby("term"):
        corrected = multipletests(of_layers["p_value"], "holm")[1]
        assert_allclose(of_layers["p_adjusted"], corrected)


def test_the_difference_is_taken_from_the_common_slope(tokens):
    """Both regressions leave out the same documents."""
    found, _, data = by_class(tokens)
    y, x, codes, kinds = columns_of(data)
    k, rows = len(kinds), estimates(found)
    shared = np.column_stack([x[:, :k], data[["lag_1", "lag_2"]]])
    slope = rows.loc["all", "estimate"]
    assert slope == pytest.approx(ols(y, shared)[k], abs=1e-10)
    rows = rows.loc[kinds]
    assert_allclose(rows["difference"], rows["estimate"] - slope, atol=1e-10)

    def differences(kept):
        return ols(y, x, kept)[k : 2 * k] - ols(y, shared, kept)[k]

    # The jackknife of both regressions together.
    covariance, _ = jackknifed(differences, codes)
    assert_allclose(rows["difference_std_error"], np.sqrt(np.diag(covariance)), rtol=1e-8)
    statistic = rows["difference"] / rows["difference_std_error"]
    p_values = 2 * stats.t.sf(statistic.abs(), rows["df"])
    assert_allclose(rows["difference_p_value"], p_values)
    family = found.query("term == 'lag_1' and subset != 'all'")
    of_all = multipletests(family["difference_p_value"], "holm")[1]
    assert_allclose(family["difference_p_adjusted"], of_all)
    # One median a class, over both layers.
    every = found.query("term == 'lag_1' and subset == 'DET'")
    assert every["median"].to_numpy() == pytest.approx([every["estimate"].median()] * 2)


def test_the_common_slope_is_estimated_if_one_class_has_none(tokens):
    """In one layer all tokens before nouns have the same norm."""
    table, path = tokens
    norms = table["layer_00"].to_numpy().copy()
    norms[:-1][np.array(table["upos"].to_pylist()[1:]) == "NOUN"] = 1.0
    found, tests, _ = by_class((changed(table, {"layer_00": norms}), path))
    told = found["estimate"].notna()
    assert (told == ((found["layer"] == 1) | (found["subset"] == "all"))).all()
    assert (told == (found["status"] == "ok")).all()
    assert tests.groupby("layer")["p_value"].count().tolist() == [0, 2]
    assert found.loc[told & (found["subset"] != "all"), "difference_std_error"].notna().all()


def test_thirds_of_equal_numbers_are_one_and_no_token_is_before_the_first():
    table = norms_table({("a", 0): 4})
    for numbers, thirds in (([0.5, np.nan, 0.5, 0.5], [0, np.nan, 0, 0]), ([np.nan] * 4,) * 2):
        number = properties.Property("zipf", {("a", 0): 0}, np.array(numbers))
        own, before = (classes.codes_of(number, n, number.cuts())(table) for n in (0, -1))
        assert_array_equal(own, thirds)
        assert_array_equal(before, [np.nan, *thirds[:-1]])


def test_a_single_class_has_no_test_of_equal_slopes(tokens):
    """There is a single class if no document has parts of speech."""
    table, _ = tokens
    path = Path(tokens[1]).with_name("untagged.parquet")
    pq.write_table(changed(table, {"upos": ["none"] * table.num_rows}), path)
    found, tests, _ = by_class((table, path))
    rows = estimates(found)
    assert list(rows.index) == ["all", "none"]
    assert rows.loc["none", "estimate"] == pytest.approx(rows.loc["all", "estimate"], abs=1e-12)
    assert tests["p_value"].isna().all()
    assert rows["difference_std_error"].isna().all()


@pytest.mark.parametrize("step", [1, -1])
def test_sizes_of_classes_are_those_of_the_layer_with_the_most_rows(step):
    table = design_table([9, 12])
    y = np.where(np.arange(len(table)) < 4, np.nan, table["layer_01.y"])
    layers = moments_of(changed(table, {"layer_01.y": y}))
    rows = merging.rows_by_class(layers[::step], lambda layer: layer.products[0, :, :1, 0])
    assert rows.tolist() == [[9], [12]]


def test_one_class_at_a_time_is_in_memory_beside_the_sum():
    names = list(classes.classes_of("upos"))
    random = np.random.default_rng(0)
    w = random.normal(size=(len(names), 300, 5, 4))
    layer = Moments(
        layer=0,
        terms=["y", "lag_1", "lag_2"],
        clusters=[f"d{place}" for place in range(300)],
        centre=np.zeros(4),
        products=np.swapaxes(w, -1, -2) @ w,
        documents=300,
    )
    tracemalloc.start()
    merged = classes.MergedClasses({name: [name] for name in names}, names, np.zeros((0, 17)))
    found = classes.with_levels(layer, merged, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(names) > 10
    assert peak < 4 * found.products.nbytes


def test_small_classes_are_merged_and_named():
    size, present = np.array([500, 300, 3, 40, 0]), np.array([20, 5, 2, 10, 0])
    merged = merging.merged_classes("abcde", size, present, documents=6, rows=30)
    # Too few documents have b or c: d joins them.
    assert merged == {"a": ["a"], "other": ["b", "c", "d"]}
    merged = merging.merged_classes("abcde", size, present, documents=5, rows=45)
    assert merged == {"b": ["b"], "a": ["a"], "other": ["c", "d"]}


def test_classes_without_rows_are_dropped(tokens):
    table = design_of_tokens(tokens, lags=(1,), covariates=("upos",))
    layers = moments_of(table)
    kept = merging.kept_terms(layers[0].terms, layers)
    assert "upos_X" not in kept
    # The commonest class is what the others are compared with.
    own = [term for term in kept if term.startswith("upos_")]
    assert own == ["upos_ADJ", "upos_DET", "upos_INTJ", "upos_VERB"]
    # Those of too few documents to cluster by are merged.
    few = table["upos_INTJ"].to_numpy() * (table["document"].to_pandas().cat.codes < 5)
    layers = moments_of(changed(table, {"upos_INTJ": few}))
    merged = merging.kept_terms(layers[0].terms, layers)["upos_other"]
    assert merged == ("upos_ADJ", "upos_INTJ")
    # A first layer without rows says nothing of the classes.
    names = ("upos", "previous_layer")
    layers = moments_of(design_of_tokens(tokens, lags=(1,), covariates=names))
    assert not layers[0].products.any()
    assert [term for term in merging.kept_terms(layers[0].terms, layers) if term in own] == own


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


@pytest.mark.parametrize(
    ("covariance", "effects"), [("cluster", "none"), ("cluster-jackknife", "document")]
)
def test_the_regression_of_a_group_is_that_of_its_rows(covariance, effects, subtests):
    """The dummies of groups are dropped."""
    table = design_table(LENGTHS, layers=2, missing=0.05)
    verse = in_group(table, "verse").to_numpy().astype(float)
    stated = {"covariance": covariance, "alpha": 0.1, "adjust": "holm", "fixed_effects": effects}
    found = by_group(table.append_column("group_verse", pa.array(verse)), **stated)
    assert list(found["subset"].unique()) == ["prose", "verse", "code"]
    for group, rows in found.groupby("subset"):
        with subtests.test(group=group):
            own = table.filter(in_group(table, group))
            fits = fitted(own, covariance, effects=effects == "document")
            table_of_rows = layer_fit.coefficients_table(fits, fit_settings(**stated))
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


def test_an_aht_test_with_fewer_degrees_of_freedom_compares_the_same_distance(subtests):
    q, eta, bound, distance = 2, 40.0, 9.0, 12.5
    statistic = (eta - q + 1) / (eta * q) * distance
    test = Wald(statistic, q, eta - q + 1, stats.f.sf(statistic, q, eta - q + 1))
    bounded = with_bounded_eta(test, bound)
    expected = (bound - q + 1) / (bound * q) * distance
    assert bounded == pytest.approx((expected, q, 8, stats.f.sf(expected, q, 8)))
    # A bound above those that there are changes nothing.
    for enough in (eta, eta + 1):
        with subtests.test(enough=enough):
            assert with_bounded_eta(test, enough) == test


@pytest.mark.parametrize("bound", [1.0, 0.5])
def test_without_degrees_of_freedom_there_is_no_test(bound):
    test = with_bounded_eta(Wald(3.0, 2, 10.0, 0.05), bound)
    assert np.isnan([test.statistic, test.p_value]).all()
