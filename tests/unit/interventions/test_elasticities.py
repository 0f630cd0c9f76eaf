"""Tables of effects whose truth is known, and of predictions, which statsmodels makes anew."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import effects_table, norms_table
from oracles import cr2, mean_of, multipletests, ols
from scipy import stats

from attnlag.claims import causes
from attnlag.interventions import (
    cross_layer,
    effect_tables,
    elasticities,
    finite_effects,
    prediction_vs_effect,
)
from attnlag.interventions.edits import Effect
from attnlag.interventions.effects import EFFECTS_SCHEMA, table
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.report.causal import causal_findings
from attnlag.storage import tables

SETTINGS = ElasticitiesSettings(
    alpha=0.05, bootstrap=500, seed=0, drop_first=1, equivalence_bound=0.05
)
NO_PREDICTIONS = pd.DataFrame(columns=cross_layer.PREDICTION)
NO_CHANGES = pd.DataFrame(columns=finite_effects.COLUMNS)
NO_TRIALS = pd.DataFrame(columns=[*prediction_vs_effect.TRIAL_KEYS, *prediction_vs_effect.COUNTS])


def test_an_exact_effect_has_no_error():
    effects = [("a", 0, 0, 0, 3, 3 * 0.6), ("a", 0, 1, 0, 3, 0.4)]
    effects += [("b", 0, 0, 0, 5, 5 * 0.6), ("b", 0, 1, 0, 5, 0.1)]
    both = elasticities.table(effects_table(effects), SETTINGS)
    # But for rounding, which is not taken for a difference between documents.
    assert both.loc[0, ["std_error", "conf_low", "conf_high"]].tolist() == [0, 0.6, 0.6]
    # As many tokens in each document, each with an equal part of the effect.
    expected = mean_of([0.4 / 3] * 3 + [0.1 / 5] * 5, np.array(list("aaabbbbb")), 0.05)
    expected["estimate"] = expected.pop("mean")
    assert both.loc[1, list(expected)].to_dict() == pytest.approx(expected)


def lags_of(estimates):
    """Return lag 1 of a regression in the layers from 1 on."""
    layers = range(1, 1 + len(estimates))
    table = pd.DataFrame({"layer": layers, "estimate": estimates, "regression": "within"})
    return table.assign(term="lag_1", std_error=0.01, conf_low=0.1, conf_high=1)


def test_the_sum_over_sources_is_that_of_each_document():
    effects = effects_table(
        [
            *[("a", layer, 2, 1, 10, effect) for layer, effect in ((0, 1.0), (1, 2.0), (2, 0.0))],
            *[("b", layer, 2, 1, 30, effect) for layer, effect in ((0, 0.5), (1, -0.5), (2, 0.0))],
            *[("a", 0, 1, 1, 10, 0.3), ("b", 0, 1, 1, 30, 0.5)],
            *[("a", 2, 2, 0, 10, 10.0), ("b", 2, 2, 0, 30, 30.0)],
        ]
    )
    found = elasticities.over_sources(effects, SETTINGS).set_index("target_layer")
    assert found.loc[2, "estimate"] == pytest.approx(3 / 40)
    assert found.loc[1, "estimate"] == pytest.approx(0.8 / 40)
    # 3/10 and 0 per token: not the sum of the errors of the single sources.
    alone = effects_table([("a", 0, 2, 1, 10, 3.0), ("b", 0, 2, 1, 30, 0.0)])
    expected = elasticities.table(alone, SETTINGS)
    assert found.loc[2, "std_error"] == pytest.approx(expected.loc[0, "std_error"])

    coefficients = lags_of([0.4, 0.6])
    predicted = pd.DataFrame(
        [("attention", "attention", 1, 1, 0.1, 0.02, 4.0)], columns=cross_layer.PREDICTION
    )
    given = found.reset_index(), predicted, {"attention": coefficients}
    table = elasticities.beside_predictions(*given, 0.05).set_index("target_layer")
    assert table["coefficient"].to_dict() == {1: 0.4, 2: 0.6}
    assert table["share"].to_dict() == pytest.approx({1: 0.8 / 40 / 0.4, 2: 3 / 40 / 0.6})
    # The relative errors add up, on the t distribution of two documents.
    errors = expected.loc[0, "std_error"] / (3 / 40), 0.01 / 0.6
    reach = 12.7062047 * table.loc[2, "share"] * np.hypot(*errors)
    share, low, high = table.loc[2, ["share", "share_low", "share_high"]]
    assert (high - share, share - low) == pytest.approx((reach, reach))
    # t with 4 degrees of freedom has its 97.5th percentile at 2.776.
    assert table.loc[1, "predicted_conf_low"] == pytest.approx(0.1 - 2.776445 * 0.02)
    assert np.isnan(table.loc[2, "predicted_conf_low"])
    text = "\n".join(causal_findings(table.reset_index(), NO_TRIALS, NO_CHANGES, 0.05))
    assert "1% longer in all earlier layers changes the next by 0.02% (" in text
    assert "together, in the same tokens, predicts 0.10% (0.04 to 0.16) in layer 1" in text
    assert "lag 1 of these layers themselves is 0.40, 0.60 in within" in text
    assert "the effects of all earlier layers together are 0.05 (" in text
    # No share of a coefficient that may be zero.
    none = {"attention": coefficients.assign(conf_low=-0.1)}
    assert elasticities.beside_predictions(*given[:2], none, 0.05)["share"].isna().all()
    alone = elasticities.beside_predictions(given[0], NO_PREDICTIONS, {}, 0.05)
    told = ["regression", "coefficient", "share", "share_low", "share_high", "predicted"]
    assert alone[told].isna().all(axis=None)


def test_the_effect_of_a_multiple_becomes_an_arc_elasticity():
    """Effects on norms do, on the first layer's too; the change of a prediction stays as it is."""
    place = "attention", 0, "attention", 0
    changed = []
    for name, factor in (("halve", 0.5), ("double", 2.0), ("small", 1.02)):
        changed.append(Effect(*place, name, np.array([np.log(factor) * 0.3])))
    changed += [
        Effect("attention", 0, "surprisal", None, "halve", np.array([0.1, np.nan])),
        Effect(*place, "zero", np.array([np.nan])),
    ]
    other = [one._replace(effects=one.effects * 1.1) for one in changed]
    rows = table([(("a", 0), changed), (("b", 0), other)], 1)
    assert rows.schema == EFFECTS_SCHEMA
    found = elasticities.table(rows.to_pandas(), SETTINGS)
    norms = found[found["target_site"] == "attention"]
    assert norms["estimate"].tolist() == pytest.approx([0.315] * 3)
    # About their mean, 0.3 and 0.33 of one token each.
    assert norms["std_error"].tolist() == pytest.approx([0.015] * 3)
    assert (norms["conf_low"] < norms["conf_high"]).all()
    words = found[found["target_site"] == "surprisal"]
    assert words["estimate"].tolist() == pytest.approx([0.105])
    assert words["target_layer"].isna().all()


