"""Claims, in words that titles, findings and the page share: value, interval, verdict, sentence."""

import numpy as np
import pandas as pd
import pytest

from attnlag import wording
from attnlag.claims import causes, directions, heads, lags, numbers, sources, subsets
from attnlag.claims.row import Row, Verdict, verdict_of
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.quantities.traced_means import NEXT_LESS_OWN


def test_numbers_are_written_with_a_minus_sign_and_two_decimals():
    written = " ".join(map(numbers.number, (0.234, -0.5, 0.0312, 0.0, -0.0001)))
    assert written == "0.23 −0.50 0.03 0.00 0.00"
    assert " ".join(map(numbers.significant, (2.71, 193.4, 0.0968))) == "2.7 193 0.097"
    assert [numbers.percent(share) for share in (0.123, -0.001, -0.04)] == ["12%", "0%", "−4%"]
    assert numbers.percent(0.1234, 1) == "12.3%"
    assert numbers.interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert numbers.moved("lag 1", 0.111, -0.004) == "moves lag 1 from 0.11 to 0.00"
    assert numbers.moved("lag 1", -0.031, -0.034) == "leaves lag 1 at −0.03"
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
    claim = heads.lag(coefficients(random_weights=np.nan))
    assert claim.sentence == "Lag 1 of single heads is 0.30, that of their sum 0.25 (medians)"
    assert (claim.low, claim.high, claim.baseline) == (0.2, 0.4, {})
    # Medians beside each other are of the same heads.
    claim = heads.lag(coefficients(random_weights=[0.5, np.nan, 0.6, 0.7], trained=0.1))
    assert claim.baseline == {"before training": "0.50", "after it": "0.10"}
    assert claim.clause.startswith("lag 1 of single heads is 0.20")
    assert heads.lag(coefficients().assign(estimate=np.nan)) is None


def test_shares_and_sinks_of_heads_stand_beside_those_of_equal_ones():
    parts = pd.DataFrame({"layer": [4, 4, 4], "part": ["0", "1", WHOLE], "sink_uniform": 0.06})
    parts = parts.assign(share=[0.38, 0.62, np.nan], sink=[0.4, 0.6, 0.5])
    assert heads.share(parts).sentence == (
        "One head has up to 62% of its layer's squared norms (50% if equal)"
    )
    assert heads.sink(parts).sentence == (
        "The median head gives 50% of its attention to the first token (6% if equal)"
    )
    unknown = parts.assign(share=np.nan, sink=np.nan)
    assert heads.share(unknown) is None
    assert heads.sink(unknown) is None


def test_the_likeness_of_neighbours_falls_with_distance():
    rows = [(directions.CENTRED, distance, 0, 0.6 / distance) for distance in (1, 2, 3)]
    table = pd.DataFrame(
        [*rows, (directions.PLAIN, 1, 0, 0.9)], columns=["quantity", "distance", "layer", "mean"]
    )
    assert directions.neighbours(table).sentence == (
        "Neighbours are pushed the same way (centred cosine 0.60, median layer); the likeness "
        "halves within 2 tokens"
    )
    slow = table.assign(mean=[0.6, 0.55, 0.5, 0.9])
    assert directions.neighbours(slow).sentence.endswith("; at 3 tokens it is still 0.50")
    near = table[table["distance"] == 1]
    assert directions.neighbours(near).sentence.endswith("(centred cosine 0.60, median layer)")
    plain = directions.neighbours(table[3:].assign(mean=-0.2)).sentence
    assert plain == "Neighbours are hardly pushed the same way (cosine −0.20, median layer)"
    assert directions.neighbours(table.assign(mean=np.nan)).sentence.startswith("No two")


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
    return {"median": value, "conf_low": low, "conf_high": high}


