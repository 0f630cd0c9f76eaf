"""The tables of interventions: effects with their intervals, and what regressions predict of them.

The predictions are those of regressions of the target layer on earlier layers, over all documents.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from attnlag.interventions import cross_layer, elasticities, prediction_vs_effect
from attnlag.interventions.finite_effects import finite_effects
from attnlag.quantities.estimates import Estimates
from attnlag.regression.settings import ElasticitiesSettings


def tables_of(
    effects: pd.DataFrame,
    designs: Mapping[str, Sequence[Path]],
    coefficients: Mapping[str, pd.DataFrame],
    settings: ElasticitiesSettings,
) -> dict[str, pd.DataFrame]:
    """Return the tables of effects by name.

    ``effects`` are sums by document, of all shards. ``designs`` are the files of all shards and
    ``coefficients`` those within layers, of one regression, by site; both are empty without a
    regression that has lag 1.
    """
    derivative = effects[effects["intervention"] == "derivative"]
    pairs = []
    totals = []
    for (source, target), rows in derivative.groupby(["source_site", "target_site"], observed=True):
        source = str(source)
        target = str(target)
        if source not in designs or target not in designs:
            continue
        layers = sorted(map(int, rows["target_layer"].unique()))
        both = cross_layer.Designs(designs[source], designs[target], settings.fixed_effects)
        single = cross_layer.single_predictions(both, layers)
        pairs.append(single.assign(source_site=source, target_site=target))
        for layer in layers:
            for lag, total in cross_layer.joint_predictions(both, layer).items():
                totals.append((source, target, layer, lag, *total))
    predicted = pd.DataFrame(totals, columns=cross_layer.PREDICTION)
    predictive = pd.DataFrame(columns=[*cross_layer.PAIR_KEYS, *cross_layer.PREDICTIVE_COLUMNS])
    if pairs:
        predictive = pd.concat(pairs)
    table = elasticities.elasticities_table(effects, settings)
    caused = elasticities.with_predictive(table, predictive)
    summed = elasticities.over_sources(effects, settings)
    trials = prediction_vs_effect.pair_trials(effects, caused, settings)
    same_layer = prediction_vs_effect.same_layer_trials(coefficients, settings.alpha)
    df = caused.pop("predictive_df").to_numpy(float)
    slopes = Estimates(caused["predictive"], caused["predictive_std_error"], df)
    low, high = slopes.interval(settings.alpha)
    caused["predictive_conf_low"] = low
    caused["predictive_conf_high"] = high
    return {
        "elasticities": caused,
        "total_effects": elasticities.beside_predictions(
            summed, predicted, coefficients, settings.alpha
        ),
        "prediction_vs_effect": pd.concat([trials, same_layer]),
        "finite_effects": finite_effects(effects, settings),
    }
