"""Elasticities with intervals, from the sums of effects of each document.

An elasticity is a ratio of sums over documents, Σ Y_g / Σ N_g, with the effects Y_g of document g
and its number of tokens N_g. Its errors are clustered by document (`clustered.RatioSums`). Joint
bands cover all pairs of layers at one distance simultaneously: their critical value is that of
max |θ* - θ| / error* over draws of whole documents, each with its own errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from attnlag.regression.bootstrap import critical_value, studentised, weights_of_draws
from attnlag.regression.clustered import RatioSums
from attnlag.regression.settings import FEWEST_DOCUMENTS, ElasticitiesSettings

CELL = ["source_site", "target_site", "intervention", "alpha", "lag"]
LAYERS = ["source_layer", "target_layer"]

PREDICTIVE = [
    f"predictive{given}{error}" for given in ("", "_given") for error in ("", "_std_error")
]


def ratios(
    effects: np.ndarray, counts: np.ndarray, alpha: float, draws: int, seed: int
) -> pd.DataFrame:
    """Return ratios of sums over documents with pointwise and joint intervals.

    Parameters
    ----------
    effects, counts : (documents, cells) float array
        Sums of effects, and the number of tokens in each sum.
    alpha : float
        Intervals cover 1 - ``alpha``.
    draws, seed : int
        Number of draws and seed of the bootstrap of documents; without draws, or with fewer than
        ``FEWEST_DOCUMENTS``, there are no joint intervals.

    Returns
    -------
    pandas.DataFrame
        ``estimate``, ``std_error``, ``conf_low``, ``conf_high``, ``joint_low``, ``joint_high``,
        ``documents`` and ``positions``, a row per cell.
    """
    estimate = RatioSums.of(effects, counts).mean
    apart = effects - estimate * counts
    sums = RatioSums.of(apart, counts)
    error = sums.std_error
    # A ratio that is equal in all documents, such as 1 or 0 by definition, has only rounding error.
    exact = error < 1e-12 * np.maximum(1, np.abs(estimate))
    error = np.where(exact, 0.0, error)
    half = stats.t.ppf(1 - alpha / 2, sums.df) * error
    varying = ~exact & np.isfinite(error)
    critical = np.nan
    if draws and varying.any() and len(effects) >= FEWEST_DOCUMENTS:
        apart, own = apart[:, varying], counts[:, varying]
        drawn = [_t_of_draws(w, apart, own) for w in weights_of_draws(len(effects), draws, seed)]
        critical = critical_value(np.concatenate(drawn), alpha)
    # Joint bands contain the pointwise intervals.
    joint = np.where(varying, np.maximum(critical * error, half), half)
    joint = np.where(np.isfinite(critical) | exact, joint, np.nan)
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - half,
            "conf_high": estimate + half,
            "joint_low": estimate - joint,
            "joint_high": estimate + joint,
            "documents": sums.clusters.astype(int),
            "positions": sums.rows.astype(int),
        }
    )


def _t_of_draws(weights: np.ndarray, apart: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return |t*| of ratios in draws of documents, (draws, cells), without draws that lack a cell.

    ``apart``, (documents, cells), holds Y_g - θ N_g, and ``counts`` N_g; in a draw, a document
    counts as many times as it is drawn.
    """
    sums = RatioSums.of(apart, counts, weights)
    known = (sums.rows > 0).all(axis=1)
    return studentised(sums.mean[known], sums.std_error[known])