def test_a_response_has_the_interval_of_its_median():
    medians = pd.DataFrame(
        {"term": ["lag_1", "response_2"], "median": [0.2, 0.11], "conf_low": [0.1, 0.09]}
    ).assign(conf_high=[0.3, 0.13])
    row = lags.response(medians, 2, texts=20, **SETTINGS)
    assert (row.value, row.low, row.high, row.verdict) == (0.11, 0.09, 0.13, Verdict.ABOVE)
    few = lags.response(medians, 2, texts=5, **SETTINGS)
    assert np.isnan([few.low, few.high]).all()
    unknown = lags.response(medians, 3, texts=20, **SETTINGS)
    assert np.isnan(unknown.value)
    assert unknown.verdict is Verdict.NONE


SETTINGS = {"equivalence_bound": 0.05, "alpha": 0.1}


def test_the_size_of_a_lag_counts_the_fitted_layers_beyond_the_bound():
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


@pytest.mark.parametrize(
    ("verdict", "first"),
    [
        (
            Verdict.ABOVE,
            "Yes, neighbours are alike in size: 10% longer → 2.2% longer (lag 1, median layer: ",
        ),
        (Verdict.BELOW, "No, a small one: 10% longer"),
        (Verdict.WITHIN, "No: 10% longer"),
        (Verdict.UNDECIDED, "Undecided: 10% longer"),
        (Verdict.TOO_FEW_TEXTS, "Too few texts to tell (3; at least 6): 10% longer"),
        (Verdict.NONE, "Not tested: 10% longer"),
    ],
)
def test_an_answer_begins_with_its_verdict(verdict, first):
    row = Row("lag", "lag_1", value=0.23, bound=0.05, texts=3, verdict=verdict)
    text = wording.lag_answer(row, Row("without_one_document", "a text", value=0.2))
    assert text.startswith(first)
    assert "0.23, no interval; without the document that moves it most: 0.20; layers above" in text
    assert "that moves it most: unknown; layers above" in wording.lag_answer(row, None)


@pytest.mark.parametrize(
    ("p_values", "counts", "total", "verdict"),
    [
        ([0.001, 0.9, 0.9], (1, 3), 0.2, Verdict.ABOVE),
        ([0.9, np.nan, 0.9], (0, 2), 0.1, Verdict.UNDECIDED),
    ],
)
def test_further_lags_are_counted_where_they_are_tested(p_values, counts, total, verdict):
    fits = pd.DataFrame({"omitted_p_value": p_values, "omitted_p_adjusted": p_values})
    fits = fits.assign(
        omitted_df=2,
        omitted_sum=[0.3, 0.2, 0.1],
        omitted_sum_low=[0.2, 0.1, 0.0],
        omitted_sum_high=[0.4, 0.3, 0.2],
    )
    row = lags.omitted_lags(fits, ["lag_1", "lag_3"], 0.05)
    assert (row.above, row.layers, row.verdict, row.subject) == (*counts, verdict, "2 4")
    # The layer in the middle of those that were tested.
    ends = total - 0.1, total + 0.1
    assert (row.value, row.low, row.high) == pytest.approx((total, *ends))
    assert wording.further_lags(row) == (
        f"layers in which tokens 2 and 4 back still predict: {counts[0]} of {counts[1]} (sum of "
        f"their coefficients in the median layer: {total:.2f}, {ends[0]:.2f} to {ends[1]:.2f}; "
        "0.00 if the lags were enough)"
    )


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


def test_lags_that_were_not_tested_are_not_called_enough():
    fits = pd.DataFrame({"omitted_p_value": [np.nan], "omitted_sum": [np.nan]})
    row = lags.omitted_lags(fits, ["lag_1"], 0.05)
    assert wording.further_lags(row) == "it was not tested whether earlier tokens predict"


