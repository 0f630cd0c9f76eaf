"""The comparison of models against least squares on rows, and claims about all of them."""

import dataclasses
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from designs import changed, design_table, pieces_of, profile_of_documents
from fits import assert_alike, columns_of, fit_settings, fits_of, regressed, stored_of
from numpy.testing import assert_allclose
from oracles import multipletests, ols
from projects import refused
from scipy import stats

from attnlag import wording
from attnlag.claims.comparison import claims_of_comparison, replicated
from attnlag.claims.run import RunClaims, by_analysis
from attnlag.regression.across_models import comparison, replication
from attnlag.regression.across_models.comparison import STUDY_KEYS
from attnlag.regression.inference import layer_fit
from attnlag.regression.settings import Errors
from attnlag.report.comparison import comparison_findings
from attnlag.storage import tables

NONE = pd.DataFrame()


def documents_of(layers, seed=0):
    """Return a design of twelve documents of equal length."""
    return design_table([25] * 12, layers, seed)


def steeper(design, more, layers):
    """Return a design with a larger slope of lag 1 in its first layers."""
    columns = {name: design[name].to_numpy() for name in design.column_names}
    names = [f"layer_{layer:02d}." for layer in range(layers)]
    return changed(design, {f"{n}y": columns[f"{n}y"] + more * columns[f"{n}lag_1"] for n in names})


def without(table, *documents):
    return table.filter(pc.invert(pc.is_in(table["document"], pa.array(documents, pa.string()))))


@pytest.fixture
def study_of(tmp_path_factory):
    """Return a function that makes a study of a design; its cross-products are in files."""

    def study(model, design, corpus="prompts", site="attention", cuts=(), halves=False, **options):
        keys = {"model": model, "corpus": corpus, "site": site, "regression": "notebook"}
        settings = fit_settings(**options)
        record = {"stages": {"regression": settings.model_dump()}}
        record |= {"model": {"name": model}, "corpus": {"name": corpus}}
        folder = tmp_path_factory.mktemp(model) / "crossproducts"
        stored = stored_of(pieces_of(design, *cuts), folder, halves=halves)
        fits = fits_of(regressed(stored), settings.covariance)
        table = layer_fit.coefficients_table(fits, settings).assign(**keys)
        shards = stored.files.paths
        return comparison.ComparedStudy(table, tables.Record(record), shards, NONE, NONE)

    return study


def pairs_of(*studies, **settings):
    return comparison.pairs_of_models(studies, Errors(**settings))


def slopes_of(design, layers):
    """Return (layers, 2) slopes of least squares."""
    return np.array([ols(*columns_of(design, layer)[:2])[1:] for layer in range(layers)])


def profile_of(estimates, error, seed=0):
    """Return a profile of lag 1 in 30 documents with normal errors, independent between layers."""
    noise = np.random.default_rng(seed).normal(size=(30, len(estimates), 1))
    values = np.array(estimates)[:, None] + np.sqrt(30) * error * (noise - noise.mean(axis=0))
    return profile_of_documents(values, ["lag_1"])


def differences(first, second, **settings):
    return comparison.differences(first, second, "lag_1", Errors(**settings))


def test_differences_are_tested_layer_by_layer(subtests):
    """The oracle is the errors of the scores, and Holm's method of statsmodels."""
    first = profile_of([0.5, 0.3, 0.12, 0.1, 0.2], 0.035)
    second = profile_of([0.1, 0.2, 0.1, 0.1, np.nan], 0.035, seed=1)
    size = np.array([0.4, 0.1, 0.02, 0.0])
    error = np.sqrt(((first.scores - second.scores) ** 2).sum(axis=0))[:4, 0]
    assert error == pytest.approx(0.035 * np.sqrt(2), rel=0.5)

    def beyond(bound):
        return stats.t.sf((size - bound) / error, 29) + stats.t.sf((size + bound) / error, 29)

    def rejected(p):
        return multipletests(p, method="holm")[0].sum()

    assert rejected(beyond(0.05)) == 1
    assert differences(first, second) == {
        "layers_compared": 4,
        "layers_differing": 1,
        "layers_alike": 0,
        "median_difference": pytest.approx(0.06),
    }
    # The second differs by more than 0.02 only if the number of layers does not count.
    alone = differences(first, second, adjust="none", equivalence_bound=0.02)["layers_differing"]
    assert alone == (beyond(0.02) < 0.05).sum() == rejected(beyond(0.02)) + 1 == 2
    wide = differences(first, second, equivalence_bound=0.15)
    assert wide["layers_alike"] == rejected(stats.t.sf((0.15 - size) / error, 29)) == 2
    # No layer is both.
    assert wide["layers_differing"] == 1
    # The smaller degrees of freedom count.
    few = dataclasses.replace(second, df=np.ones((5, 1)))
    for place, pair in {"second": (first, few), "first": (few, first)}.items():
        with subtests.test(few=place):
            assert differences(*pair)["layers_differing"] == 0


