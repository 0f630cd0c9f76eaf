"""Elasticities with intervals, from the sums of effects of each document.

An elasticity is a ratio of sums over documents, Σ Y_g / Σ N_g, with the effects Y_g of document g
and its number of tokens N_g. Its errors are clustered by document (`means.RatioSums`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from attnlag.interventions.cross_layer import PREDICTIVE, PREDICTIVE_KEYS
from attnlag.interventions.settings import FACTORS
from attnlag.quantities.means import RatioSums
from attnlag.regression.settings import ElasticitiesSettings

EFFECT_KEYS = ["source_site", "target_site", "intervention", "lag"]
LAYERS = ["source_layer", "target_layer"]


def ratios(effects: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray, RatioSums]:
    """Return the ratio of sums over documents of the effects that some columns distinguish.

    These are the values of the columns, in their order; the ratios; and the sums about them.
    """
    groups = effects.groupby(list(by), dropna=False, observed=True)
    cells = groups.size().index.to_frame(index=False)
    by_document = effects.groupby([groups.ngroup(), effects["document"]], observed=True)
    sums = by_document[["effect_sum", "positions"]].sum()
    (total, rows), cell = sums.to_numpy(float).T, sums.index.get_level_values(0).to_numpy()
    estimate = RatioSums.of(total, rows, cell).mean
    return cells, estimate, RatioSums.of(total - estimate[cell] * rows, rows, cell)


def table(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the effect per token of each source on each target, by intervention.

    The effect is the elasticity for the derivative, the arc elasticity Δ log‖a‖ / log α for a
    multiple α of the adjustment, and the mean change for the other finite interventions.
    ``effects`` are sums by document over all shards, see ``interventions.effects.EFFECTS_SCHEMA``.
    """
    # The prediction of the next token belongs to no layer.
    effects = effects.assign(target_layer=effects["target_layer"].fillna(-1).astype(int))
    # Interventions are in the order in which they come.
    kinds = effects.groupby(EFFECT_KEYS, sort=False, observed=True).ngroup()
    cells, estimate, sums = ratios(effects.assign(kind=kinds), ["kind", *EFFECT_KEYS, *LAYERS])
    # A ratio that is equal in all documents, such as 1 or 0 by definition, has only rounding error.
    error = sums.std_error
    error = np.where(error < 1e-12 * np.maximum(1, np.abs(estimate)), 0.0, error)
    margin = special.stdtrit(sums.df, 1 - settings.alpha / 2) * error
    # The effect of scaling on a norm is stated per per cent of the scale.
    factor = np.ones(len(cells))
    for name, scale in FACTORS.items():
        scaled = (cells["intervention"] == name) & (cells["target_layer"] >= 0)
        factor[scaled] = np.log(scale)
    # Division by a negative number exchanges the ends of the interval.
    ends = np.sort([(estimate - margin) / factor, (estimate + margin) / factor], axis=0)
    layer = cells["target_layer"].astype("Int64")
    cells["target_layer"] = layer.where(layer >= 0)
    keys = ["source_site", "source_layer", "target_site", "target_layer", "lag", "intervention"]
    return cells[keys].assign(
        estimate=estimate / factor,
        std_error=error / np.abs(factor),
        conf_low=ends[0],
        conf_high=ends[1],
        documents=sums.clusters.astype(int),
        positions=sums.rows.astype(int),
    )


def over_sources(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the sum of the elasticities over all source layers, by target and lag.

    The sum is the effect on a token if the adjustments of one token before it grow by the same
    proportion in all layers.
    """
    # At distance 0, the effect of a source on itself is trivial.
    later_effects = effects[(effects["intervention"] == "derivative") & (effects["lag"] > 0)]
    keys = ["source_site", "target_site", "target_layer", "lag", "document"]
    summed = (
        later_effects.groupby(keys, sort=False, observed=True)
        .agg(effect_sum=("effect_sum", "sum"), positions=("positions", "max"))
        .reset_index()
        .astype({"target_layer": int})
    )
    filled: dict[str, Any] = {"source_layer": 0, "intervention": "derivative"}
    return table(summed.assign(**filled), settings).drop(columns=list(filled))


def beside_predictions(
    summed: pd.DataFrame,
    predicted: pd.DataFrame,
    coefficients: Mapping[str, pd.DataFrame],
    alpha: float,
) -> pd.DataFrame:
    """Return sums over sources beside what two regressions predict.

    One regression, that of `cross_layer.together`, has what is intervened on, all preceding layers
    of the same tokens. The other, of the target layer on itself over all documents, is by
    target site: the ``share`` is the effect divided by its coefficient. Its error is that of the
    delta method, with the two regarded as independent, because the effects come from few of the
    documents. NaN if the coefficient's interval has zero.
    """
    names = {"estimate": "coefficient", "std_error": "coefficient_std_error"}
    names |= {end: f"coefficient_{end}" for end in ("conf_low", "conf_high")}
    keys = ["target_site", "target_layer", "lag"]
    lags = [
        rows.assign(target_site=site, lag=rows["term"].str.removeprefix("lag_").astype(int))
        for site, of_site in coefficients.items()
        for rows in [of_site[of_site["term"].str.fullmatch(r"lag_\d+")]]
    ]
    table = summed.merge(predicted, on=["source_site", *keys], how="left", sort=False)
    df = table["predicted_df"].to_numpy(float)
    reach = special.stdtrit(df, 1 - alpha / 2) * table["predicted_std_error"]
    table["predicted_conf_low"] = table["predicted"] - reach
    table["predicted_conf_high"] = table["predicted"] + reach
    if lags:
        beside = pd.concat(lags).rename(columns={"layer": "target_layer", **names})
        beside = beside[[*keys, "regression", *names.values()]]
        table = table.merge(beside, on=keys, how="left", sort=False)
    else:
        table = table.assign(regression=None, **dict.fromkeys(names.values(), np.nan))
    apart_from_zero = table["coefficient_conf_low"] * table["coefficient_conf_high"] > 0
    slope = table["coefficient"].where(apart_from_zero)
    share = table["estimate"] / slope
    error_of_slope = (share * table["coefficient_std_error"]).astype(float)
    spread = np.hypot(table["std_error"].astype(float), error_of_slope) / slope.abs()
    df = np.maximum(table["documents"].to_numpy(float) - 1, 1)
    reach = special.stdtrit(df, 1 - alpha / 2) * spread
    return table.assign(share=share, share_low=share - reach, share_high=share + reach)


def with_predictive(
    elasticities: pd.DataFrame, predictions: Mapping[tuple[str, str], pd.DataFrame]
) -> pd.DataFrame:
    """Return elasticities beside the coefficients of the regression across layers.

    ``predictions`` are tables of `cross_layer.cross_layer`, by source and target site.
    """
    if not predictions:
        return elasticities.assign(**dict.fromkeys([*PREDICTIVE, "predictive_df"], np.nan))
    sites = ["source_site", "target_site"]
    tables = pd.concat(predictions, names=sites).reset_index(sites)
    merged = elasticities.merge(tables, on=[*sites, *PREDICTIVE_KEYS], how="left", sort=False)
    # The regression is not comparable with finite interventions.
    merged.loc[merged["intervention"] != "derivative", PREDICTIVE] = np.nan
    return merged
