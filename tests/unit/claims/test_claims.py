"""Claims, in words that titles, findings and the page share: value, interval, verdict, sentence."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from attnlag import wording
from attnlag.claims import causes, directions, heads, lags, numbers, sources, subsets, training
from attnlag.claims.row import Row, Verdict, verdict_of
from attnlag.fields import NOUNS
from attnlag.quantities import catalogue
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.quantities.traced_means import NEXT_LESS_OWN


def test_numbers_are_written_with_a_minus_sign_and_two_decimals():
    written = " ".join(map(numbers.number, (0.234, -0.5, 0.0312, 0.0, -0.0001)))
    assert written == "0.23 −0.50 0.03 0.00 0.00"
    assert " ".join(map(numbers.significant, (2.71, 193.4, 0.0968))) == "2.7 193 0.097"
    assert [numbers.percent(share) for share in (0.123, -0.001, -0.04)] == ["12%", "0%", "−4%"]
    assert numbers.percent(0.1234, 1) == "12.3%"
    assert numbers.interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert numbers.span([0.2, -0.1, 0.1]) == "−0.10 to 0.20"
    assert numbers.span([0.201, float("nan"), 0.204]) == "0.20"
    assert numbers.with_minus_signs("a-1 is -0.2 (x-3)") == "a-1 is −0.2 (x-3)"
    # A name may begin with a hyphen and a digit.
    assert numbers.with_minus_signs("-2nd: -8.8°, -3% to -1,000.") == "-2nd: −8.8°, −3% to −1,000."


def coefficients(**controls):
    parts = ["0", "1", WHOLE, ABOVE]
    table = pd.DataFrame({"layer": 3, "part": parts, "term": "lag_1"})
    return table.assign(estimate=[0.2, 0.4, 0.25, 0.9], **controls)


def test_the_lag_of_heads_stands_beside_that_of_their_sum_and_before_training():
    unknown = coefficients(untrained=np.nan)
    row = heads.lag(unknown, "within")
    assert (row.value, row.baseline_value, row.layers) == (pytest.approx(0.3), 0.25, 2)
    assert wording.text(row, "title") == (
        "Lag 1 of single heads is 0.30, that of their sum 0.25 (medians)"
    )
    assert wording.text(row, "finding").endswith("with the terms of the regression 'within')")
    assert heads.lag_untrained(unknown) is None
    # Medians beside each other are of the same heads.
    controls = coefficients(untrained=[0.5, np.nan, 0.6, 0.7], trained=0.1)
    assert heads.lag(controls, "within").value == 0.2
    before = heads.lag_untrained(controls)
    assert (before.value, before.baseline_value) == (0.5, 0.1)
    assert wording.text(before, "finding").startswith(
        "lag 1 of single heads before training: 0.50, after it: 0.10"
    )
    assert heads.lag(coefficients().assign(estimate=np.nan), "within") is None
    shown = coefficients().assign(equivalence=["present", "absent", "present", "present"])
    row = heads.lag_counted(shown, 0.05)
    assert (row.above, row.below, row.within, row.undecided) == (1, 0, 1, 0)
    assert wording.text(row, "finding") == (
        "heads with lag 1 above 0.05: 1 of 2, below −0.05: 0, within ±0.05: 1, undecided: 0"
    )


def test_shares_and_sinks_of_heads_stand_beside_those_of_equal_ones():
    parts = pd.DataFrame({"layer": [4, 4, 4], "part": ["0", "1", WHOLE], "sink_uniform": 0.06})
    parts = parts.assign(share=[0.38, 0.62, np.nan], sink=[0.4, 0.6, 0.5])
    share = heads.share(parts)
    assert share.subject == "layer 4"
    assert wording.text(share, "title") == (
        "One head has up to 62% of its layer's squared norms (50% if equal)"
    )
    (sink,) = heads.sinks(parts)
    assert sink.above == 1
    assert wording.text(sink, "title") == (
        "The median head gives 50% of its attention to the first token (6% if equal)"
    )
    unknown = parts.assign(share=np.nan, sink=np.nan)
    assert heads.share(unknown) is None
    assert [*heads.sinks(unknown)] == []


def test_the_likeness_of_neighbours_stands_beside_that_of_the_farthest():
    rows = [(directions.CENTRED, distance, 0, 0.6 / distance) for distance in (1, 2, 3)]
    table = pd.DataFrame(
        [*rows, (directions.PLAIN, 1, 0, 0.9)], columns=["quantity", "distance", "layer", "mean"]
    )
    near, far = directions.neighbours(table.assign(random_pairs=0.1))
    assert (near.value, near.baseline_value, far.value) == (0.6, 0.1, pytest.approx(0.2))
    assert wording.title([near, far]) == (
        "Adjustments of neighbours have a centred cosine of 0.60, those 3 tokens apart of 0.20"
    )
    (plain,) = directions.neighbours(table[3:].assign(mean=-0.2))
    assert wording.title([plain]) == "Adjustments of neighbours have a cosine of −0.20"
    assert directions.neighbours(table.assign(mean=np.nan)) == []


def table(**terms):
    rows = [
        {"layer": layer, "term": term, "estimate": size, "equivalence": finding}
        for term, cells in terms.items()
        for layer, (size, finding) in enumerate(cells)
    ]
    return pd.DataFrame(rows)


COEFFICIENTS = table(
    lag_1=[(0.3, "present"), (0.2, "present"), (-0.2, "present"), (0.01, "absent")],
    lag_2=[(0.04, "undecided"), (0.01, "absent"), (0.02, "absent"), (0.1, "present")],
)


def median(value, low=np.nan, high=np.nan):
    return {"median": value, "conf_low": low, "conf_high": high, "level": 0.9}


def test_a_response_has_the_interval_of_its_median():
    medians = pd.DataFrame(
        {"term": ["lag_1", "response_2"], "median": [0.2, 0.11], "conf_low": [0.1, 0.09]}
    ).assign(conf_high=[0.3, 0.13], level=0.9)
    row = lags.response(medians, 2, texts=20, **SETTINGS)
    assert (row.value, row.low, row.high, row.verdict) == (0.11, 0.09, 0.13, Verdict.ABOVE)
    few = lags.response(medians, 2, texts=5, **SETTINGS)
    assert np.isnan([few.low, few.high]).all()
    assert lags.response(medians, 3, texts=20, **SETTINGS) is None


SETTINGS = {"equivalence_bound": 0.05}


def test_the_size_of_a_lag_counts_the_fitted_layers_beyond_the_bound(subtests):
    unfitted = pd.DataFrame({"layer": [4], "term": "lag_1", "equivalence": "undecided"})
    rows = pd.concat([COEFFICIENTS, unfitted])
    first = lags.size(rows, "lag_1", median(0.2, 0.1, 0.3), texts=20, **SETTINGS)
    assert (first.layers, first.above, first.below, first.within, first.undecided) == (
        4,
        2,
        1,
        1,
        0,
    )
    assert (first.value, first.low, first.high, first.level) == (0.2, 0.1, 0.3, 0.9)
    assert first.verdict is Verdict.ABOVE
    second = lags.size(rows, "lag_2", median(0.03, 0.02, 0.04), texts=20, **SETTINGS)
    assert (second.above, second.below, second.within, second.undecided) == (1, 0, 2, 1)
    assert second.verdict is Verdict.WITHIN
    # Beyond the bound, though no layer is shown to be.
    wild = rows.assign(equivalence="undecided")
    for ends in ((0.1, 0.3), (-0.3, -0.1)):
        with subtests.test(ends=ends):
            row = lags.size(wild, "lag_1", median(0.2, *ends), texts=20, **SETTINGS)
            assert (row.verdict, row.above, row.below) == (Verdict.UNDECIDED, 0, 0)
    # Few texts tell nothing of others, of however many documents they are.
    few = lags.size(rows, "lag_1", median(0.2, 0.1, 0.3), texts=5, **SETTINGS)
    assert np.isnan([few.low, few.high]).all()
    assert few.verdict is Verdict.TOO_FEW_TEXTS


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.051, 0.3, Verdict.ABOVE),
        (-0.3, -0.051, Verdict.BELOW),
        (-0.049, 0.049, Verdict.WITHIN),
        (0.049, 0.55, Verdict.UNDECIDED),
        (-0.06, 0.04, Verdict.UNDECIDED),
        (np.nan, np.nan, Verdict.NONE),
    ],
)
def test_a_verdict_is_of_the_interval_alone(low, high, verdict):
    assert verdict_of(low, high, 0.05) is verdict
    assert verdict_of(low, high, 0.05, texts=6) is verdict
    assert verdict_of(low, high, 0.05, texts=5) is Verdict.TOO_FEW_TEXTS


@pytest.mark.parametrize(
    ("verdict", "first"),
    [
        (
            Verdict.ABOVE,
            "Yes, neighbours have similar norms: 10% larger → 2.2% larger (lag 1, median layer: ",
        ),
        (Verdict.BELOW, "No, a small one: 10% larger"),
        (Verdict.WITHIN, "No: 10% larger"),
        (Verdict.UNDECIDED, "Undecided: 10% larger"),
        (Verdict.TOO_FEW_TEXTS, "Too few texts to tell (3; at least 6): 10% larger"),
        (Verdict.NONE, "Not tested: 10% larger"),
    ],
)
def test_an_answer_begins_with_its_verdict(verdict, first):
    row = Row("lag", "lag_1", value=0.23, bound=0.05, texts=3, verdict=verdict)
    text = wording.text(row, "answer")
    assert text.startswith(first)
    assert "(lag 1, median layer: 0.23, no interval; layers above 0.05: " in text


@pytest.mark.parametrize(
    ("p_values", "counts", "total", "middle"),
    [
        ([0.001, 0.9, 0.9], (1, 3), 0.2, "layer 5"),
        ([0.9, np.nan, 0.9], (0, 2), 0.1, "layer 6"),
    ],
)
def test_further_lags_are_counted_where_they_are_tested(p_values, counts, total, middle):
    fits = pd.DataFrame({"omitted_p_value": p_values, "omitted_p_adjusted": p_values})
    fits = fits.assign(
        layer=[4, 5, 6],
        omitted_df=2,
        omitted_sum=[0.3, 0.2, 0.1],
        omitted_sum_low=[0.2, 0.1, 0.0],
        omitted_sum_high=[0.4, 0.3, 0.2],
        level=0.95,
    )
    row = lags.omitted_lags(fits, ["lag_1", "lag_3"], 0.05)
    assert (row.above, row.layers, row.subject) == (*counts, "2 4")
    # Its interval is no verdict on all layers.
    assert (row.baseline, row.verdict) == (middle, Verdict.NONE)
    # The layer in the middle of those that were tested.
    ends = total - 0.1, total + 0.1
    assert (row.value, row.low, row.high) == pytest.approx((total, *ends))
    start = "tokens 2 and 4 back still predict in 1 of 3 layers: one lag is too few (sum of "
    if not row.above:
        start = "layers in which tokens 2 and 4 back still predict: 0 of 2 (sum of "
    assert wording.text(row, "answer") == (
        f"{start}their coefficients in {middle}, the middle one: {total:.2f}, {ends[0]:.2f} to "
        f"{ends[1]:.2f}; 0.00 if the lags were enough)"
    )


def test_bent_lines_are_counted_with_their_sign_beside_what_the_square_explains():
    p_values = [0.001, 0.9, 0.04, np.nan]
    fits = pd.DataFrame({"curvature_p_value": p_values, "curvature_p_adjusted": p_values})
    fits = fits.assign(
        layer=[3, 4, 5, 6],
        curvature=[-0.2, 0.01, 0.1, np.nan],
        curvature_low=[-0.3, -0.04, 0.05, np.nan],
        curvature_high=[-0.1, 0.06, 0.15, np.nan],
        curvature_share=[0.02, 0.0, 0.004, np.nan],
        level=0.95,
    )
    row, share = lags.curvature(fits, ["lag_2", "lag_1"], 0.05)
    assert (row.subject, row.layers, row.above, row.below) == ("lag_1", 3, 1, 1)
    # The layer in the middle of those that were tested.
    assert (row.value, row.low, row.high) == (0.01, -0.04, 0.06)
    assert (row.baseline, row.verdict) == ("layer 4", Verdict.NONE)
    assert (share.value, share.layers) == (0.004, 3)
    assert wording.texts([row, share], "finding") == [
        "layers in which lag 1 is shown not to be linear, of 3: 1 bend upwards, 1 downwards (the "
        "same test; coefficient of its square in layer 4, the middle one: 0.01, −0.04 to 0.06; 0 "
        "if it were)",
        "the square explains 0.4% of the residual variance",
    ]
    assert lags.curvature(fits.iloc[3:], ["lag_1"], 0.05) == []


def test_the_document_that_moves_the_median_most_stands_beside_it():
    changes = {"a": [0.0, 0.1, 0.0], "b": [0.01, 0.01, 0.01], "c": [-0.05, np.nan, -0.25]}
    rows = [
        {"term": "lag_1", "layer": layer, "document": name, "change": change}
        for name, of_layers in changes.items()
        for layer, change in enumerate(of_layers)
        if change == change
    ]
    own = table(lag_1=[(0.1, ""), (0.2, ""), (0.3, "")])
    row = lags.without_one_document(own, pd.DataFrame(rows), 0.05)
    # Without a the layers have 0.1, 0.1, 0.3; without c, 0.15, 0.2, 0.55.
    assert (row.subject, row.value, row.baseline_value) == ("a", pytest.approx(0.1), 0.2)
    assert lags.without_one_document(own, pd.DataFrame(rows).iloc[:0], 0.05) is None
    # Without the only document there is no fit.
    alone = pd.DataFrame(rows[:3]).assign(change=np.nan)
    assert lags.without_one_document(own, alone, 0.05) is None


def test_lags_that_were_not_tested_are_not_called_enough():
    fits = pd.DataFrame({"omitted_p_value": [np.nan], "omitted_sum": [np.nan]})
    row = lags.omitted_lags(fits, ["lag_1"], 0.05)
    assert wording.text(row, "answer") == "it was not tested whether earlier tokens predict"


@pytest.mark.parametrize(
    ("p_values", "above", "value", "uncorrected"),
    [([0.01, 0.2, 0.04, 0.2], 2, 0.05, 0.03), ([0.2, np.nan, 0.3, 0.4], 0, 0.105, 0.1)],
)
def test_the_correction_stands_beside_what_it_changes(p_values, above, value, uncorrected):
    fits = pd.DataFrame({"layer": range(4), "halves_p_adjusted": p_values})
    own = [-0.02, 0.12, 0.08, 0.3]
    rows = COEFFICIENTS.assign(uncorrected=own * 2)
    row = next(lags.halves(fits, rows, 0.05))
    assert (row.above, row.layers) == (above, int(fits["halves_p_adjusted"].notna().sum()))
    assert row.value == pytest.approx(value)
    assert row.baseline_value == pytest.approx(uncorrected)
    assert [*lags.halves(fits.assign(halves_p_adjusted=np.nan), rows, 0.05)] == []


def test_what_follows_is_said_in_percent():
    row = Row("lag", "lag_1", value=0.234)
    assert wording.title([lags.follows(row, "norm"), Row("response", "2", value=-0.08)]) == (
        "After a 1% larger adjustment the next is 0.23% larger, the one after 0.08% smaller"
    )
    relative = wording.title([lags.follows(row, "relative")])
    assert relative.startswith("After a 1% larger adjustment, relative to its stream, the next")
    assert wording.title([row]) == "Lag 1 is 0.23"


EFFECTS = pd.DataFrame(
    {"target_layer": [9, 29], "estimate": [0.01, -0.03], "coefficient": [0.1, 0.34], "lag": 1}
).assign(
    conf_low=-0.05,
    conf_high=0.04,
    documents=13,
    predicted=0.5,
    predicted_conf_low=[np.nan, -0.2],
    predicted_conf_high=[np.nan, 0.8],
    documents_to_decide=[np.nan, 1234.0],
    share=0.1,
    coefficient_conf_low=0.05,
    coefficient_conf_high=0.4,
    level=0.95,
)
IN_PART, OTHER_WAY, HARDLY = Verdict.ABOVE, Verdict.BELOW, Verdict.WITHIN


@pytest.mark.parametrize(
    ("ends", "documents", "verdicts"),
    [
        ([(-0.1, 0.2), (-0.2, 0.24)], 13, [HARDLY, HARDLY]),
        ([(0.3, 0.6), (0.26, 0.9)], 13, [IN_PART, IN_PART]),
        # Against the sign of what is predicted.
        ([(-0.64, -0.28), (0.3, 0.6)], 13, [OTHER_WAY, IN_PART]),
        # The point of the second is within a quarter, but its interval is not.
        ([(-0.1, 0.2), (-0.2, 0.4)], 13, [HARDLY, Verdict.UNDECIDED]),
        # A prediction of zero gives no share.
        ([(-0.1, 0.2), (np.nan, np.nan)], 13, [HARDLY, Verdict.NONE]),
        ([(-0.1, 0.2), (0.0, 0.1)], 5, [Verdict.TOO_FEW_TEXTS] * 2),
    ],
)
def test_an_effect_is_judged_by_the_intervals_of_its_share(ends, documents, verdicts):
    shares = pd.DataFrame(ends, columns=["share_low", "share_high"])
    rows = causes.shares(pd.concat([EFFECTS, shares], axis=1).assign(documents=documents))
    assert [row.verdict for row in rows] == verdicts
    if documents >= 6:
        np.testing.assert_array_equal([(row.low, row.high) for row in rows], ends)


def effects_and_shares():
    """Return effects on three layers with intervals of their shares.

    No layer is earlier than the first, whose effect of zero says nothing.
    """
    table = EFFECTS.assign(share_low=[-0.1, -0.2], share_high=[0.2, 0.4])
    first = table[:1].assign(target_layer=0, estimate=0.0)
    return pd.concat([first, table])


def test_effects_stand_beside_their_intervals_and_predictions():
    table = effects_and_shares()
    rows = causes.effects(table)
    assert [(row.subject, row.value, row.low, row.high) for row in rows] == [
        ("layer 9", 0.01, -0.05, 0.04),
        ("layer 29", -0.03, -0.05, 0.04),
    ]
    assert (rows[1].baseline_value, rows[1].baseline_low, rows[1].baseline_high) == (0.5, -0.2, 0.8)
    assert wording.texts(rows, "answer") == [
        "0.01% (−0.05 to 0.04) in layer 9",
        "−0.03% (−0.05 to 0.04) in layer 29",
    ]
    assert wording.texts(causes.predictions(table), "answer") == ["0.50% (−0.20 to 0.80)"]
    assert [row.value for row in causes.own_lags(table)] == [0.1, 0.34]
    # Only the smallest and the largest of many are stated.
    assert causes.extremes(rows, 1) == [rows[1], rows[0]]
    # A single document gives no interval.
    alone = causes.effects(table.assign(conf_low=np.nan, conf_high=np.nan))
    assert wording.text(alone[0], "answer") == "0.01% (no interval) in layer 9"


def test_layers_are_counted_and_documents_to_decide_all_are_named():
    found = [*causes.effects_by_layer(effects_and_shares())]
    (decided,) = [row for row in found if row.claim == "effects_decided"]
    assert wording.text(decided, "answer") == (
        "Layers in which it hardly does: 1 of 2, in part: 0, the other way: 0, undecided: 1 "
        "(texts: 13)"
    )
    (needed,) = [row for row in found if row.claim == "documents_to_decide"]
    assert (
        wording.text(needed, "answer")
        == "documents to decide all, were these estimates the truth: about 1,200"
    )
    many = Row("documents_to_decide", value=np.inf)
    assert wording.text(many, "answer").endswith("more than 10,000")
    assert wording.text(Row("documents_to_decide", value=10_000), "answer").endswith("about 10,000")


def test_layers_of_each_verdict_are_counted_and_the_others_are_undecided():
    verdicts = [Verdict.ABOVE] * 2 + [Verdict.BELOW, Verdict.UNDECIDED, Verdict.NONE]
    verdicts += [Verdict.WITHIN] * 3
    row = causes.decided([Row("effect_share", verdict=each) for each in verdicts], True)
    assert (row.layers, row.above, row.below, row.within, row.undecided) == (8, 2, 1, 3, 2)


def test_a_share_of_the_prediction_has_a_verdict_where_both_allow_one():
    table = effects_and_shares()
    shares = causes.shares(table)
    assert wording.text(shares[1], "finding") == (
        "effect / prediction: 0.10 (−0.20 to 0.40), undecided"
    )
    # Where the prediction may be zero, a share has no verdict, and is not decided.
    may_be_zero = causes.shares(table.assign(share_low=[np.nan, -0.1, np.nan], share_high=0.2))
    assert [row.verdict for row in may_be_zero] == [Verdict.WITHIN, Verdict.NONE]
    assert wording.text(may_be_zero[1], "finding") == (
        "effect / prediction: 0.10 (no interval, as the prediction may be 0)"
    )
    counted = causes.decided(may_be_zero, is_predicted=True)
    assert (counted.within, counted.undecided, counted.verdict) == (1, 1, Verdict.UNDECIDED)
    # Without predictions there is no verdict.
    unknown = table.assign(predicted_conf_low=np.nan, share_low=np.nan, share_high=np.nan)
    untested = causes.decided(causes.shares(unknown), is_predicted=False)
    assert wording.text(untested, "answer") == "Not tested"
    few = causes.decided(causes.shares(table.assign(documents=5)), is_predicted=True)
    assert wording.text(few, "answer") == "Too few texts to tell (5; at least 6)"
    nowhere = causes.decided(causes.shares(table[:1]), is_predicted=True)
    assert wording.text(nowhere, "answer") == "no observed layer has an earlier one"


@pytest.mark.parametrize(
    ("p_adjusted", "said"),
    [
        # Intervals of three of the layers exclude zero, before any correction.
        (
            [0.01, 0.06, 0.9, 0.04],
            "MLP adjustment raises the logit of the next token more than that of the token itself",
        ),
        (
            [np.nan] * 4,
            "Too few documents to tell whether the MLP adjustment raises the logit of the next",
        ),
    ],
)
def test_corrected_p_values_decide_which_token_is_raised(p_adjusted, said):
    rows = pd.DataFrame({"layer": range(4), "target": NEXT_LESS_OWN, "site": "mlp"})
    rows = rows.assign(difference=[0.5, 0.4, 0.3, -0.2], p_adjusted=p_adjusted)
    rows = rows.assign(conf_low=[0.1, 0.1, -0.1, -0.3], conf_high=[1, 1, 1, -0.1])
    row = sources.next_token(rows, 0.05)
    sentence = wording.text(row, "title")
    assert said in sentence
    if row.verdict is not Verdict.TOO_FEW_TEXTS:
        assert (row.layers, row.above, row.below, row.undecided) == (4, 1, 1, 2)
        assert sentence.endswith(": 1 of 4; less: 1")


def groups(**ends):
    """Return the claims about groups with some ends of joint intervals, in three layers."""
    rows = [
        {"subset": name, "layer": layer, "estimate": (low + high) / 2 + layer - 1, "term": "lag_1"}
        | {"median_low": low, "median_high": high, "level": 0.95, "status": "ok"}
        for name, (low, high) in ends.items()
        for layer in range(3)
    ]
    return [*subsets.groups(pd.DataFrame(rows))]


def test_groups_have_a_sign_only_where_their_joint_intervals_do():
    rows = groups(prose=(0.1, 0.2), verse=(-1.0, 1.42), law=(-0.3, -0.1), rare=(np.nan, np.nan))
    of_groups = [row for row in rows if row.claim == "groups"]
    verdicts = [Verdict.ABOVE, Verdict.UNDECIDED, Verdict.BELOW]
    assert [row.verdict for row in of_groups] == verdicts
    assert [row.value for row in of_groups] == pytest.approx([0.15, 0.21, -0.2])
    counted = wording.text(rows[3], "title")
    assert counted == "Groups of documents with lag 1 above 0: 1 of 3, below 0: 1"


def test_extremes_are_named_only_if_they_are_apart():
    *_, apart = groups(prose=(0.1, 0.2), verse=(0.15, 0.4), law=(0.3, 0.5))
    assert wording.text(apart, "finding") == (
        "0.15 (0.10 to 0.20) in prose to 0.40 (0.30 to 0.50) in law"
    )
    *_, alike = groups(prose=(0.1, 0.31), law=(0.3, 0.5))
    assert wording.text(alike, "finding") == "their intervals do not tell any two apart"
    # The largest has a wide interval, but another lies above the smallest, and the claim names it.
    *_, others = groups(prose=(0.1, 0.2), verse=(0.25, 0.4), law=(0.0, 0.9))
    assert (others.claim, others.verdict) == ("groups_apart", Verdict.ABOVE)
    assert wording.text(others, "finding") == (
        "larger in verse, 0.32 (0.25 to 0.40), than in prose, 0.15 (0.10 to 0.20)"
    )
    # One group differs from nothing.
    *_, alone = groups(prose=(0.1, 0.31), law=(np.nan, np.nan))
    assert alone.claim != "groups_extremes"


def test_layers_in_which_classes_are_not_told_apart_are_undecided():
    """A layer without a test is not counted."""
    slope = {"term": "lag_1", "estimate": 0.1, "status": "ok"}
    slope |= {"median": 0.1, "median_low": 0.0, "median_high": 0.2, "level": 0.95}
    rows = [
        slope | {"subset": name, "layer": layer} for name in ("NOUN", "VERB") for layer in range(4)
    ]
    tests = pd.DataFrame({"layer": range(4), "p_adjusted": [0.01, 0.2, 0.03, np.nan]})
    tests = tests.assign(term="lag_1", merged="")
    tested, *_ = subsets.classes(pd.DataFrame(rows), tests, "upos", 0.05, "holm")
    alone, *others = subsets.classes(pd.DataFrame(rows[:3]), tests, "upos", 0.05, "holm")
    assert (alone.layers, alone.above, others) == (0, 0, [])
    assert (tested.layers, tested.above, tested.undecided) == (3, 2, 1)


def test_signs_tell_nothing_where_all_of_them_are_alike():
    start = "prediction from one layer has the sign of 7 of 10 clear effects (by chance "
    trial = SimpleNamespace(prediction="alone", clear=10, same_sign=7, rank_correlation=0.56)
    trial.by_chance = 5.8
    row = causes.trial(trial)
    assert (row.above, row.layers, row.baseline_value, row.value) == (7, 10, 5.8, 0.56)
    assert wording.text(row, "finding") == f"{start}5.8); rank correlation of sizes: 0.56"
    # All predictions are positive, and 7 effects.
    trial.by_chance = 0.7 * 10
    told = wording.text(causes.trial(trial), "finding")
    assert f"{start}7.0: one of the two has one sign alone, which tells nothing); rank" in told
    same = SimpleNamespace(prediction="same layer", pairs=30, significant=29)
    assert wording.text(causes.trial(same), "finding").endswith(
        "no token affects the next in the same layer: 29 of 30"
    )


@pytest.mark.parametrize(
    ("predicted", "caused", "sentence"),
    [
        # The largest prediction, 0.64, has an error of a third of it.
        (
            [(0.20, 0.91), (0.33, 0.46)],
            [(-0.025, -0.018), (0.006, 0.016)],
            "Earlier layers predict the next token's adjustment (one by at least 0.33% per 1%) but "
            "hardly change it (each by at most 0.03%)",
        ),
        # Of one with a negative sign, too.
        (
            [(-0.91, -0.40), (-0.1, 0.46)],
            [(-0.10, 0.02), (0.0, 0.02)],
            "Earlier layers predict the next token's adjustment (one by at least 0.40% per 1%) and "
            "change it (each by at most 0.10%)",
        ),
        (
            [(-0.2, 0.9), (-0.1, 0.46)],
            [(-0.02, 0.01), (0.0, 0.03)],
            "No earlier layer is shown to predict the next token's adjustment; each changes it by "
            "at most 0.03% per 1%",
        ),
        (
            [(0.2, 0.9), (0.1, 0.46)],
            [(np.nan, np.nan), (np.nan, np.nan)],
            "Too few documents to tell how far layers change the next token's adjustment",
        ),
    ],
)
def test_what_single_layers_do_is_what_intervals_show(predicted, caused, sentence):
    pairs = pd.DataFrame(predicted, columns=["predictive_conf_low", "predictive_conf_high"])
    pairs[["conf_low", "conf_high"]] = caused
    # Points do not count.
    pairs = pairs.assign(estimate=9.0, predictive=9.0)
    assert wording.text(causes.single_layers(pairs), "title") == sentence


def test_what_was_before_training_stands_beside_what_is_after_it():
    before = pd.DataFrame(
        {"scale": ["own", "own", "by-depth"], "quantity": ["lag_1", "r_squared", "lag_1"]}
    ).assign(
        before=[0.5, 0.95, np.nan],
        before_low=[0.45, np.nan, np.nan],
        before_high=[0.65, np.nan, np.nan],
        trained=0.2,
        difference=[0.25, np.nan, np.nan],
        conf_low=[0.2, np.nan, np.nan],
        conf_high=[0.3, np.nan, np.nan],
        level=0.9,
        documents=12,
        above_own=False,
        initializer_range=0.04,
        origin="stated",
        left_out=["", "", "the same as own"],
    )
    rows = [*training.by_scale(before, bound=0.05, nearest="lag_1")]
    described = [(row.claim, row.subject, row.value, row.verdict) for row in rows]
    assert described == [
        ("scale", "own", 0.04, Verdict.NONE),
        ("scale_left_out", "by-depth", 0.04, Verdict.NONE),
        ("untrained", "lag_1, own", 0.5, Verdict.NONE),
        ("untrained_mean", "lag_1, own", pytest.approx(0.55), Verdict.ABOVE),
        ("change_by_training", "lag_1, own", 0.25, Verdict.ABOVE),
        ("trained", "lag_1", 0.2, Verdict.NONE),
        ("untrained_extremes", "lag_1", 0.5, Verdict.NONE),
        ("untrained", "r_squared, own", 0.95, Verdict.NONE),
        ("trained", "r_squared", 0.2, Verdict.NONE),
        ("untrained_extremes", "r_squared", 0.95, Verdict.NONE),
        ("untrained_determined", "", 0.95, Verdict.NONE),
    ]
    change = rows[4]
    assert (change.low, change.high, change.level) == (0.2, 0.3, 0.9)
    # With a smaller R², the tokens before do not determine the norm.
    less = before.assign(before=[0.5, 0.89, np.nan])
    claims = {row.claim for row in training.by_scale(less, bound=0.05, nearest="lag_1")}
    assert "untrained_determined" not in claims


def test_every_outcome_in_percent_has_a_noun():
    logarithmic = {name for name, outcome in catalogue.OUTCOMES.items() if outcome.logarithm}
    assert set(NOUNS) == logarithmic
