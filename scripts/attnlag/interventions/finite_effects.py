"""What finite changes of an adjustment do to later layers, and whether small changes foretell it.

The change of log norms is averaged over all layers after the changed one. Halving and doubling are
also compared with a change of 2%, of the same adjustments: where effects are proportional to the
change of the logarithm, the arc elasticities h of a change equal the elasticities s of the small
one. The ratio is the slope of h on s through the origin, Σ h s / Σ s², over documents and layers,
with the errors of a ratio of sums (`means.RatioSums`).
"""

import numpy as np
import pandas as pd

from attnlag.interventions.elasticities import ratios
from attnlag.interventions.factors import FACTORS, SMALL
from attnlag.quantities.estimates import Estimates, level_of
from attnlag.quantities.means import RatioSums
from attnlag.regression.inference import multiple_tests
from attnlag.regression.settings import ElasticitiesSettings

KEYS = ["source_site", "source_layer", "target_site", "intervention", "lag"]
MEANS = ["estimate", "std_error", "conf_low", "conf_high", "level", "layers", "clear"]
RATIOS = ["ratio", "ratio_low", "ratio_high"]
COLUMNS = [*KEYS, *MEANS, *RATIOS, "documents", "positions"]


def finite_effects(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the mean effect of each finite intervention on later layers.

    ``effects`` are sums by document over all shards. There is a row per source, site of the
    targets, intervention and distance; ``clear`` is the number of layers whose effect differs from
    zero after Holm's correction over the layers. Intervals are NaN with a single document, and
    ``ratio`` for interventions that do not multiply the adjustment.
    """
    later = _on_later_layers(effects)
    small = later[later["intervention"] == SMALL]
    rows = []
    for key, group in later.groupby(KEYS, observed=True, sort=False):
        by_document = group.groupby("document", observed=True)[["effect_sum", "positions"]].sum()
        sums = RatioSums.of(*by_document.to_numpy(float).T)
        low, high = sums.estimates.interval(settings.alpha)
        _, estimates, layers = ratios(group, ["target_layer"])
        p_values = Estimates(estimates, layers.std_error, layers.df).p_value
        adjusted = multiple_tests.adjusted_p_values(pd.Series(p_values), "holm")
        row = dict(zip(KEYS, key, strict=True))
        row["estimate"] = float(sums.mean)
        row["std_error"] = float(sums.std_error)
        row["conf_low"] = float(low)
        row["conf_high"] = float(high)
        row["level"] = level_of(settings.alpha)
        row["layers"] = len(estimates)
        row["clear"] = int((adjusted < settings.alpha).sum())
        row |= dict(zip(RATIOS, _ratio(group, small, settings.alpha), strict=True))
        row["documents"] = int(sums.clusters)
        row["positions"] = int(group.groupby("document", observed=True)["positions"].max().sum())
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _on_later_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of finite interventions whose target is a layer after the source's."""
    later = rows["target_layer"] > rows["source_layer"]
    return rows[later.fillna(False).astype(bool) & (rows["intervention"] != "derivative")]


def _ratio(changed: pd.DataFrame, small: pd.DataFrame, alpha: float) -> tuple[float, float, float]:
    """Return the slope of arc elasticities on those of small changes, and its interval."""
    name = str(changed["intervention"].iloc[0])
    if name == SMALL or name not in FACTORS:
        return np.nan, np.nan, np.nan
    keys = ["document", "source_site", "source_layer", "target_site", "target_layer", "lag"]
    pairs = changed.merge(small, on=keys, suffixes=("", "_small"))
    arc = pairs["effect_sum"] / pairs["positions"] / np.log(FACTORS[name])
    slope = pairs["effect_sum_small"] / pairs["positions_small"] / np.log(FACTORS[SMALL])
    products = pd.DataFrame({"crossed": arc * slope, "squared": slope**2})
    by_document = products.groupby(pairs["document"].astype(str))[["crossed", "squared"]].sum()
    sums = RatioSums.of(*by_document.to_numpy(float).T)
    low, high = sums.estimates.interval(alpha)
    return float(sums.mean), float(low), float(high)
