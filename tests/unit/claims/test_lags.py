"""Claims about lags and effects: value, interval, baseline, verdict and sentence."""

import numpy as np
import pandas as pd
import pytest

from attnlag.claims import causes, lags


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


def test_the_size_of_a_lag_counts_layers_beyond_the_bound():
    first = lags.size(COEFFICIENTS, "lag_1", median(0.2, 0.1, 0.3), 0.05, 4, 20)
    assert first.sentence == "above 0.05 in 2 of 4 layers, below −0.05 in 1"
    assert first.interval == "0.10 to 0.30"
    second = lags.size(COEFFICIENTS, "lag_2", median(0.03, 0.02, 0.06), 0.05, 4, 3)
    assert second.sentence == "above 0.05 in 1 of 4 layers, shown to be smaller in size in 2"
    # Few texts speak for themselves alone, of however many documents they are.
    assert second.interval == ""
    assert second.verdict == "No in these 3 texts"
    alone = lags.size(COEFFICIENTS, "lag_1", median(0.2), 0.05, 4, 1)
    assert alone.verdict == "Yes in this text"


def test_what_follows_stands_beside_what_it_was_before_training():
    controls = table(lag_1=[(0.0, "")] * 4).assign(
        random_weights=[1.0, 1.5, 1.4, 1.6], random_weights_default=[0.4, 0.5, 0.5, 0.6]
    )
    claim = lags.followed_by(COEFFICIENTS, controls, "norm")
    assert claim.sentence == (
        "A norm 1% larger is followed by one 0.11% larger, two tokens later 0.03% larger (median "
        "layer; 0.50 to 1.45% before training, by scale)"
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
        ([(0.3, 0.6), (-0.9, -0.26)], 13, "In part"),
        # The point of the second is within a quarter, but its interval is not.
        ([(-0.1, 0.2), (-0.2, 0.4)], 13, "Hardly in 1, undecided in 1 of 2 layers"),
        ([(-0.1, 0.2), (0.3, 0.4)], 13, "Hardly in 1, in part in 1 of 2 layers"),
        # A lag of zero gives no share.
        ([(-0.1, 0.2), (np.nan, np.nan)], 13, "Hardly in 1, undecided in 1 of 2 layers"),
        ([(np.nan, np.nan)] * 2, 13, ""),
        ([(-0.1, 0.2), (0.0, 0.1)], 5, "Too few documents to tell"),
    ],
)
def test_an_effect_is_judged_by_the_intervals_of_its_share(shares, documents, verdict):
    rows = pd.DataFrame(shares, columns=["share_low", "share_high"])
    rows = rows.assign(target_layer=[9, 29], estimate=[0.01, -0.03], coefficient=[0.1, 0.34])
    rows = rows.assign(conf_low=-0.05, conf_high=0.04, documents=documents, lag=1)
    rows = rows.assign(predicted=0.5, predicted_conf_low=[np.nan, -0.2], predicted_conf_high=0.8)
    claim = causes.on_a_later_token(rows, 4)
    assert claim.answer == f"{verdict}{': ' * bool(verdict)}{claim.sentence}"
    assert claim.sentence == (
        "1% longer in all earlier layers changes the next by 0.01% (−0.05 to 0.04) in layer 9, "
        f"−0.03% (−0.05 to 0.04) in layer 29; {documents} documents"
    )
    meaning = " (hardly: the interval of effect / lag lies within ±25%)" * ("ardly" in verdict)
    assert causes.associations(rows, 4, claim.verdict) == {
        "a layer's lag on itself": f"0.10 to 0.34{meaning}",
        "predicted from all earlier layers": "0.50% (−0.20 to 0.80)",
    }
    assert "; 2 layers, " in causes.on_a_later_token(rows, 1).sentence
    later = causes.on_a_later_token(rows.assign(lag=2), 4)
    assert "changes that 2 tokens later by 0.01%" in later.sentence
    # A single document gives no interval.
    alone = causes.on_a_later_token(rows.assign(conf_low=np.nan, conf_high=np.nan), 4)
    assert "changes the next by 0.01% in layer 9, −0.03% in layer 29; " in alone.sentence