def test_elasticities_are_compared_with_the_regression_of_their_own_sites():
    effects = [("a", 0, 1, 1, 10, 0.3), ("b", 0, 1, 1, 30, 0.5), ("a", 0, 1, 2, 9, 0.1)]
    whole = [
        effects_table(effects),
        effects_table(effects[:1]).assign(target_site="mlp"),
        effects_table([("a", 0, 1, 1, 10, 0.2)]).assign(intervention="zero"),
    ]
    whole = elasticities.table(pd.concat(whole), SETTINGS)
    partners = {
        ("attention", target): pd.DataFrame(
            [(0, 1, lag, *(np.arange(4.0) + lag + start)) for lag in (1, 2)],
            columns=["source_layer", "target_layer", "lag", *elasticities.PREDICTIVE],
        ).assign(predictive_df=9)
        for target, start in (("attention", 0.0), ("mlp", 100.0))
    }
    assert whole["estimate"].tolist() == pytest.approx([0.8 / 40, 0.1 / 9, 0.3 / 10, 0.2 / 10])
    found = elasticities.with_predictive(whole, partners)
    found = found.set_index(["target_site", "intervention", "lag"])[elasticities.PREDICTIVE]
    assert found.loc[("attention", "derivative", 1)].tolist() == [1, 2, 3, 4]
    assert found.loc[("attention", "derivative", 2)].tolist() == [2, 3, 4, 5]
    assert found.loc[("mlp", "derivative", 1)].tolist() == [101, 102, 103, 104]
    # Finite interventions have no such partner, and without any there is none.
    assert found.loc[("attention", "zero", 1)].isna().all()
    alone = elasticities.with_predictive(whole, {})
    assert alone[elasticities.PREDICTIVE].isna().all(axis=None)
    assert len(alone) == len(whole) == 4


