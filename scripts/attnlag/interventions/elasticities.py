"""Elasticities with intervals, from the sums of effects of each document.

An elasticity is a ratio of sums over documents, Σ Y_g / Σ N_g, with the effects Y_g of document g
and its number of tokens N_g. Its errors are clustered by document (`means.RatioSums`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from attnlag.interventions.cross_layer import PAIR_KEYS, PREDICTIVE_COLUMNS
from attnlag.interventions.factors import FACTORS
from attnlag.quantities.estimates import Estimates, level_of
from attnlag.quantities.means import RatioSums
from attnlag.regression.settings import ElasticitiesSettings

EFFECT_KEYS = ["source_site", "target_site", "intervention", "lag"]
LAYERS = ["source_layer", "target_layer"]
SHARES = ["share", "share_low", "share_high", "documents_to_decide"]

# The columns of `Estimate` of a prediction.
PREDICTED = ["predicted", "predicted_std_error", "predicted_df", "predicted_documents"]

# Below this share of what is predicted, an effect hardly makes it.
PART = 0.25


def ratios(effects: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray, RatioSums]:
    """Return the ratio of sums over documents of the effects that some columns distinguish.

    These are the values of the columns, a row each in their order; the ratios, (rows,), NaN without
    tokens; and the sums about them, of as many.
    """
    groups = effects.groupby(list(by), dropna=False, observed=True)
    cells = groups.size().index.to_frame(index=False)
    by_document = effects.groupby([groups.ngroup(), effects["document"]], observed=True)
    sums = by_document[["effect_sum", "positions"]].sum()
    total = sums["effect_sum"].to_numpy(float)
    rows = sums["positions"].to_numpy(float)
    cell = sums.index.get_level_values(0).to_numpy()
    estimate = RatioSums.of(total, rows, cell).mean
    return cells, estimate, RatioSums.of(total - estimate[cell] * rows, rows, cell)


def elasticities_table(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the effect per token of each source on each target, by intervention.

    The effect is the elasticity for the derivative, the arc elasticity Δ log‖a‖ / log α for a
    multiple α of the adjustment, and the mean change for the other finite interventions.
    ``effects`` are sums by document over all shards, see ``interventions.effects.EFFECTS_SCHEMA``.
    """
    return _with_df(effects, settings).drop(columns="df")