def test_each_layer_of_the_deeper_model_is_compared_with_the_nearest():
    shallow, deep = profile_of([0.2, -0.2, 0.2], 0.01), profile_of([0.1, 0.2, -0.2, 0.2, 0.2], 0.01)
    # Depths 0, ¼ (as near to 0 as to ½: the earlier), ½, ¾, 1.
    assert comparison.nearest_layers(3, 5).tolist() == [0, 0, 1, 1, 2]
    found = differences(shallow, deep)
    assert (found["layers_compared"], found["layers_differing"]) == (5, 2)


def test_differences_use_the_correlation_over_shared_documents(study_of):
    """Effects of a text that all models share are no difference between them."""
    random, design = np.random.default_rng(3), documents_of(4)
    names = design.column_names[1:]
    moved = {name: design[name] + random.normal(scale=0.05, size=300) for name in names}
    a, b = study_of("a", design), study_of("b", steeper(changed(design, moved), 0.08, 4))
    table = pairs_of(a, b, equivalence_bound=0.01).set_index("term")
    assert table.loc["lag_1", "layers_differing"] == 4
    assert table.loc["lag_2", "layers_differing"] == 0
    errors = a.coefficients.query("term == 'lag_1'")["std_error"]
    # Errors of two models apart would hide it.
    apart = 1.96 * np.sqrt(2) * errors.median()
    assert abs(table.loc["lag_1", "median_difference"]) < apart


def test_a_pair_of_6_and_12_layers_is_that_of_least_squares_in_either_order(study_of):
    small, large = documents_of(6, seed=1), documents_of(12, seed=2)
    a, b = study_of("small", small, cuts=(4, 8)), study_of("large", large, cuts=(6,))
    table = pairs_of(a, b, alpha=0.1)
    assert list(table.columns) == list(comparison.PAIR_COLUMNS)
    assert list(table["term"]) == ["lag_1", "lag_2"]
    six, twelve = slopes_of(small, 6), slopes_of(large, 12)
    nearest = [round(depth * 5 / 11) for depth in range(12)]
    medians = [np.median(each, axis=0) for each in (six, twelve, six[nearest] - twelve)]
    found = table[["median_a", "median_b", "median_difference"]].to_numpy().T
    assert_allclose(found, medians, rtol=1e-9)
    counts = {"layers_a": 6, "layers_b": 12, "documents": 12, "layers_compared": 12}
    counts |= {"documents_only_a": 0, "documents_only_b": 0}
    assert (table[[*counts]] == list(counts.values())).all(axis=None)
    other = pairs_of(b, a, alpha=0.1)
    same = ["layers_compared", "layers_differing", "layers_alike"]
    pd.testing.assert_frame_equal(table[same], other[same])
    assert (table["median_difference"] == -other["median_difference"]).all()
    assert (table["model_a"] == other["model_b"]).all()


