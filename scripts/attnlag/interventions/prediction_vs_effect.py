"""How often the coefficients of a regression would mislead about what an adjustment causes.

Effects on later layers are measured by changing adjustments; within a layer they are zero. Each
pair of layers at one distance is therefore a trial: does the coefficient have the sign of the
effect, and are larger coefficients those of larger effects? Where most of them have one sign, signs
agree by chance in another share of the pairs than half.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from attnlag.interventions.elasticities import LAYERS, ratios
from attnlag.quantities.estimates import Estimates
from attnlag.regression.inference import multiple_tests
from attnlag.regression.settings import ElasticitiesSettings

TRIAL_KEYS = ["source_site", "target_site", "lag", "prediction"]

COUNTS = [
    "pairs",
    "clear",
    "same_sign",
    "by_chance",
    "rank_correlation",
    "significant",
]

# Predictions of an effect: from the source's norm alone, and with the norm of the source layer at
# the target's own token held fixed.
ALONE = "alone"
GIVEN = "given"
# Lag 1, 2, … of a layer on itself: nothing is caused.
SAME = "same layer"


def pair_trials(
    effects: pd.DataFrame,
    elasticities: pd.DataFrame,
    settings: ElasticitiesSettings,
) -> pd.DataFrame:
    """Compare predictions with effects on later layers, by pair of sites and distance.

    ``effects`` are sums by document, ``elasticities`` from `elasticities.with_predictive`. Pairs of
    layers are ``clear`` if their effect differs from zero after Holm's correction over the pairs.
    """
    rows = []
    keys = TRIAL_KEYS[:3]
    sums = dict(list(_of_later_layers(effects).groupby(keys, observed=True)))
    for key, pairs in _of_later_layers(elasticities).groupby(keys, observed=True, sort=False):
        effect = pairs["estimate"].to_numpy(float)
        _, estimate, about = ratios(sums[key], LAYERS)
        p_values = Estimates(estimate, about.std_error, about.df).p_value
        differs = multiple_tests.adjusted_p_values(pd.Series(p_values), "holm") < settings.alpha
        df = pairs["predictive_df"].to_numpy(float)
        for prediction, name in ((ALONE, "predictive"), (GIVEN, "predictive_given")):
            coefficient, error = pairs[[name, f"{name}_std_error"]].to_numpy(float).T
            if np.isfinite(coefficient).sum() > 1:
                margin = Estimates(coefficient, error, df).margin(settings.alpha)
                counts = _counts(effect, coefficient, differs, np.abs(coefficient) > margin)
                rows.append((*key, prediction, *counts))
    return pd.DataFrame(rows, columns=[*TRIAL_KEYS, *COUNTS])


def _of_later_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the derivatives whose target layer comes after the source layer."""
    later = rows["source_layer"] < rows["target_layer"]
    return rows[(rows["intervention"] == "derivative") & later]


def _counts(
    effect: np.ndarray, coefficient: np.ndarray, differs: np.ndarray, significant: np.ndarray
) -> list[float]:
    """Return the `COUNTS` of one pair of sites, distance and prediction."""
    clear = differs & np.isfinite(coefficient)
    positive = effect[clear] > 0
    predicted_positive = coefficient[clear] > 0
    same = int((positive == predicted_positive).sum())
    by_chance = 0.0
    if clear.any():
        share = positive.mean()
        other = predicted_positive.mean()
        by_chance = clear.sum() * (share * other + (1 - share) * (1 - other))
    sizes = np.isfinite(coefficient) & np.isfinite(effect)
    # scipy.stats has Spearman's correlation too, but its import takes half a second.
    both = pd.DataFrame(np.abs([effect[sizes], coefficient[sizes]]).T)
    rank: Any = np.nan
    if len(both) > 3:
        rank = both.corr("spearman").iat[0, 1]
    return [
        len(effect),
        int(clear.sum()),
        same,
        by_chance,
        rank,
        int(significant.sum()),
    ]


def same_layer_trials(coefficients: Mapping[str, pd.DataFrame], alpha: float) -> pd.DataFrame:
    """Return the counts of lags of a layer on itself, whose effect is zero by construction.

    Significance is corrected over the layers.
    """
    rows = []
    for site, table in coefficients.items():
        lags = table[table["term"].str.fullmatch(r"lag_\d+") & table["p_adjusted"].notna()]
        for term, layers in lags.groupby("term", sort=False):
            significant = int((layers["p_adjusted"] < alpha).sum())
            lag = int(str(term).removeprefix("lag_"))
            keys = dict(zip(TRIAL_KEYS, (site, site, lag, SAME), strict=True))
            rows.append(keys | {"pairs": len(layers), "clear": 0, "significant": significant})
    return pd.DataFrame(rows, columns=[*TRIAL_KEYS, *COUNTS])
