#!/usr/bin/env python3
"""Turn the effects of all shards into elasticities with intervals and predictive counterparts.

The counterpart of each elasticity is the regression of the target layer's log norms on those of the
source layer, over all documents.
"""

from functools import partial

import attnlag.pipeline.program as program

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.regression.beyond import cross_layer, elasticities, verdicts
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.report.causal import causal_findings
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    shards = job.input.effects
    effects = pa.concat_tables(map(pq.read_table, shards)).unify_dictionaries().to_pandas()
    shared = tables.of_all_shards(shards)
    norms = tables.by_site(job.input.norms)
    coefficients = {
        site: pd.read_parquet(path).query("subset == 'all'")
        for site, path in zip(norms, job.input.coefficients, strict=False)
    }
    derivative = effects[effects["intervention"] == "derivative"]
    lags = int(effects["lag"].max()) if len(effects) else 0
    multipliers = verdicts.multipliers(settings.seed)
    predictions = {}
    for (source, target), rows in derivative.groupby(["source_site", "target_site"], observed=True):
        layers = sorted(map(int, rows["target_layer"].unique()))
        read = partial(cross_layer.pairs_in, norms, source, target, settings.drop_first)
        predictions[source, target] = cross_layer.cross_layer(read, layers, lags, multipliers)
    caused = elasticities.table(effects, settings)
    partners = [(*pair, cross_layer.table(found)) for pair, found in predictions.items()]
    table = elasticities.with_predictive(caused, partners)
    trial = pd.concat(
        [
            verdicts.of_pairs(effects, caused, predictions, settings),
            verdicts.of_the_same_layer(coefficients, settings.alpha),
        ]
    )
    summed = elasticities.over_sources(effects, settings)
    made = shared["stages"]["effects"]
    predicted = [
        cross_layer.of_intervened(
            *(norms, str(source), str(target)),
            rows[["target_layer", "lag"]].itertuples(index=False, name=None),
            documents=set(effects["document"]),
            tokens=made["document_tokens"],
            drop_first=settings.drop_first,
        )
        for (source, target), rows in summed.groupby(["source_site", "target_site"])
    ]
    beside = elasticities.transmitted(
        *(summed, pd.concat(predicted or [cross_layer.NOTHING]), coefficients), settings.alpha
    )
    record = tables.provenance(shared, "elasticities", settings, "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"]
    by_tag = elasticities.by_part_of_speech(effects, settings)
    for frame, path in (
        (table, job.output.elasticities),
        (by_tag, job.output.by_part_of_speech),
        (beside, job.output.transmitted),
        (trial, job.output.verdicts),
    ):
        frame.insert(0, "model", names[0])
        frame.insert(1, "corpus", names[1])
        tables.write_frame(frame, path, path.with_suffix(".csv"), record)
    words = causal_findings(
        *(beside, trial),
        name=", ".join(names),
        alpha=settings.alpha,
        negligible=settings.negligible,
    )
    writing.write_text(words, job.output.findings)
    program.log.info(
        "%s: %s from %s",
        ", ".join(names),
        counted(len(table), "effect"),
        counted(effects["document"].nunique(), "document"),
    )


if __name__ == "__main__":
    program.run(main, ElasticitiesSettings)