def test_finite_changes_are_averaged_over_later_layers_and_compared_with_small_ones():
    """By the mean of the tokens' effects, and by a regression of the one change on the other."""
    random = np.random.default_rng(3)
    small = random.normal(0, 0.1, (9, 3))
    zero = random.normal(0, 0.1, (9, 3))
    # The effect on one layer is clear, and another's would be without Holm's correction.
    zero[:, 2] += 0.5
    apart = zero[:, 1] - zero[:, 1].mean()
    zero[:, 1] = apart + stats.t.isf(0.015, 8) * stats.sem(apart)
    changes = {"zero": zero, "small": small * np.log(1.02)}
    changes["halve"] = 0.7 * small * np.log(0.5) + random.normal(0, 0.01, (9, 3))
    sequences = []
    for document in range(9):
        effects = []
        for name, values in changes.items():
            for layer, value in enumerate([9.0, *values[document]], start=5):
                place = "attention", 5, "attention", layer
                effects.append(Effect(*place, name, np.array([np.nan, value])))
        sequences.append(((f"d{document}", 0), effects))
    rows = table(sequences, 1).to_pandas()
    whole = elasticities.table(rows, SETTINGS)
    found = finite_effects.finite_effects(rows, whole, SETTINGS).set_index("intervention")
    assert (found["lag"] == 1).all()
    assert (found["layers"] == 3).all()
    assert (found["documents"] == 9).all()
    assert (found["positions"] == 9).all()
    means = zero.mean(axis=1)
    margin = stats.t.isf(0.025, 8) * stats.sem(means)
    expected = [means.mean(), means.mean() - margin, means.mean() + margin]
    assert found.loc["zero", ["estimate", "conf_low", "conf_high"]].tolist() == pytest.approx(
        expected
    )
    p = stats.ttest_1samp(zero, 0).pvalue
    assert (p < 0.05).sum() == 2
    assert found.loc["zero", "clear"] == multipletests(p, method="holm")[0].sum() == 1
    arc = changes["halve"] / np.log(0.5)
    assert found.loc["halve", "ratio"] == pytest.approx((arc * small).sum() / (small**2).sum())
    assert found.loc["halve", "ratio_low"] < 0.7 < found.loc["halve", "ratio_high"]
    assert found.loc[["zero", "small"], "ratio"].isna().all()
    assert causes.of_removal(found.reset_index()).verdict == "longer"
    assert causes.of_proportion(found.reset_index(), "halve").verdict == "differs"


@pytest.mark.parametrize("documents", [0, 1])
def test_one_document_or_none_gives_no_interval_and_no_error(documents):
    """The findings are still a sentence."""
    changed = [Effect("attention", 0, "attention", 1, "zero", np.array([0.1, 0.2]))]
    for layer, sums in enumerate(([0.3, 0.2], [9.0, 0.0])):
        place = "attention", layer, "attention", 1, "derivative"
        changed.append(Effect(*place, np.array(sums), positions=np.array([9, 8])))
    rows = table([(("a", 0), changed)][:documents], 1).to_pandas()
    found = elasticities.table(rows, SETTINGS)
    assert found["std_error"].isna().tolist() == [True] * 6 * documents
    summed = elasticities.over_sources(rows, SETTINGS)
    lags = {"attention": lags_of([0.4])}
    beside = elasticities.beside_predictions(summed, NO_PREDICTIONS, lags, 0.05)
    assert len(beside) == documents
    line, *_ = causal_findings(beside, NO_TRIALS, NO_CHANGES, 0.05)
    told = "changes the next by 0.03% in layer 1; 1 document"
    assert line.endswith(told if documents else "no document has a token with a previous one")


# Predictions across layers.

LAYERS, LAGS = 3, 2