def table(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the effect per token of each source on each target, by intervention.

    The effect is the elasticity for the derivative, the arc elasticity Δ log‖a‖ / log α for
    scaling, and the mean change for the other finite interventions.

    Parameters
    ----------
    effects : pandas.DataFrame
        Sums by document over all shards, see ``interventions.effects.SCHEMA``.
    settings : ElasticitiesSettings
    """
    parts = []
    # The prediction of the next token belongs to no layer.
    effects = effects.assign(target_layer=effects["target_layer"].fillna(-1).astype(int))
    for key, rows in effects.groupby(CELL, sort=False, dropna=False, observed=True):
        layers = rows.drop_duplicates(LAYERS)[LAYERS].sort_values(LAYERS)
        cells = pd.MultiIndex.from_frame(layers)
        place = pd.Series(range(len(cells)), index=cells)
        columns = place.reindex(pd.MultiIndex.from_frame(rows[LAYERS])).to_numpy()
        documents, names = pd.factorize(rows["document"])
        sums, counts = np.zeros((2, len(names), len(cells)))
        np.add.at(sums, (documents, columns), rows["effect_sum"].to_numpy())
        np.add.at(counts, (documents, columns), rows["positions"].to_numpy())
        found = ratios(sums, counts, settings.alpha, settings.bootstrap, settings.seed)
        found = pd.concat([layers.reset_index(drop=True), found], axis=1)
        values: dict[str, Any] = dict(zip(CELL, key, strict=True))
        for name, value in values.items():
            found[name] = value
        parts.append(found)
    order = ["source_site", "source_layer", "target_site", "target_layer", "lag"]
    keys = [*order, "intervention", "alpha"]
    if not parts:
        none = np.zeros((0, 0))
        return pd.DataFrame(columns=[*keys, *ratios(none, none, 0.05, 0, 0).columns])
    whole = pd.concat(parts, ignore_index=True)
    layer = whole["target_layer"].astype("Int64")
    whole["target_layer"] = layer.where(layer >= 0)
    # The effect of scaling is stated per per cent of the scale.
    scaled = whole["intervention"] == "scale"
    of_norms = scaled & whole["target_layer"].notna()
    measured = ["estimate", "conf_low", "conf_high", "joint_low", "joint_high"]
    factor = np.log(whole.loc[of_norms, "alpha"])
    whole.loc[of_norms, measured] = whole.loc[of_norms, measured].div(factor, axis=0)
    whole.loc[of_norms, "std_error"] /= factor.abs()
    # Division by a negative number exchanges the ends of the interval.
    for low, high in (("conf_low", "conf_high"), ("joint_low", "joint_high")):
        whole[[low, high]] = np.sort(whole[[low, high]].to_numpy(), axis=1)
    return whole[[*keys, *(name for name in whole if name not in keys)]]


def by_part_of_speech(effects: pd.DataFrame, settings: ElasticitiesSettings) -> pd.DataFrame:
    """Return the effects of finite interventions on tokens of each part of speech.

    The columns are those of `table` without joint bands; ``upos`` comes first.
    """
    alone = replace(settings, bootstrap=0)
    finite = effects[effects["upos"].notna()]
    # Sorted by name: the order of categories is that of their first occurrence.
    parts = [
        table(rows, alone).assign(upos=tag)
        for tag, rows in finite.groupby(finite["upos"].astype(str))
    ]
    found = pd.concat(parts, ignore_index=True) if parts else table(finite, alone).assign(upos="")
    found = found.drop(columns=["joint_low", "joint_high"])
    return found[["upos", *found.columns.drop("upos")]]


def over_sources(
    effects: pd.DataFrame, settings: ElasticitiesSettings, *, over_targets: bool = False
) -> pd.DataFrame:
    """Return the sum of the elasticities over all source layers, by target and lag.

    The sum is the effect on a token if the adjustments of one token before it grow by the same
    proportion in all layers.

    Parameters
    ----------
    effects : pandas.DataFrame
        As in `table`.
    settings : ElasticitiesSettings
    over_targets : bool
        Whether to return the mean over the target layers instead of a row for each.
    """
    # At distance 0, the effect of a source on itself is trivial.
    chosen = effects[(effects["intervention"] == "derivative") & (effects["lag"] > 0)]
    keys = ["source_site", "target_site", "target_layer", "lag", "document"]
    summed = (
        chosen.groupby(keys, sort=False, observed=True)
        .agg(effect_sum=("effect_sum", "sum"), positions=("positions", "max"))
        .reset_index()
    )
    if over_targets:
        keys.remove("target_layer")
        summed = summed.groupby(keys, sort=False, observed=True).mean().reset_index()
    else:
        summed["target_layer"] = summed["target_layer"].astype(int)
    filled: dict[str, Any] = {"source_layer": 0, "intervention": "derivative", "alpha": np.nan}
    if over_targets:
        filled["target_layer"] = 0
    found = table(summed.assign(**filled), settings)
    return found.drop(columns=list(filled))


def beside_coefficients(
    summed: pd.DataFrame, coefficients: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return sums over sources beside the coefficients of a regression within each layer.

    Parameters
    ----------
    summed : pandas.DataFrame
        From `over_sources`.
    coefficients : mapping of str to pandas.DataFrame
        Tidy tables of all documents, by target site.
    """
    names = {"estimate": "coefficient", "std_error": "coefficient_std_error"}
    names |= {end: f"coefficient_{end}" for end in ("conf_low", "conf_high")}
    tables = [
        rows.assign(target_site=site, lag=rows["term"].str.removeprefix("lag_").astype(int))
        for site, whole in coefficients.items()
        for rows in [whole[whole["term"].str.fullmatch(r"lag_\d+")]]
    ]
    keys = ["target_site", "target_layer", "lag"]
    if not tables:
        return summed.assign(regression=None, **dict.fromkeys(names.values(), np.nan))
    beside = pd.concat(tables).rename(columns={"layer": "target_layer", **names})
    return summed.merge(
        beside[[*keys, "regression", *names.values()]], on=keys, how="left", sort=False
    )


@dataclass(frozen=True)
class Share:
    """The share of the association of neighbouring tokens that is transmitted.

    Attributes
    ----------
    source_site, target_site : str
    layers : list of int
        Target layers that the means are taken over.
    effect, effect_error : float
        Sum of the elasticities over all sources, at a distance of one token.
    smallest, largest : float
        Smallest and largest sum among the target layers.
    coefficient : float
        Coefficient of lag 1 of the regression; NaN if there is none.
    regression : str or None
    share, low, high : float
        Effect divided by coefficient, with its interval.
    documents : int
    """

    source_site: str
    target_site: str
    layers: list[int]
    effect: float
    effect_error: float
    smallest: float
    largest: float
    coefficient: float
    regression: str | None
    share: float
    low: float
    high: float
    documents: int


def shares(
    effects: pd.DataFrame, beside: pd.DataFrame, settings: ElasticitiesSettings
) -> list[Share]:
    """Return the share that is transmitted for each pair of sites, by the delta method.

    The errors of the coefficients are assumed to be perfectly correlated across layers, which is
    conservative. The effects come from few of the documents of the coefficients, so the two are
    assumed to be independent.
    """
    found = []
    overall = over_sources(effects, settings, over_targets=True)
    rows: list[dict[Any, Any]] = overall[overall["lag"] == 1].to_dict("records")
    for row in rows:
        own = beside[
            (beside["source_site"] == row["source_site"])
            & (beside["target_site"] == row["target_site"])
            & (beside["lag"] == 1)
        ]
        slope, error = own["coefficient"].mean(), own["coefficient_std_error"].mean()
        share = row["estimate"] / slope
        spread = np.hypot(row["std_error"] / slope, share * error / slope)
        half = stats.t.ppf(1 - settings.alpha / 2, max(row["documents"] - 1, 1)) * spread
        names = own["regression"].dropna()
        found.append(
            Share(
                source_site=row["source_site"],
                target_site=row["target_site"],
                layers=own["target_layer"].tolist(),
                effect=row["estimate"],
                effect_error=row["std_error"],
                smallest=own["estimate"].min(),
                largest=own["estimate"].max(),
                coefficient=slope,
                regression=names.iloc[0] if len(names) else None,
                share=share,
                low=share - half,
                high=share + half,
                documents=row["documents"],
            )
        )
    return found


def with_predictive(
    elasticities: pd.DataFrame, partners: Sequence[tuple[str, str, pd.DataFrame]]
) -> pd.DataFrame:
    """Return elasticities beside the coefficients of the regression across layers.

    Parameters
    ----------
    elasticities : pandas.DataFrame
    partners : sequence of (str, str, pandas.DataFrame)
        Source site, target site and the table of ``cross_layer.table``.
    """
    keys = ["source_site", "target_site", "source_layer", "target_layer", "lag"]
    if not partners:
        return elasticities.assign(**dict.fromkeys(PREDICTIVE, np.nan))
    tables = [
        partner.assign(source_site=source, target_site=target)
        for source, target, partner in partners
    ]
    merged = elasticities.merge(pd.concat(tables), on=keys, how="left", sort=False)
    # The regression is not comparable with finite interventions.
    other = merged["intervention"] != "derivative"
    merged.loc[other, PREDICTIVE] = np.nan
    return merged
