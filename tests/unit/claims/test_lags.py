"""Claims about lags and effects: value, interval, baseline, verdict and sentence."""

import numpy as np
import pandas as pd
import pytest

from attnlag.claims import causes, lags

FITS = pd.DataFrame({"layer": range(4), "n_documents": 20})


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


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.2, 0.1, 0.3), "Yes"),
        ((-0.2, -0.3, -0.1), "No, a small one"),
        ((0.01, -0.02, 0.04), "No"),
        ((0.04, -0.01, 0.1), "Hardly"),
    ],
)
def test_the_verdict_comes_from_the_interval(interval, verdict):
    claim = lags.size(COEFFICIENTS, "lag_1", median(*interval), FITS, 0.05)
    assert claim.verdict == verdict
    assert claim.value == interval[0]


def test_sizes_count_layers_and_few_documents_speak_for_themselves():
    first = lags.size(COEFFICIENTS, "lag_1", median(0.2, 0.1, 0.3), FITS, 0.05)
    assert first.sentence == "above 0.05 in 2 of 4 layers, below −0.05 in 1"
    assert first.interval == "0.10 to 0.30"
    second = lags.size(COEFFICIENTS, "lag_2", median(0.03), FITS.assign(n_documents=3), 0.05)
    assert second.sentence == "above 0.05 in 1 of 4 layers, shown to be smaller in size in 2"
    assert second.interval == ""
    assert second.verdict == "No in these 3 texts"


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


@pytest.mark.parametrize(
    ("shares", "documents", "verdict"),
    [
        ([(-0.1, 0.2), (0.0, 0.1)], 13, "Hardly"),
        ([(0.3, 0.6), (-0.9, -0.4)], 13, "In part"),
        ([(-0.1, 0.2), (0.1, 0.6)], 13, "Hardly in 1, undecided in 1 of 2 layers"),
        ([(-0.1, 0.2), (0.0, 0.1)], 3, "Too few documents to tell"),
    ],
)
def test_an_effect_is_judged_by_the_intervals_of_its_share(shares, documents, verdict):
    rows = pd.DataFrame(shares, columns=["share_low", "share_high"])
    rows = rows.assign(target_layer=[9, 29], estimate=[0.01, -0.03], coefficient=[0.1, 0.34])
    rows = rows.assign(conf_low=-0.05, conf_high=0.04, documents=documents, lag=1)
    rows = rows.assign(predicted=0.5, predicted_conf_low=[np.nan, -0.2], predicted_conf_high=0.8)
    claim = causes.on_a_later_token(rows, 4)
    assert claim.verdict == verdict
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
