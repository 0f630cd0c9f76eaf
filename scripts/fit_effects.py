"""Turn the effects of all shards into elasticities with intervals and predictive counterparts."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.interventions import effect_tables
from attnlag.pipeline.program import log
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.storage import tables


def main(job, settings: ElasticitiesSettings):
    shared = tables.shared_provenance(job.input.effects)
    designs = tables.by_site(job.input.designs, above=2)
    shards = pa.concat_tables(map(pq.read_table, job.input.effects))
    effects = shards.unify_dictionaries().to_pandas()
    coefficients = {
        site: pd.read_parquet(path).query("subset == 'all'")
        for site, path in zip(designs, job.input.coefficients, strict=True)
    }
    frames = effect_tables.tables_of(effects, designs, coefficients, settings)
    record = tables.provenance(shared, "elasticities", settings, "numpy", "scipy")
    by_path = {getattr(job.output, name): frame for name, frame in frames.items()}
    name = tables.write_results(by_path, record)
    documents = counted(effects["document"].nunique(), "document")
    log.info(f"{name}: {counted(len(frames['elasticities']), 'effect')} from {documents}")