def test_halves_count_only_where_they_corrected_the_regression(study_of):
    """With few documents a regression is not corrected, although their halves are summed apart."""
    design = documents_of(3)
    plain = study_of("plain", design)
    apart = study_of("apart", design, halves=True)
    assert_alike(apart.moments(), plain.moments(), "products", rtol=1e-7, atol=1e-9)
    options = {"halves": True, "bias_correction": "half-panel", "fixed_effects": "document"}
    corrected = study_of("corrected", design, **options)
    assert {len(layer.products) for layer in corrected.moments()} == {3}
    within = study_of("within", design, fixed_effects="document")
    assert_alike(
        corrected.moments(corrected=False), within.moments(), "products", rtol=1e-7, atol=1e-9
    )


def findings_of(pairs):
    """Return the findings of a comparison of pairs in words."""
    settings = {"alpha": 0.05, "equivalence_bound": 0.05}
    held = pd.DataFrame(columns=replication.CLAIM_COLUMNS)
    table = claims_of_comparison(pairs, held, ["a", "b"], settings)
    return comparison_findings(RunClaims(by_analysis(table), {}))


def test_documents_that_one_model_lacks_are_dropped_and_counted(study_of):
    few, many = documents_of(4, seed=1), documents_of(4, seed=2)
    lost = np.isin(few["document"].to_pylist(), ["d3", "d11"])  # no rows are left of these
    few = changed(few, {name: np.where(lost, np.nan, few[name]) for name in few.column_names[1:]})

    def pair(from_few, from_many):
        few_of, many_of = without(few, *from_few), without(many, *from_many)
        return pairs_of(study_of("few", few_of), study_of("many", many_of))

    table = pair(["d0"], ["d7"])
    counts = table[["documents", "documents_only_a", "documents_only_b"]]
    assert (counts == [8, 1, 3]).all(axis=None)
    # As if neither had ever seen them.
    both = pair(*[["d0", "d3", "d7", "d11"]] * 2)
    numbers = ["layers_differing", "layers_alike", "median_a", "median_b", "median_difference"]
    assert_allclose(table[numbers], both[numbers], rtol=1e-9)
    line = findings_of(table).splitlines()[1]
    assert line.endswith("; documents that one model lacks: 4")


@pytest.mark.parametrize("shared", [5, 0])
def test_layers_are_not_compared_over_few_or_no_common_documents(study_of, shared):
    design = documents_of(4)
    five, others = design.slice(0, 125), design.slice(25 * (5 - shared), 125)
    named = {"a": five, "b": others}.items()
    table = pairs_of(*(study_of(*each, covariance="nonrobust") for each in named))
    assert (table["documents"] == shared).all()
    assert (table["layers_compared"] == 0).all()
    assert table["median_difference"].isna().all()
    assert (table[["median_a", "median_b"]].isna() == (shared == 0)).all(axis=None)
    assert "differ by more" not in findings_of(table)
    assert f"not compared over {shared} documents" in findings_of(table)


def test_models_are_compared_in_pairs_within_a_corpus_and_site(study_of):
    seeds = {"a": 0, "b": 1, "twin": 0}
    models = {model: documents_of(3, seed) for model, seed in seeds.items()}
    scopes = [*product(("novels", "prompts"), ("attention", "mlp"))]
    studies = [study_of(*model, *scope) for model, scope in product(models.items(), scopes)]
    table = pairs_of(*studies)
    found = table.groupby(["model_a", "model_b", "corpus", "site"]).size()
    pairs = product((("a", "b"), ("a", "twin"), ("b", "twin")), scopes)
    assert sorted(found.index) == [(*pair, *scope) for pair, scope in pairs]
    assert (found == 2).all()
    twins = table.query("model_a == 'a' and model_b == 'twin'")
    assert (twins[["layers_differing", "median_difference"]] == 0).all(axis=None)
    assert (twins["layers_alike"] == 3).all()
    # A pair does not depend on what else is compared.
    alone = pairs_of(studies[0], studies[4])
    of_pair = "model_a == 'a' and model_b == 'b' and corpus == 'novels' and site == 'attention'"
    pd.testing.assert_frame_equal(table.query(of_pair).reset_index(drop=True), alone)
    # The corpora and sites of one model are no pairs.
    none = pairs_of(*studies[:4])
    assert none.empty
    assert list(none.columns) == list(comparison.PAIR_COLUMNS)
    assert "no pairs" in findings_of(none)