@pytest.fixture(scope="module")
def documents():
    """Log norms of six documents in windows of unequal lengths, related to those before."""
    rng = np.random.default_rng(4)
    found = []
    for size in (30, 12, 50, 2, 21, 40):
        noise = rng.normal(size=(LAYERS, size)) + rng.normal(size=(LAYERS, 1))
        noise[1:, 1:] += 0.6 * noise[:-1, :-1]
        found.append(np.split(noise + 5, [size // 3], axis=1))
    # A norm of zero: its rows are left out.
    found[0][1][1, 4] = np.nan
    return found


def rows_of(documents):
    """Return log norms by document, window and token, a column for each layer, and their shift."""
    windows = {
        (d, w): pd.DataFrame(a.T) for d, ws in enumerate(documents) for w, a in enumerate(ws)
    }
    rows = pd.concat(windows, names=["document", "window"])
    return rows, rows.groupby(["document", "window"]).shift


def found_in(documents, targets, lags=LAGS):
    return cross_layer.cross_layer(lambda: (("", d, d) for d in documents), targets, lags)


def test_coefficients_and_errors_equal_those_of_statsmodels(documents):
    rows, shifted = rows_of(documents)
    usable = pd.concat([shifted(lag) for lag in range(LAGS + 1)], axis=1).notna().all(axis=1)
    table = found_in(documents, [0, 2]).set_index(["target_layer", "source_layer", "lag"])
    for (target, source, lag), row in table.iterrows():
        both = {"x": shifted(lag)[source], "own": rows[source]}
        x, y = pd.DataFrame(both)[usable], rows.loc[usable, target]
        for name, terms in (("predictive", ["x"]), ("predictive_given", ["x", "own"])):
            if (lag == 0 and name == "predictive_given") or (target == source and lag == 0):
                continue
            fit = sm.OLS(y, sm.add_constant(x[terms])).fit()
            assert row[name] == pytest.approx(fit.params["x"], rel=1e-9)
            v, _ = cr2(fit.model.endog, fit.model.exog, y.index.get_level_values("document"))
            assert row[f"{name}_std_error"] == pytest.approx(np.sqrt(v[1, 1]), rel=1e-9)
    assert np.isnan(table.loc[(2, 0, 0), "predictive_given"])
    assert table.loc[(2, 2, 0), "predictive"] == pytest.approx(1)
    # The shortest document gives no row.
    assert (table["predictive_df"] == 4).all()


def test_the_norms_are_read_from_the_files_of_all_shards(documents, tmp_path):
    paths = [tmp_path / name for name in ("0000.parquet", "0001.parquet")]
    for path, part in zip(paths, (documents[:2], documents[2:]), strict=True):
        # The first token of each sequence is dropped.
        sequences = {
            (f"{path.stem} {number}", window): np.pad(logs, [(0, 0), (1, 0)])
            for number, windows in enumerate(part)
            for window, logs in enumerate(windows)
        }
        lengths = {sequence: logs.shape[1] for sequence, logs in sequences.items()}
        norms = np.nan_to_num(np.exp(np.hstack(list(sequences.values()))))
        record = {"stages": {"tokens": {"shards": 2}}}
        tables.write_table(norms_table(lengths, norms), path, record)
    read = partial(cross_layer.pairs_in, {"attention": paths}, "attention", "attention", 1)
    found = cross_layer.cross_layer(read, [2], LAGS)
    pd.testing.assert_frame_equal(found, found_in(documents, [2]), rtol=1e-4, atol=1e-12)
    # Of 15 tokens of a document, 11 are of its first window; one of each window is dropped.
    for tokens, lengths in ((15, [10, 3]), (5, [4])):
        _, windows = next(cross_layer.documents_in(paths, 1, tokens))
        for part, whole, used in zip(windows, documents[0][: len(lengths)], lengths, strict=True):
            np.testing.assert_allclose(part, whole[:, :used], rtol=1e-4)
    # Effects in all documents are predicted by their first tokens; those in five, by too few.
    names = [name for name, _ in cross_layer.documents_in(paths, 1)]
    predicted = []
    for used in (names, names[1:]):
        rows = [(name, source, 2, 1, 5, 0.1) for name in used for source in (0, 1)]
        effects = effects_table(rows)
        made = effect_tables.tables_of(effects, 15, {"attention": paths}, {}, SETTINGS)
        predicted += made["total_effects"]["predicted"].tolist()
    beginnings = [(windows, windows) for _, windows in cross_layer.documents_in(paths, 1, 15)]
    expected = cross_layer.together(beginnings, 2, 1)[0]
    assert np.isfinite(expected)
    assert predicted == pytest.approx([expected, np.nan], nan_ok=True)


def test_all_layers_before_a_target_predict_it_together():
    """The sum of their coefficients, its CR2 error and degrees of freedom, by direct matrices."""
    rng = np.random.default_rng(1)
    documents = [[rng.normal(size=(4, size)) + rng.normal()] for size in (12, 20, 9, 30, 16, 25, 8)]
    documents[3] = np.split(documents[3][0], [11], axis=1)
    documents[1][0][2, 5] = np.nan
    rows, shifted = rows_of(documents)
    both = shifted(2)[[0, 1, 2]].assign(y=rows[3]).dropna()
    within = (both - both.groupby("document").transform("mean")).to_numpy()
    x, y = within[:, :3], within[:, 3]
    covariance, (df,) = cr2(y, x, both.index.get_level_values("document"), [np.ones(3)])
    expected = ols(y, x).sum(), np.sqrt(covariance.sum()), df
    found = cross_layer.together(((d, d) for d in documents), 3, 2)
    assert found == pytest.approx(expected, rel=1e-10)
    # No layer comes before the first, and few documents have no error.
    for pairs, target in ((documents, 0), (documents[:5], 3)):
        assert np.isnan(cross_layer.together(((d, d) for d in pairs), target, 2)).all()
    # Windows that are shorter than the lag give no rows.
    short = [[window[:, :2] for window in windows] for windows in documents]
    assert np.isnan(cross_layer.together(((d, d) for d in short), 3, 3)).all()


def test_what_does_not_vary_predicts_nothing_and_what_is_too_short_gives_no_rows():
    rng = np.random.default_rng(0)
    documents = [[np.stack([np.full(20, 2.0), rng.normal(size=20)])] for _ in range(3)]
    assert found_in(documents, [1], 1)["predictive"].isna().tolist() == [True, True, False, False]
    assert found_in([[np.ones((2, 2))]], [1], 4).empty


# Predictions beside effects.

PAIR = ("attention", "attention")
TARGET = 60


def effects_of(values):
    """Return sums of documents of 40 tokens each, given effects (documents, sources)."""
    return effects_table(
        (f"d{document}", source, TARGET, 1, 40, 40 * effect)
        for (document, source), effect in np.ndenumerate(values)
    )


def beside_predictions(effects, coefficients, target=TARGET):
    """Return elasticities beside a regression whose coefficients at lag 1 are given, by source."""
    columns = dict.fromkeys(elasticities.PREDICTIVE, np.nan)
    columns |= {"predictive": coefficients, "predictive_std_error": 0.01}
    sources = range(len(coefficients))
    prediction = pd.DataFrame({"source_layer": sources, "target_layer": target, "lag": 1} | columns)
    table = elasticities.table(effects, SETTINGS)
    return elasticities.with_predictive(table, {PAIR: prediction.assign(predictive_df=99)})


def test_counts_are_those_by_hand_after_holms_correction():
    random = np.random.default_rng(1)
    means = np.array([0.3, -0.2, 0.02, 0.0, 0.1, 0.0])
    values = means + random.normal(0, 0.01, (12, 6))
    # One effect is clear by itself and not after the correction.
    apart = values[:, 5] - values[:, 5].mean()
    values[:, 5] = apart + stats.t.isf(0.02, 11) * stats.sem(apart)
    coefficients = np.array([0.5, 0.3, -0.2, 0.4, 0.25, 0.001])
    rows = effects_of(values)
    table = beside_predictions(rows, coefficients)
    found = prediction_vs_effect.of_pairs(rows, table, SETTINGS)
    row = found.set_index("prediction").loc["alone"]
    p = stats.ttest_1samp(values, 0).pvalue
    clear = multipletests(p, method="holm")[0]
    assert (p < 0.05).sum() == clear.sum() + 1 == 5
    same = np.sign(values.mean(axis=0)) == np.sign(coefficients)
    assert (row["pairs"], row["clear"]) == (6, 4)
    assert row["same_sign"] == (clear & same).sum() == 2
    # Three of four coefficients are positive, and so are three of four effects.
    assert row["by_chance"] == pytest.approx(4 * (9 / 16 + 1 / 16))
    sizes = stats.spearmanr(np.abs(table["estimate"]), np.abs(coefficients)).statistic
    assert row["rank_correlation"] == pytest.approx(sizes)
    # All but the last coefficient exceed their interval.
    assert row["significant"] == 5


def test_pairs_of_layers_are_those_whose_target_comes_later():
    values = np.random.default_rng(0).normal(0.1, 0.05, (12, 5))
    rows = effects_of(values).assign(target_layer=3)
    table = beside_predictions(rows, np.full(5, 0.2), target=3)
    found = prediction_vs_effect.of_pairs(rows, table, SETTINGS)
    assert found["pairs"].tolist() == [3]


def test_a_layer_has_no_effect_on_itself():
    table = pd.DataFrame(
        {"layer": [0, 1, 2], "term": "lag_1", "p_adjusted": [0.001, 0.2, 0.03], "subset": "all"}
    )
    row = prediction_vs_effect.of_the_same_layer({"attention": table}, 0.05).iloc[0]
    assert (row["prediction"], row["pairs"]) == ("same layer", 3)
    assert row["significant"] == 2