@pytest.mark.parametrize(
    ("p_values", "above", "value", "uncorrected"),
    [([0.01, 0.2, 0.04, 0.2], 2, 0.05, 0.03), ([0.2, np.nan, 0.3, 0.4], 0, 0.105, 0.1)],
)
def test_the_correction_stands_beside_what_it_changes(p_values, above, value, uncorrected):
    fits = pd.DataFrame({"layer": range(4), "halves_p_adjusted": p_values})
    own = [-0.02, 0.12, 0.08, 0.3]
    rows = COEFFICIENTS.assign(uncorrected=own * 2)
    row = lags.halves(fits, rows, 0.05)
    assert (row.above, row.layers) == (above, int(fits["halves_p_adjusted"].notna().sum()))
    assert row.value == pytest.approx(value)
    assert row.baseline_value == pytest.approx(uncorrected)
    assert lags.halves(fits.assign(halves_p_adjusted=np.nan), rows, 0.05) is None


def test_what_follows_stands_beside_what_it_was_before_training():
    controls = table(lag_1=[(0.0, "")] * 4).assign(
        random_weights=[1.0, 1.5, 1.4, 1.6], random_weights_default=[0.4, 0.5, 0.5, 0.6]
    )
    claim = lags.followed_by(COEFFICIENTS, controls, "norm")
    assert claim.sentence == (
        "A norm 1% larger is followed by one 0.11% larger, two tokens later by one 0.08% larger "
        "(median layer; lag 1 before training: 0.50 to 1.45, by scale)"
    )
    nowhere = lags.followed_by(COEFFICIENTS.assign(estimate=np.nan), None, "norm")
    assert nowhere.sentence == "No coefficient of norms could be estimated"
    # What is no percentage is a coefficient.
    turned = lags.followed_by(COEFFICIENTS, None, "angle")
    assert turned.sentence == "Lag 1 is 0.11 (median layer)"
    ahead = lags.followed_by(table(lead_1=[(0.3, "present")]), None, "norm")
    assert ahead.sentence == "Lead 1 is 0.30 (median layer)"


@pytest.mark.parametrize(
    ("shares", "documents", "verdict"),
    [
        ([(-0.1, 0.2), (-0.2, 0.24)], 13, "Hardly"),
        ([(0.3, 0.6), (0.26, 0.9)], 13, "In part"),
        # Against the sign of what is predicted.
        ([(-0.64, -0.28), (-0.9, -0.26)], 13, "The other way"),
        ([(0.3, 0.6), (-0.9, -0.26)], 13, "In part in 1, the other way in 1 of 2 layers"),
        # The point of the second is within a quarter, but its interval is not.
        ([(-0.1, 0.2), (-0.2, 0.4)], 13, "Hardly in 1, undecided in 1 of 2 layers"),
        ([(-0.1, 0.2), (0.3, 0.4)], 13, "Hardly in 1, in part in 1 of 2 layers"),
        # A prediction of zero gives no share.
        ([(-0.1, 0.2), (np.nan, np.nan)], 13, "Hardly in 1, undecided in 1 of 2 layers"),
        ([(np.nan, np.nan)] * 2, 13, "Undecided"),
        ([(-0.1, 0.2), (0.0, 0.1)], 5, "Too few documents to tell"),
    ],
)
def test_an_effect_is_judged_by_the_intervals_of_its_share(shares, documents, verdict):
    rows = pd.DataFrame(shares, columns=["share_low", "share_high"])
    rows = rows.assign(target_layer=[9, 29], estimate=[0.01, -0.03], coefficient=[0.1, 0.34])
    rows = rows.assign(conf_low=-0.05, conf_high=0.04, documents=documents, lag=1)
    rows = rows.assign(predicted=0.5, predicted_conf_low=[np.nan, -0.2], predicted_conf_high=0.8)
    rows = rows.assign(documents_to_decide=[np.nan, 1234.0])
    claim = causes.on_a_later_token(rows, 4)
    assert claim.answer == f"{verdict}: {claim.sentence}"
    told = ""
    if "ndecided" in verdict:
        told = " (to decide all: about 1,200 documents)"
    assert claim.sentence == (
        "1% longer in all earlier layers changes the next by 0.01% (−0.05 to 0.04) in layer 9, "
        f"−0.03% (−0.05 to 0.04) in layer 29; {documents} documents{told}"
    )
    meaning = ""
    if "ardly" in verdict:
        meaning = " (hardly: the interval of effect / this lies within ±25%)"
    assert claim.baseline == {
        "predicted from all earlier layers": f"0.50% (−0.20 to 0.80){meaning}",
        "a layer's lag on itself": "0.10 to 0.34",
    }
    never = causes.on_a_later_token(rows.assign(documents_to_decide=np.inf), 4)
    assert ("more than 10,000 documents" in never.sentence) == ("ndecided" in verdict)
    # Without predictions there is no verdict.
    unknown = rows.assign(predicted_conf_low=np.nan, predicted_conf_high=np.nan)
    assert causes.on_a_later_token(unknown, 4).verdict in ("", "Too few documents to tell")
    # No layer is earlier than the first, whose effect of zero says nothing.
    first = rows[:1].assign(target_layer=0, estimate=0.0, share_low=0.0, share_high=0.0)
    assert repr(causes.on_a_later_token(pd.concat([first, rows]), 4)) == repr(claim)
    assert causes.on_a_later_token(first).answer == "No observed layer has an earlier one"
    assert "; 2 layers, " in causes.on_a_later_token(rows, 1).sentence
    later = causes.on_a_later_token(rows.assign(lag=2), 4)
    assert "changes that 2 tokens later by 0.01%" in later.sentence
    # A single document gives no interval.
    alone = causes.on_a_later_token(rows.assign(conf_low=np.nan, conf_high=np.nan), 4)
    assert "changes the next by 0.01% in layer 9, −0.03% in layer 29; " in alone.sentence


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
    sentence = wording.next_token(row)
    assert said in sentence
    if row.verdict is not Verdict.TOO_FEW_TEXTS:
        assert (row.layers, row.above, row.below, row.undecided) == (4, 1, 1, 2)
        assert sentence.endswith(": 1 of 4; less: 1")