def test_the_table_of_all_studies_states_depth(study_of):
    depths = {"a": [0, 0.5, 1], "deep": [0, 0.25, 0.5, 0.75, 1], "single": [0]}
    studies = [study_of(name, documents_of(len(of))) for name, of in depths.items()]
    table = comparison.combined_coefficients(studies)
    assert len(table) == 3 * (3 + 5 + 1)
    found = table[table["term"] == "lag_1"].groupby("model", sort=False)["depth"].agg(list)
    assert found.to_dict() == depths
    own = table[table["model"] == "a"].drop(columns="depth")
    pd.testing.assert_frame_equal(own, studies[0].coefficients, check_dtype=False)


def test_findings_have_a_line_for_each_pair(study_of):
    design = documents_of(6)
    table = pairs_of(study_of("a", design), study_of("b", steeper(design, 0.3, 4)), alpha=0.1)
    lines = findings_of(table).splitlines()
    assert lines[0] == "comparison of models over relative depth, notebook:"
    assert lines[1] == (
        "  lag 1, attention, prompts: median 0.34 in a, 0.54 in b; layers shown to differ by more "
        "than 0.05: 4 of 6, by less: 2; difference in the median layer: −0.30; documents that one "
        "model lacks: 0"
    )
    assert len(lines) == 3


def test_regressions_with_different_settings_are_not_compared(study_of):
    a = study_of("a", documents_of(3))
    b = study_of("b", documents_of(3), alpha=0.01, adjust="none")
    first, _ = refused(comparison.common_inference, [a, b])
    assert first == (
        "b, prompts: found alpha 0.01, expected 0.05 as in a, prompts; fit the regressions with "
        "equal settings"
    )
    # Few documents have another covariance.
    few = study_of("few", documents_of(3), covariance="cluster-crv1")
    assert comparison.common_inference([a, few])["covariance"] == "cluster"


DOCUMENTS, LAYERS = 40, 6


def verdicts_of(model, means, seed=0, before=NONE, permuted=0.0, bias=0.0):
    """Return the verdicts on lags 1 and 2 with these means, and the values of the documents.

    The ``bias`` is that of estimates without a correction.
    """
    random = np.random.default_rng(seed)
    values = means + 0.2 * random.normal(size=(DOCUMENTS, *np.shape(means)))
    profile = profile_of_documents(values, ["lag_1", "lag_2"])
    uncorrected = profile_of_documents(values + bias, ["lag_1", "lag_2"])
    controls = pd.DataFrame({"layer": range(LAYERS), "term": "lag_1", "permuted_mean": permuted})
    keys = dict(zip(STUDY_KEYS, (model, "prompts", "attention", "within"), strict=True))
    shared = (profile, uncorrected, controls, before, Errors())
    return replication.claims_of_study(keys, *shared), values


def test_a_claim_is_a_t_test_of_the_means_of_documents(subtests):
    means = np.full((LAYERS, 2), 0.1)
    means[3:, 0] += 0.2
    table, lags = verdicts_of("one", means)
    table = table.set_index("claim")
    for claim, values in {
        replication.POSITIVE: lags[:, :, 0].mean(axis=1),
        replication.ABOVE_BOUND: lags[:, :, 0].mean(axis=1) - 0.05,
        replication.ABOVE_LAG_2: (lags[:, :, 0] - lags[:, :, 1]).mean(axis=1),
        replication.DEEPER: (lags[:, 3:, 0].mean(axis=1) - lags[:, :3, 0].mean(axis=1)),
    }.items():
        with subtests.test(claim=claim):
            low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
            row = table.loc[claim]
            assert (row["value"], row["conf_low"]) == pytest.approx((values.mean(), low))
            assert (row["conf_high"], row["verdict"]) == (pytest.approx(high), "holds")
    # A control without numbers says nothing.
    alone = verdicts_of("one", means, permuted=np.nan)[0]["claim"]
    assert {*table.index} - {*alone} == {replication.ABOVE_RANDOM_ORDER}


