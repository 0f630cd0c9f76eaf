"""Turn the effects of all shards into elasticities with intervals and predictive counterparts."""

import pandas as pd

from attnlag.errors import counted
from attnlag.interventions import effect_tables
from attnlag.pipeline.program import log
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.storage import tables


def main(job, settings: ElasticitiesSettings):
    upstream = tables.shared_provenance(job.input.effects)
    # A design lies in SITE/REGRESSION/design/.
    designs = tables.by_site(job.input.design, above=2)
    effects = tables.read_shards(job.input.effects).to_pandas()
    coefficients = {}
    for site, path in zip(designs, job.input.coefficients, strict=True):
        fitted = pd.read_parquet(path)
        coefficients[site] = fitted[fitted["subset"] == "all"]
    # Derivatives of norms become elasticities, beside what regressions of the same pairs of layers
    # on the designs predict, and beside the coefficients within layers.
    frames = effect_tables.tables_of(effects, designs, coefficients, settings)
    record = tables.provenance(upstream, "elasticities", settings, "numpy", "scipy")
    by_path = {getattr(job.output, name): frame for name, frame in frames.items()}
    name = tables.write_results(by_path, record)
    documents = counted(effects["document"].nunique(), "document")
    elasticities = counted(len(frames["elasticities"]), "row")
    log.info(f"{name}: {elasticities} of elasticities from {documents}")
