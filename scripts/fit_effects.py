#!/usr/bin/env python3
"""Turn the effects of all shards into elasticities with intervals and predictive counterparts.

The counterpart of each elasticity is the regression of the target layer's log norms on those of the
source layer, over all documents.
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import cross_layer, elasticities
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.report.causal import causal_findings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, ElasticitiesSettings)
parser.add_argument("effects", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--sites", nargs="+", required=True, help="the sites whose norms are given")
parser.add_argument("--norms", type=Path, nargs="+", required=True, help="first shard per site")
parser.add_argument(
    "--coefficients", type=Path, nargs="*", default=[], help="of a regression, per site"
)
parser.add_argument("--elasticities", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--transmitted", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--by-part-of-speech", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    shards = tables.shards(args.effects)
    effects = pa.concat_tables(map(pq.read_table, shards)).unify_dictionaries().to_pandas()
    shared = tables.of_all_shards(tables.read_provenance(shards[0]))
    norms = {site: tables.shards(path) for site, path in zip(args.sites, args.norms, strict=True)}
    coefficients = {
        site: pd.read_parquet(path).query("subset == 'all'")
        for site, path in zip(args.sites, args.coefficients, strict=False)
    }
    derivative = effects[effects["intervention"] == "derivative"]
    lags = int(effects["lag"].max()) if len(effects) else 0
    partners = []
    for (source, target), rows in derivative.groupby(["source_site", "target_site"], observed=True):
        layers = sorted(map(int, rows["target_layer"].unique()))
        found = cross_layer.of_files(norms, source, target, layers, lags, settings.drop_first)
        partners.append((source, target, cross_layer.table(found)))
    table = elasticities.with_predictive(elasticities.table(effects, settings), partners)
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
    record = tables.provenance(shared, "elasticities", asdict(settings), "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"]
    by_tag = elasticities.by_part_of_speech(effects, settings)
    for frame, path in (
        (table, args.elasticities),
        (by_tag, args.by_part_of_speech),
        (beside, args.transmitted),
    ):
        frame.insert(0, "model", names[0])
        frame.insert(1, "corpus", names[1])
        tables.write_frame(frame, path, path.with_suffix(".csv"), record)
    words = causal_findings(beside, name=", ".join(names), alpha=settings.alpha)
    writing.write_text(words, args.findings)
    program.log.info(
        "%s: %s from %s",
        ", ".join(names),
        counted(len(table), "effect"),
        counted(effects["document"].nunique(), "document"),
    )


if __name__ == "__main__":
    program.run(main, parser)