@pytest.mark.parametrize(
    ("shift", "verdict"), [(-0.2, "holds"), (0.0, "undecided"), (0.2, "fails")]
)
def test_a_lag_is_compared_with_that_of_tokens_in_random_order_layer_by_layer(shift, verdict):
    means = np.full((LAYERS, 2), 0.1)
    # Neither has a correction for bias.
    permuted = 0.1 + shift + np.linspace(-0.05, 0.05, LAYERS) - 0.01
    table, lags = verdicts_of("one", means, permuted=permuted, bias=-0.01)
    row = table.set_index("claim").loc[replication.ABOVE_RANDOM_ORDER]
    values = (lags[:, :, 0] - 0.01 - permuted).mean(axis=1)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row["value"], row["std_error"]) == pytest.approx((values.mean(), stats.sem(values)))
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((low, high))
    assert row["verdict"] == verdict


ABOVE = "above the model's own"


def before(*intervals):
    """Return the differences before minus after training at some scales, which may be left out."""
    scales = [(*interval, "")[:3] for interval in intervals]
    table = pd.DataFrame(scales, columns=["conf_low", "conf_high", "left_out"])
    middle = (table["conf_low"] + table["conf_high"]) / 2
    above = table["left_out"] == ABOVE
    table["left_out"] = table["left_out"].where(~above, "")
    return table.assign(quantity="lag_1", std_error=0.1, difference=middle, above_own=above)


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        (((0.1, 0.3), (0.9, 1.3)), "holds"),
        (((0.1, 0.3), (np.nan, np.nan, "the same as own")), "holds"),
        # What is clear at one scale is not at another.
        (((-0.01, 0.3), (0.9, 1.3)), "undecided"),
        (((-0.3, -0.1), (0.9, 1.3)), "fails"),
        (((np.nan, np.nan), (0.9, 1.3)), None),
        # At larger weights no lag is left.
        (((0.1, 0.3), (-0.3, -0.1, ABOVE)), "holds"),
        (((-0.3, -0.1, ABOVE),), None),
    ],
)
def test_the_claim_about_training_is_one_about_every_scale_up_to_the_models_own(intervals, verdict):
    table, _ = verdicts_of("one", np.full((LAYERS, 2), 0.1), before=before(*intervals))
    rows = table[table["claim"] == replication.TRAINING]
    assert rows["verdict"].tolist() == ([verdict] if verdict else [])
    if verdict:
        assert (rows["conf_low"].item(), rows["conf_high"].item()) == intervals[0][:2]


def test_the_sentences_say_what_holds_in_every_model_in_some_and_in_none():
    rising, falling = np.full((2, LAYERS, 2), 0.2)
    rising[:, 1] = falling[:, 1] = 0.6
    rising[3:, 0] += 0.3
    falling[3:, 0] -= 0.3
    control = before((0.1, 0.3))
    tables = [
        verdicts_of(name, means, seed, control)[0]
        for seed, (name, means) in enumerate((("one", rising), ("two", falling)))
    ]
    # The norms of an untrained model may not vary: there is nothing to compare with.
    tables[1] = tables[1][tables[1]["claim"] != replication.TRAINING]
    held = pd.concat(tables, ignore_index=True)
    rows = {row.subject: row for row in replicated(held)}
    deeper = rows[replication.DEEPER]
    assert (deeper.layers, deeper.above, deeper.below) == (2, 1, 1)
    assert wording.text(deeper, "finding").startswith(
        "lag 1 is larger in the deeper half of the layers: holds in 1 of 2, fails in 1, undecided "
        "in 0 (one, "
    )
    assert rows[replication.TRAINING].layers == 1
    smaller = rows[replication.ABOVE_LAG_2]
    assert (smaller.above, smaller.baseline) == (0, "none")
    # Verdicts on models that were not compared are controls.
    settings = {"alpha": 0.05, "equivalence_bound": 0.05}
    of_one = claims_of_comparison(pd.DataFrame(), held, ["one"], settings)
    assert set(of_one["model"]) == {"one"}
    assert set(tables[1].query("claim.str.contains('deeper')")["verdict"]) == {"fails"}
