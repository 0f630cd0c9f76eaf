"""Verdicts on claims about sizes, model by model: whether each holds, fails or is undecided.

A claim is about the means of coefficients over the layers of one model at one site. Its interval
comes from what each document adds to these means (CR2), so it includes the choice of the
documents; models are taken as given. The claim about training has the jackknife of the difference
over the documents of the control, and their degrees of freedom.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression.across_models.comparison import STUDY_KEYS, Profile
from attnlag.regression.settings import Errors

HOLDS = "holds"
FAILS = "fails"
OPEN = "undecided"

CLAIM_COLUMNS = [*STUDY_KEYS, "claim", "value", "std_error", "conf_low", "conf_high"]
CLAIM_COLUMNS += ["level", "verdict"]

# Names of claims, of which `attnlag.wording` has the sentences.
POSITIVE = "lag_1_positive"
ABOVE_BOUND = "lag_1_above_bound"
ABOVE_LAG_2 = "lag_1_above_lag_2"
ABOVE_RANDOM_ORDER = "lag_1_above_random_order"
DEEPER = "lag_1_larger_in_deeper_half"
# A claim about several scales of the weights before training, so that it is not about one number.
# Larger weights than the model's own leave no lag.
TRAINING = "lag_1_below_untrained"


def mean(profile: Profile, term: str, layers: slice = slice(None)) -> np.ndarray:
    """Return the mean of a coefficient over fitted layers, then what documents add to its error.

    The result is (1 + documents,); all NaN if no layer is fitted.
    """
    numbers = np.concatenate([profile.estimate[None], profile.scores])
    by_layer = numbers[:, layers, profile.terms.index(term)]
    return by_layer[:, np.isfinite(by_layer[0])].mean(axis=1)


def smallest_df(profile: Profile, term: str) -> float:
    """Return the degrees of freedom of a coefficient in the layer that has fewest."""
    return float(np.nanmin(profile.df[:, profile.terms.index(term)]))


def contrasts(
    profile: Profile, uncorrected: Profile, controls: pd.DataFrame, equivalence_bound: float
) -> dict[str, tuple[np.ndarray, float, float]]:
    """Return the numbers of each claim by its name.

    These are means or differences, what they exceed, and degrees of freedom. The means are (1 +
    documents,) as `mean` returns them, and what they exceed is NaN without a permutation. Fits to
    permuted tokens are not corrected for bias, so they are compared with the ``uncorrected`` ones.
    """
    middle = len(profile.estimate) // 2
    lag_1 = mean(profile, "lag_1")
    lag_2 = mean(profile, "lag_2")
    early = mean(profile, "lag_1", slice(middle))
    late = mean(profile, "lag_1", slice(middle, None))
    permuted = np.nan
    if "permuted_mean" in controls:
        permuted = controls.loc[controls["term"] == "lag_1", "permuted_mean"].mean()
    df = smallest_df(profile, "lag_1")
    return {
        POSITIVE: (lag_1, 0, df),
        ABOVE_BOUND: (lag_1, equivalence_bound, df),
        ABOVE_LAG_2: (lag_1 - lag_2, 0, df),
        ABOVE_RANDOM_ORDER: (
            mean(uncorrected, "lag_1"),
            permuted,
            smallest_df(uncorrected, "lag_1"),
        ),
        DEEPER: (late - early, 0, df),
    }


def claims_of_study(
    keys: Mapping[str, str],
    profile: Profile,
    uncorrected: Profile,
    controls: pd.DataFrame,
    before: pd.DataFrame,
    settings: Errors,
) -> pd.DataFrame:
    """Return the verdict on each claim in one study, a row each.

    A claim holds if the interval of its value is above zero, fails if it is below, and is undecided
    if the interval has zero. Claims about lags or controls that the study lacks have no row, nor
    have those about an untrained model whose norms do not vary. ``uncorrected`` is the profile
    without correction for bias, and ``before`` the comparison with random weights, with intervals
    of the same level.
    """
    rows = []
    if {"lag_1", "lag_2"} <= set(profile.terms):
        claimed = contrasts(profile, uncorrected, controls, settings.equivalence_bound)
        for claim, ((value, *scores), bound, df) in claimed.items():
            value = value - bound
            error = float(np.linalg.norm(scores))
            low, high = Estimates(value, error, df).interval(settings.alpha)
            rows.append((claim, value, error, low, high))
        rows += [] if before.empty else _training(before)
    known = [row for row in rows if np.isfinite(row[1:]).all()]
    level = level_of(settings.alpha)
    return pd.DataFrame(
        [(*keys.values(), *row, level, _verdict(*row[-2:])) for row in known],
        columns=CLAIM_COLUMNS,
    )


def _verdict(low: float, high: float) -> str:
    """Return the verdict on a claim, given the interval of its value."""
    if low > 0:
        return HOLDS
    return FAILS if high < 0 else OPEN


def _training(before: pd.DataFrame) -> list[tuple]:
    """Return the claim about training, at the scale where it has least support.

    A claim about several scales holds if it holds at that one, without correction for their number
    (an intersection-union test; Berger 1982). Nothing is said if norms are constant at a scale.
    """
    drawn = (before["left_out"] == "") & ~before["above_own"].astype(bool)
    scales = before[drawn & (before["quantity"] == "lag_1")]
    numbers = ["difference", "std_error", "conf_low", "conf_high"]
    if scales.empty or scales[numbers].isna().any(axis=None):
        return []
    return [(TRAINING, *scales.sort_values("conf_low", kind="stable")[numbers].iloc[0])]
