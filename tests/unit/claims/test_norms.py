"""Claims about norms, and about one lag in several studies, from numbers that are known."""

import numpy as np
import pandas as pd
import pytest

from attnlag import wording
from attnlag.claims import norms
from attnlag.claims.row import Row
from attnlag.claims.run import Claims
from attnlag.claims.side_by_side import lags_side_by_side, uncorrected


def test_norms_have_their_ends_and_the_extreme_between_them():
    medians = pd.Series([2.0, 0.5, 9.0, 3.0], index=[4, 5, 6, 7])
    ends, extreme = norms.by_layer(medians, "relative")
    assert (ends.baseline_value, ends.value, ends.layers) == (2.0, 3.0, 4)
    assert ends.subject == "layer 4, layer 7, relative"
    # The largest is stated first.
    assert (extreme.subject, extreme.value, extreme.baseline) == ("layer 6", 9.0, "largest")
    assert wording.title([ends, extreme]) == (
        "Relative to the stream, they go from 2 to 3, largest in layer 6 (9)"
    )
    (alone,) = norms.by_layer(medians[[4]], "norm")
    assert (alone.baseline_value, alone.value) == (2.0, 2.0)
    assert norms.by_layer(medians * np.nan, "norm") == []


def test_a_drift_is_the_change_of_the_mean_norm_from_the_first_row_to_the_last():
    logs = pd.DataFrame({2: [0.0, 5.0, 0.1], 3: [1.0, 5.0, 0.8], 8: [0.0, 0.0, np.nan]})
    (drift,) = norms.position_drift(logs, "1", "27–29")
    changes = np.exp([0.1, -0.2]) - 1
    assert drift.value == pytest.approx(np.median(changes))
    assert (drift.baseline_low, drift.baseline_high) == pytest.approx((changes[1], changes[0]))
    assert drift.subject == "1, 27–29, layer 3, layer 2"
    assert wording.title([drift]) == (
        "From position 1 to 27–29, the mean norm of a layer changes by −18% (layer 3) to +11% "
        "(layer 2)"
    )
    assert norms.position_drift(logs.iloc[:1], "1", "1") == []
    assert norms.position_drift(logs[[8]], "1", "3") == []


def test_slopes_over_surprisal_stand_beside_the_widest_ends_of_random_order():
    slopes = pd.Series([0.02, -0.01, 0.0], index=[1, 2, 3])
    low, high = pd.Series([-0.002, -0.004, 0.0]), pd.Series([0.001, 0.0, 0.003])
    rows = norms.surprisal_slopes(slopes, low, high)
    assert rows[0].value == 0.0
    assert wording.title(rows, joined="; ") == (
        "One more nat of surprisal changes the norm by −1.0% (layer 2) to +2.0% (layer 1); in "
        "random order, by −0.4% to +0.3%"
    )


def test_variance_between_classes_stands_beside_that_by_chance():
    row = norms.variance_between(pd.Series([0.1, 0.3, 0.25]), classes=5, tokens=101)
    assert (row.value, row.baseline_value) == (0.25, 0.04)
    assert wording.title([row]) == (
        "Parts of speech explain 10% to 30% of the variance of log norms, depending on the layer "
        "(by chance 4.0%)"
    )


def studies(**lags):
    """Return claims by study of a lag between 0 and 1, none where the lag is None."""
    found = {}
    for name, lag in lags.items():
        extremes = Row("lag_range", "lag_1", baseline_low=0.0, baseline_high=1.0)
        found[name] = Claims(() if lag is None else (Row("lag", "lag_1", value=lag), extremes))
    return found


def test_lags_stand_side_by_side_and_of_many_the_extremes():
    rows = lags_side_by_side("lag_1", studies(a=0.2, b=None, c=0.3))
    assert [(row.subject, row.value) for row in rows] == [("lag_1, a", 0.2), ("lag_1, c", 0.3)]
    assert wording.title(rows, heading=wording.LAGS_SIDE_BY_SIDE) == (
        "Lag 1, median (range) over the layers: a 0.20 (0.00 to 1.00), c 0.30 (0.00 to 1.00)"
    )
    rows = lags_side_by_side("lag_1", studies(a=0.2, b=0.5, c=-0.3, d=0.1))
    assert [(row.subject, row.baseline) for row in rows] == [
        ("lag_1, c", "smallest"),
        ("lag_1, b", "largest"),
    ]
    assert lags_side_by_side("lag_2", studies(a=0.2)) == []


def test_layers_are_counted_without_correction_for_each_lag():
    table = pd.DataFrame({"layer": [0, 1, 2] * 2, "term": ["lag_1"] * 3 + ["lag_2"] * 3})
    table["p_value"] = [0.01, 0.04, 0.05, 0.2, 0.001, np.nan]
    rows = uncorrected(table, ["lag_1", "lag_2"], alpha=0.05)
    assert [(row.above, row.layers, row.value) for row in rows] == [(2, 3, 0.01), (1, 3, 0.001)]
    assert wording.title(rows, heading=wording.UNCORRECTED) == (
        "Layers with p < 0.05, of 3 (not corrected for their number): 2 for lag 1, 1 for lag 2"
    )
