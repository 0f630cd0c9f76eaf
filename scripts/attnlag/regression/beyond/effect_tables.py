"""The tables of interventions: effects with their intervals, and what regressions predict of them.

The prediction of each effect is the regression of the target layer's log norms on those of the
source layer, over all documents.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.regression.beyond import cross_layer, elasticities, verdicts
from attnlag.regression.settings import ElasticitiesSettings


def tables_of(
    effects: pd.DataFrame,
    made: Mapping[str, Any],
    norms: Mapping[str, Sequence[Path]],
    coefficients: Mapping[str, pd.DataFrame],
    settings: ElasticitiesSettings,
) -> dict[str, pd.DataFrame]:
    """Return the tables of effects by name.

    Parameters
    ----------
    effects : pandas.DataFrame
        Sums by document, of all shards.
    made : mapping
        The settings that they were estimated with.
    norms : mapping of str to sequence of Path
        Files of all shards by site.
    coefficients : mapping of str to pandas.DataFrame
        Coefficients within layers by site.
    """
    derivative = effects[effects["intervention"] == "derivative"]
    lags = int(effects["lag"].max()) if len(effects) else 0
    multipliers = verdicts.multipliers(settings.seed)
    predictions = {}
    sites = ["source_site", "target_site"]
    for (source, target), rows in derivative.groupby(sites, observed=True):
        pair, layers = (str(source), str(target)), sorted(map(int, rows["target_layer"].unique()))
        read = partial(cross_layer.pairs_in, norms, *pair, settings.drop_first)
        predictions[pair] = cross_layer.cross_layer(read, layers, lags, multipliers)
    caused = elasticities.table(effects, settings)
    partners = [(*pair, cross_layer.table(fits)) for pair, fits in predictions.items()]
    same_layer = verdicts.of_the_same_layer(coefficients, settings.alpha)
    summed = elasticities.over_sources(effects, settings)
    predicted = [
        cross_layer.of_intervened(
            norms,
            str(source),
            str(target),
            rows[["target_layer", "lag"]].itertuples(index=False, name=None),
            documents=set(effects["document"]),
            tokens=made["document_tokens"],
            drop_first=settings.drop_first,
        )
        for (source, target), rows in summed.groupby(["source_site", "target_site"])
    ]
    beside = pd.concat(predicted or [pd.DataFrame(columns=cross_layer.PREDICTED)])
    return {
        "elasticities": elasticities.with_predictive(caused, partners),
        "by_part_of_speech": elasticities.by_part_of_speech(effects, settings),
        "transmitted": elasticities.transmitted(summed, beside, coefficients, settings.alpha),
        "verdicts": pd.concat(
            [verdicts.of_pairs(effects, caused, predictions, settings), same_layer]
        ),
    }
