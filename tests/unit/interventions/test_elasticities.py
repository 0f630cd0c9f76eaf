"""Tables of effects whose truth is known, and of predictions, which statsmodels makes anew."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from designs import design_table, effects_table
from oracles import cr2, mean_of, multipletests, ols
from scipy import stats

from attnlag import wording
from attnlag.claims import causes
from attnlag.interventions import (
    cross_layer,
    effect_tables,
    elasticities,
    finite_effects,
    prediction_vs_effect,
)
from attnlag.interventions.edits import Effect
from attnlag.interventions.effects import EFFECTS_SCHEMA, effects_by_document
from attnlag.regression.settings import ElasticitiesSettings

SETTINGS = ElasticitiesSettings(alpha=0.05)
NO_PREDICTIONS = pd.DataFrame(columns=cross_layer.PREDICTION)


def said_of(table):
    """Return what is said of the effects of a site on itself."""
    nothing = pd.DataFrame()
    rows = causes.on_the_next_token(
        *(table, nothing, nothing, nothing),
        source="attention",
        target="attention",
        texts=99,
    )
    return wording.texts([*rows], "finding")


def test_an_exact_effect_has_no_error():
    effects = [("a", 0, 0, 0, 3, 3 * 0.6), ("a", 0, 1, 0, 3, 0.4)]
    effects += [("b", 0, 0, 0, 5, 5 * 0.6), ("b", 0, 1, 0, 5, 0.1)]
    both = elasticities.elasticities_table(effects_table(effects), SETTINGS)
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
    expected = elasticities.elasticities_table(alone, SETTINGS)
    assert found.loc[2, "std_error"] == pytest.approx(expected.loc[0, "std_error"])

    coefficients = lags_of([0.4, 0.6])
    predicted = pd.DataFrame(
        [("attention", "attention", 2, 1, 0.4, 0.02, 4.0, 90)], columns=cross_layer.PREDICTION
    )
    # Documents of 10 and 30 tokens are as informative as 1.6 of equal size: so few tell no share.
    assert found.loc[2, "df"] == pytest.approx(0.6)
    few = elasticities.beside_predictions(found.reset_index(), predicted, {}, 0.05)
    assert few["share_low"].isna().all()
    given = found.reset_index().assign(df=9.0), predicted, {"attention": coefficients}
    table = elasticities.beside_predictions(*given, 0.05).set_index("target_layer")
    assert table["coefficient"].to_dict() == {1: 0.4, 2: 0.6}
    assert table["share"].to_dict() == pytest.approx({1: np.nan, 2: 3 / 40 / 0.4}, nan_ok=True)
    assert table.loc[2, "share_low"] < 3 / 40 / 0.4 < table.loc[2, "share_high"]
    # t with 4 degrees of freedom has its 97.5th percentile at 2.776.
    assert table.loc[2, "predicted_conf_low"] == pytest.approx(0.4 - 2.776445 * 0.02)
    assert np.isnan(table.loc[1, "predicted_conf_low"])
    text = "; ".join(said_of(table.reset_index()))
    assert "1% larger in all earlier layers changes the next by 0.02% (" in text
    assert "these layers, over all documents, predicts 0.40% (0.34 to 0.46)" in text
    assert "effect / prediction: 0.19 (" in text
    assert "its own lag 1: 0.60" in text
    # Without predictions there is no share.
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
    rows = effects_by_document([(("a", 0), changed), (("b", 0), other)], 1)
    assert rows.schema == EFFECTS_SCHEMA
    found = elasticities.elasticities_table(rows.to_pandas(), SETTINGS)
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
    whole = elasticities.elasticities_table(pd.concat(whole), SETTINGS)
    columns = cross_layer.PREDICTIVE_COLUMNS
    partners = []
    for target, start in (("attention", 0.0), ("mlp", 100.0)):
        for lag in (1, 2):
            row = ("attention", target, 0, 1, lag, *(np.arange(5.0) + lag + start))
            partners.append(row)
    partners = pd.DataFrame(partners, columns=[*cross_layer.PAIR_KEYS, *columns])
    assert whole["estimate"].tolist() == pytest.approx([0.8 / 40, 0.1 / 9, 0.3 / 10, 0.2 / 10])
    found = elasticities.with_predictive(whole, partners)
    found = found.set_index(["target_site", "intervention", "lag"])[columns]
    assert found.loc[("attention", "derivative", 1)].tolist() == [1, 2, 3, 4, 5]
    assert found.loc[("attention", "derivative", 2)].tolist() == [2, 3, 4, 5, 6]
    assert found.loc[("mlp", "derivative", 1)].tolist() == [101, 102, 103, 104, 105]
    # Finite interventions have no such partner, and without any there is none.
    assert found.loc[("attention", "zero", 1)].isna().all()
    alone = elasticities.with_predictive(whole, partners[:0])
    assert alone[columns].isna().all(axis=None)
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
    rows = effects_by_document(sequences, 1).to_pandas()
    found = finite_effects.finite_effects(rows, SETTINGS).set_index("intervention")
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
    assert causes.removal(found.reset_index()).verdict == "above"
    assert causes.proportion(found.reset_index(), "halve").verdict == "below"


@pytest.mark.parametrize("documents", [0, 1])
def test_one_document_or_none_gives_no_interval_and_no_error(documents):
    """The findings are still a sentence."""
    changed = [Effect("attention", 0, "attention", 1, "zero", np.array([0.1, 0.2]))]
    for layer, sums in enumerate(([0.3, 0.2], [9.0, 0.0])):
        place = "attention", layer, "attention", 1, "derivative"
        changed.append(Effect(*place, np.array(sums), positions=np.array([9, 8])))
    rows = effects_by_document([(("a", 0), changed)][:documents], 1).to_pandas()
    found = elasticities.elasticities_table(rows, SETTINGS)
    assert found["std_error"].isna().tolist() == [True] * 6 * documents
    summed = elasticities.over_sources(rows, SETTINGS)
    lags = {"attention": lags_of([0.4])}
    beside = elasticities.beside_predictions(summed, NO_PREDICTIONS, lags, 0.05)
    assert len(beside) == documents
    line, *_ = said_of(beside)
    told = "1% larger in all earlier layers changes the next by 0.03% (no interval)"
    assert (told if documents else "no document has a token with a previous one") in line


# Predictions across layers.

LENGTHS = (30, 12, 50, 9, 21, 40, 33, 25)
SOURCES = (0, 1)


@pytest.fixture(scope="module")
def design():
    """Return a design of three layers, and the frame of it without incomplete rows."""
    table = design_table(LENGTHS, layers=3, seed=4, missing=0.05)
    position = np.concatenate([np.log1p(np.arange(length)) for length in LENGTHS])
    return table.append_column("position_1", pa.array(position))


@pytest.fixture(scope="module")
def designs(design, tmp_path_factory):
    """Return the design in the files of two shards."""
    folder = tmp_path_factory.mktemp("design")
    paths = [folder / "0000.parquet", folder / "0001.parquet"]
    half = sum(LENGTHS[:4])
    pq.write_table(design.slice(0, half), paths[0])
    pq.write_table(design.slice(half), paths[1])
    return paths


def fitted_by_matrices(design, y, x, fixed_effects):
    """Return coefficients, and the covariance and degrees of freedom of the first two and sums."""
    frame = design.to_pandas()
    rows = frame[["document", y, *x]].dropna()
    values = rows[[y, *x]]
    if fixed_effects == "document":
        values = values - values.groupby(rows["document"], observed=True).transform("mean")
    else:
        values = values.assign(one=1.0)
    values = values.to_numpy()
    return values[:, 0], values[:, 1:], rows["document"].cat.codes.to_numpy()


@pytest.mark.parametrize("fixed_effects", ["document", "none"])
def test_layers_predict_later_ones_as_statsmodels_and_plain_matrices_say(
    design, designs, fixed_effects
):
    both = cross_layer.Designs(designs, designs, fixed_effects)
    table = cross_layer.single_predictions(both, [1, 2])
    keys = ["source_layer", "target_layer", "lag"]
    assert set(table[keys].itertuples(index=False, name=None)) == {
        (source, target, lag) for source, target in ((0, 1), (0, 2), (1, 2)) for lag in (1, 2)
    }
    for row in table.itertuples():
        # Rows are those with the outcomes of all later targets.
        later = [f"layer_0{m}.y" for m in (1, 2) if m > row.source_layer]
        name, own = (f"layer_0{row.source_layer}.{term}" for term in (f"lag_{row.lag}", "y"))
        complete = design.to_pandas().dropna(subset=[*later, own])
        part = pa.Table.from_pandas(complete, preserve_index=False)
        y = f"layer_0{row.target_layer}.y"
        for x, found in (
            ([name, "position_1"], row[4:7]),
            ([name, "position_1", own], row[7:9]),
        ):
            values = fitted_by_matrices(part, y, x, fixed_effects)
            covariance, (df,) = cr2(*values, [np.eye(values[1].shape[1])[0]])
            expected = sm.OLS(values[0], values[1]).fit().params[0], np.sqrt(covariance[0, 0]), df
            assert found == pytest.approx(expected[: len(found)], rel=1e-8)


def test_all_layers_before_a_target_predict_it_together(design, designs, subtests):
    """The sum of their coefficients, its CR2 error and degrees of freedom, by direct matrices."""
    found = cross_layer.joint_predictions(cross_layer.Designs(designs, designs, "document"), 2)
    x = [f"layer_0{layer}.lag_{lag}" for lag in (1, 2) for layer in SOURCES]
    values = fitted_by_matrices(design, "layer_02.y", [*x, "position_1"], "document")
    for lag, place in ((1, 0), (2, 2)):
        with subtests.test(lag=lag):
            contrast = np.zeros(5)
            contrast[place : place + 2] = 1
            covariance, (df,) = cr2(*values, [contrast])
            error = np.sqrt(contrast @ covariance @ contrast)
            expected = ols(*values[:2]) @ contrast, error, df, len(LENGTHS)
            assert found[lag] == pytest.approx(expected, rel=1e-8)
    # No layer comes before the first, and few documents have no error.
    both = cross_layer.Designs(designs, designs, "document")
    assert cross_layer.joint_predictions(both, 0) == {}
    few = cross_layer.Designs(designs[:1], designs[:1], "document")
    assert np.isnan(cross_layer.joint_predictions(few, 2)[1][:3]).all()


def test_effects_stand_beside_the_predictions_of_all_documents(designs):
    """Effects are known in two documents, and their predictions in all."""
    rows = [(name, source, 2, 1, 5, 0.1) for name in ("d1", "d6") for source in (0, 1)]
    settings = SETTINGS.changed(regression="within", fixed_effects="document")
    made = effect_tables.tables_of(effects_table(rows), {"attention": designs}, {}, settings)
    expected = cross_layer.joint_predictions(cross_layer.Designs(designs, designs, "document"), 2)[
        1
    ]
    total = made["total_effects"].iloc[0]
    assert total["predicted"] == expected.estimate
    single = made["elasticities"].query("lag == 1")
    assert single["predictive"].notna().all()
    assert (single["predictive_conf_low"] < single["predictive"]).all()
    alone = effect_tables.tables_of(effects_table(rows), {}, {}, SETTINGS)
    assert alone["total_effects"]["predicted"].isna().all()
    assert alone["elasticities"]["predictive"].isna().all()


def estimate(value, error, documents=100):
    return elasticities.Estimate(value, error, 1e9, documents)


def test_the_interval_of_a_share_holds_the_ratios_that_a_test_does_not_reject():
    effect, prediction = estimate(0.05, 0.02), estimate(0.4, 0.03)
    low, high = elasticities.share_interval(effect, prediction, 0.05)
    for ratio in np.linspace(-0.3, 0.6, 91):
        z = (0.05 - ratio * 0.4) / np.hypot(0.02, ratio * 0.03)
        assert (abs(z) <= stats.norm.isf(0.025)) == (low <= ratio <= high)
    # A prediction that may be zero excludes no ratio.
    assert np.isnan(elasticities.share_interval(effect, estimate(0.4, 0.3), 0.05)).all()


@pytest.mark.parametrize(
    ("effect", "prediction"),
    [
        (estimate(0.01, 0.05, 13), estimate(0.4, 0.02, 128)),
        (estimate(0.2, 0.08, 13), estimate(0.3, 0.01, 128)),
        (estimate(-0.06, 0.01, 26), estimate(0.2, 0.09, 128)),
        (estimate(0.01, 0.2, 13), estimate(0.4, 0.3, 128)),
    ],
)
def test_as_many_documents_as_a_decision_takes_decide(effect, prediction):
    """With errors that shrink with the root of their number, and with fewer not."""

    def interval(documents):
        before = max(documents, prediction.documents)
        errors = [effect.std_error * np.sqrt(effect.documents / documents)]
        errors.append(prediction.std_error * np.sqrt(prediction.documents / before))
        return elasticities.share_interval(
            estimate(effect.value, errors[0]), estimate(prediction.value, errors[1]), 0.05
        )

    needed = elasticities.documents_to_decide(effect, prediction, 0.05)
    assert elasticities.decided(*interval(needed))
    assert not elasticities.decided(*interval(needed - 2))


@pytest.mark.parametrize(("spread", "is_decided"), [(0.001, True), (3.0, False)])
def test_documents_are_asked_for_where_these_do_not_decide(spread, is_decided):
    random = np.random.default_rng(3)
    rows = []
    for document in range(12):
        effect = 10 * random.normal(0.39, spread)
        rows.append((f"d{document}", 0, 1, 1, 10, effect))
    summed = elasticities.over_sources(effects_table(rows), SETTINGS)
    predicted = pd.DataFrame(
        [("attention", "attention", 1, 1, 0.4, 0.001, 99.0, 100)], columns=cross_layer.PREDICTION
    )
    lags = {"attention": lags_of([0.4, 0.6])}
    row = elasticities.beside_predictions(summed, predicted, lags, 0.05).iloc[0]
    assert elasticities.decided(row["share_low"], row["share_high"]) == is_decided
    assert np.isnan(row["documents_to_decide"]) == is_decided
    if not is_decided:
        effect = elasticities.Estimate(row["estimate"], row["std_error"], 11, 12)
        prediction = elasticities.Estimate(0.4, 0.001, 99.0, 100)
        needed = elasticities.documents_to_decide(effect, prediction, 0.05)
        assert row["documents_to_decide"] == pytest.approx(needed)
        assert needed > 12


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
    columns = dict.fromkeys(cross_layer.PREDICTIVE_COLUMNS, np.nan)
    columns |= {"predictive": coefficients, "predictive_std_error": 0.01, "predictive_df": 99}
    sources = range(len(coefficients))
    sites = {"source_site": PAIR[0], "target_site": PAIR[1]}
    keys = sites | {"source_layer": sources, "target_layer": target, "lag": 1}
    table = elasticities.elasticities_table(effects, SETTINGS)
    return elasticities.with_predictive(table, pd.DataFrame(keys | columns))


def test_counts_are_those_by_hand_after_holms_correction():
    random = np.random.default_rng(1)
    means = np.array([0.3, -0.2, 0.02, 0.0, 0.1, 0.0])
    values = means + random.normal(0, 0.01, (12, 6))
    # One effect is clear by itself and not after the correction.
    apart = values[:, 5] - values[:, 5].mean()
    values[:, 5] = apart + stats.t.isf(0.02, 11) * stats.sem(apart)
    coefficients = np.array([0.5, -0.3, -0.2, 0.4, 0.25, 0.001])
    rows = effects_of(values)
    table = beside_predictions(rows, coefficients)
    found = prediction_vs_effect.pair_trials(rows, table, SETTINGS)
    row = found.set_index("prediction").loc["alone"]
    p = stats.ttest_1samp(values, 0).pvalue
    clear = multipletests(p, method="holm")[0]
    assert (p < 0.05).sum() == clear.sum() + 1 == 5
    same = np.sign(values.mean(axis=0)) == np.sign(coefficients)
    assert (row["pairs"], row["clear"]) == (6, 4)
    assert row["same_sign"] == (clear & same).sum() == 3
    # Of the four, three effects are positive, and two coefficients.
    assert row["by_chance"] == pytest.approx(4 * (3 / 4 * 2 / 4 + 1 / 4 * 2 / 4))
    sizes = stats.spearmanr(np.abs(table["estimate"]), np.abs(coefficients)).statistic
    assert row["rank_correlation"] == pytest.approx(sizes)
    # All but the last coefficient exceed their interval.
    assert row["significant"] == 5


def test_pairs_of_layers_are_those_whose_target_comes_later():
    values = np.random.default_rng(0).normal(0.1, 0.05, (12, 5))
    rows = effects_of(values).assign(target_layer=3)
    table = beside_predictions(rows, np.full(5, 0.2), target=3)
    found = prediction_vs_effect.pair_trials(rows, table, SETTINGS)
    assert found["pairs"].tolist() == [3]


def test_a_layer_has_no_effect_on_itself():
    table = pd.DataFrame(
        {"layer": [0, 1, 2], "term": "lag_1", "p_adjusted": [0.001, 0.2, 0.03], "subset": "all"}
    )
    row = prediction_vs_effect.same_layer_trials({"attention": table}, 0.05).iloc[0]
    assert (row["prediction"], row["pairs"]) == ("same layer", 3)
    assert row["significant"] == 2