def groups(**ends):
    rows = [
        {"subset": name, "layer": layer, "estimate": (low + high) / 2 + layer - 1}
        | {"median_low": low, "median_high": high}
        for name, (low, high) in ends.items()
        for layer in range(3)
    ]
    return subsets.by_subset(pd.DataFrame(rows))


def test_groups_have_a_sign_only_where_their_joint_intervals_do():
    rows = groups(prose=(0.1, 0.2), verse=(-1.0, 1.42), law=(-0.3, -0.1), rare=(np.nan, np.nan))
    verdicts = [Verdict.ABOVE, Verdict.UNDECIDED, Verdict.BELOW]
    assert [row.verdict for row in rows] == verdicts
    assert [row.value for row in rows] == pytest.approx([0.15, 0.21, -0.2])
    said = wording.groups(rows, "lag_1")
    assert said == "Groups of documents with lag 1 above 0: 1 of 3, below 0: 1"
    assert wording.groups([], "lag_1") == "No group of documents could be fitted separately"


def test_extremes_are_named_only_if_they_are_apart():
    apart = groups(prose=(0.1, 0.2), verse=(0.15, 0.4), law=(0.3, 0.5))
    assert wording.extremes(apart, str.upper) == (
        "0.15 (0.10 to 0.20) in PROSE to 0.40 (0.30 to 0.50) in LAW, jointly for all 3"
    )
    alike = groups(prose=(0.1, 0.31), law=(0.3, 0.5))
    assert wording.extremes(alike) == "no two of 2 are shown to differ by their joint intervals"


def test_signs_tell_nothing_where_all_of_them_are_alike():
    start = "prediction from one layer has the sign of 7 of 10 clear effects (by chance "
    assert wording.signs("one layer", 7, 10, 5.8) == f"{start}5.8)"
    # All predictions are positive, and 7 effects.
    told = wording.signs("one layer", 7, 10, 0.7 * 10)
    assert told == f"{start}7.0: one of the two has one sign alone, which tells nothing)"


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
    assert causes.of_single_layers(pairs).sentence == sentence
