"""The tables of interventions: effects with their intervals, and what regressions predict of them.

The prediction of each effect is the regression of the target layer's log norms on those of the
source layer, over all documents.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
from scipy import special

from attnlag.interventions import cross_layer, elasticities, prediction_vs_effect
from attnlag.interventions.finite_effects import finite_effects
from attnlag.regression.settings import ElasticitiesSettings


def tables_of(
    effects: pd.DataFrame,
    tokens: int,
    norms: Mapping[str, Sequence[Path]],
    coefficients: Mapping[str, pd.DataFrame],
    settings: ElasticitiesSettings,
) -> dict[str, pd.DataFrame]:
    """Return the tables of effects by name.

    ``effects`` are sums by document, of all shards, of the first ``tokens`` of each document;
    ``norms`` are the files of all shards and ``coefficients`` those within layers, by site.
    """
    derivative = effects[effects["intervention"] == "derivative"]
    lags = int(effects["lag"].max()) if len(effects) else 0
    predictions, intervened = {}, []
    for (source, target), rows in derivative.groupby(["source_site", "target_site"], observed=True):
        pair, layers = (str(source), str(target)), sorted(map(int, rows["target_layer"].unique()))
        read = partial(cross_layer.pairs_in, norms, *pair, settings.drop_first)
        predictions[pair] = cross_layer.cross_layer(read, layers, lags)
        # Over the tokens that were intervened on.
        documents = set(effects["document"])
        windows = [(x, y) for name, x, y in read(tokens) if name in documents]
        intervened += [
            (*pair, layer, lag, *cross_layer.together(windows, layer, lag))
            for layer, lag in product(layers, range(1, lags + 1))
        ]
    predicted = pd.DataFrame(intervened, columns=cross_layer.PREDICTION)
    caused = elasticities.with_predictive(elasticities.table(effects, settings), predictions)
    summed = elasticities.over_sources(effects, settings)
    trials = prediction_vs_effect.of_pairs(effects, caused, settings)
    same_layer = prediction_vs_effect.of_the_same_layer(coefficients, settings.alpha)
    times = special.stdtrit(caused.pop("predictive_df").to_numpy(float), 1 - settings.alpha / 2)
    reach = times * caused["predictive_std_error"]
    caused["predictive_conf_low"] = caused["predictive"] - reach
    caused["predictive_conf_high"] = caused["predictive"] + reach
    return {
        "elasticities": caused,
        "total_effects": elasticities.beside_predictions(
            summed, predicted, coefficients, settings.alpha
        ),
        "prediction_vs_effect": pd.concat([trials, same_layer]),
        "finite_effects": finite_effects(effects, caused, settings),
    }