def _with_df(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the table of `elasticities_table` with the degrees of freedom of each effect."""
    # The prediction of the next token belongs to no layer.
    effects = effects.assign(target_layer=effects["target_layer"].fillna(-1).astype(int))
    # Interventions are in the order in which they come.
    kinds = effects.groupby(EFFECT_KEYS, sort=False, observed=True).ngroup()
    cells, estimate, sums = ratios(effects.assign(kind=kinds), ["kind", *EFFECT_KEYS, *LAYERS])
    # A ratio that is equal in all documents, such as 1 or 0 by definition, has only rounding error.
    error = sums.std_error
    error = np.where(error < 1e-12 * np.maximum(1, np.abs(estimate)), 0.0, error)
    low, high = Estimates(estimate, error, sums.df).interval(settings.alpha)
    # The effect of scaling on a norm is stated per per cent of the scale.
    factor = np.ones(len(cells))
    for name, scale in FACTORS.items():
        scaled = (cells["intervention"] == name) & (cells["target_layer"] >= 0)
        factor[scaled] = np.log(scale)
    # Division by a negative number exchanges the ends of the interval.
    ends = np.sort([low / factor, high / factor], axis=0)
    layer = cells["target_layer"].astype("Int64")
    cells["target_layer"] = layer.where(layer >= 0)
    keys = ["source_site", "source_layer", "target_site", "target_layer", "lag", "intervention"]
    return cells[keys].assign(
        estimate=estimate / factor,
        std_error=error / np.abs(factor),
        conf_low=ends[0],
        conf_high=ends[1],
        level=level_of(settings.alpha),
        df=sums.df,
        documents=sums.clusters.astype(int),
        positions=sums.rows.astype(int),
    )


def over_sources(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the sum of the elasticities over all source layers, by target and lag.

    The sum is the effect on a token if the adjustments of one token before it grow by the same
    proportion in all layers. Its degrees of freedom, ``df``, are one fewer than the effective
    number of documents.
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
    return _with_df(summed.assign(**filled), settings).drop(columns=list(filled))


def beside_predictions(
    summed: pd.DataFrame,
    predicted: pd.DataFrame,
    coefficients: Mapping[str, pd.DataFrame],
    alpha: float,
) -> pd.DataFrame:
    """Return sums over sources beside what two regressions predict.

    One regression, that of `cross_layer.joint_predictions`, has what is intervened on, the norms of
    all preceding layers at one token: ``share`` is the effect divided by its prediction, with the
    interval of `share_interval`. ``documents_to_decide`` is the number of `documents_to_decide`.
    The other regression is that of the target layer on itself, ``coefficients`` by target site.
    """
    keys = ["target_site", "target_layer", "lag"]
    table = summed.merge(predicted, on=["source_site", *keys], how="left", sort=False)
    df = table["predicted_df"].to_numpy(float)
    predictions = Estimates(table["predicted"], table["predicted_std_error"], df)
    low, high = predictions.interval(alpha)
    table["predicted_conf_low"] = low
    table["predicted_conf_high"] = high
    table = table.merge(_lags(coefficients), on=keys, how="left", sort=False)
    shares = []
    numbers: list[dict[Any, Any]] = table.to_dict("records")
    for row in numbers:
        effect = Estimate(row["estimate"], row["std_error"], row["df"], row["documents"])
        prediction = Estimate(*(row[name] for name in PREDICTED))
        low, high = share_interval(effect, prediction, alpha)
        needed = np.nan
        if not decided(low, high):
            needed = documents_to_decide(effect, prediction, alpha)
        shares.append((effect.value / prediction.value, low, high, needed))
    table[SHARES] = pd.DataFrame(shares, columns=SHARES, index=table.index, dtype=float)
    return table.drop(columns=["df", "predicted_documents"])


def _lags(coefficients: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the lags of layers on themselves, by site, layer and distance."""
    names = {"estimate": "coefficient", "std_error": "coefficient_std_error"}
    names |= {end: f"coefficient_{end}" for end in ("conf_low", "conf_high")}
    columns = ["target_site", "target_layer", "lag", "regression", *names.values()]
    found = [pd.DataFrame(columns=columns).astype({"target_layer": int, "lag": int})]
    for site, table in coefficients.items():
        lags = table[table["term"].str.fullmatch(r"lag_\d+")]
        distances = lags["term"].str.removeprefix("lag_").astype(int)
        lags = lags.assign(target_site=site, lag=distances)
        found.append(lags.rename(columns={"layer": "target_layer", **names})[columns])
    return pd.concat(found) if len(found) == 1 else pd.concat(found[1:])


class Estimate(NamedTuple):
    """An estimate with its clustered error; NaN if it is unknown."""

    value: float
    std_error: float
    df: float
    documents: float


def share_interval(effect: Estimate, prediction: Estimate, alpha: float) -> tuple[float, float]:
    """Return the interval of an effect divided by its prediction, by Fieller's theorem.

    It has the ratios ρ for which E - ρ P may be zero, (E - ρ P)² ≤ t² (v_E + ρ² v_P), with the
    smaller of the degrees of freedom. The two are regarded as independent, because the effects
    come from few tokens. The ends are NaN if the prediction may be zero: no ratio is then excluded
    for its size.
    """
    t = special.stdtrit(np.fmin(effect.df, prediction.df), 1 - alpha / 2)
    squared = prediction.value**2 - (t * prediction.std_error) ** 2
    if not (squared > 0 and np.isfinite(effect.std_error)):
        return np.nan, np.nan
    product = effect.value * prediction.value
    remainder = effect.value**2 - (t * effect.std_error) ** 2
    root = np.sqrt(np.maximum(product**2 - squared * remainder, 0))
    return (product - root) / squared, (product + root) / squared


def decided(low: float, high: float) -> bool:
    """Return whether an interval of a share lies within ± `PART` or outside it."""
    return (low > -PART and high < PART) or low > PART or high < -PART


def documents_to_decide(effect: Estimate, prediction: Estimate, alpha: float) -> float:
    """Return in how many documents effects decide about a share, if both estimates are the truth.

    Errors shrink with the root of the number of documents. If effects in all documents of the
    prediction do not decide, it is the number of documents that both need; NaN without errors.
    """
    if not np.isfinite([effect.std_error, prediction.std_error]).all():
        return np.nan
    z = special.ndtri(1 - alpha / 2)
    # Variances of a single document, in units of the squared quantile.
    effect_variance = z**2 * effect.std_error**2 * effect.documents
    variance = z**2 * prediction.std_error**2 * prediction.documents
    needed = []
    for bound in (-PART, PART):
        distance = (effect.value - bound * prediction.value) ** 2
        # What the error of the prediction leaves of it.
        left = distance - bound**2 * variance / prediction.documents
        documents = np.inf
        if left > 0:
            documents = effect_variance / left
        if documents > prediction.documents:
            with np.errstate(divide="ignore"):
                documents = (effect_variance + bound**2 * variance) / np.float64(distance)
        needed.append(documents)
    with np.errstate(divide="ignore"):
        needed.append(variance / np.float64(prediction.value) ** 2)
    if needed[-1] <= prediction.documents:
        needed.pop()
    return float(np.ceil(max(needed)))


def with_predictive(elasticities: pd.DataFrame, predictive: pd.DataFrame) -> pd.DataFrame:
    """Return elasticities beside the coefficients of `cross_layer.single_predictions`.

    ``predictive`` has the columns of its table and the sites. Finite interventions have none.
    """
    merged = elasticities.merge(predictive, on=PAIR_KEYS, how="left", sort=False)
    merged.loc[merged["intervention"] != "derivative", PREDICTIVE_COLUMNS] = np.nan
    return merged.astype(dict.fromkeys(PREDICTIVE_COLUMNS, float))
