"""Summarise by layer which tokens write adjustments, and what these say."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import traced_means, traced_tables
from attnlag.regression.inference.multiple_tests import adjusted_p_values
from attnlag.regression.settings import HeadsSettings
from attnlag.regression.slopes import lags_of_parts
from attnlag.storage import tables


def main(job, settings: HeadsSettings):
    bounds = settings.drop_first, settings.alpha
    sites = tables.by_site(job.input.readout)
    untrained = tables.by_site(job.input.untrained_readout, above=2)
    shared = tables.shared_provenance(job.input.readout)
    record = tables.provenance(shared, "traced_table", settings, "numpy", "scipy")
    if job.input.sources:
        rows = traced_means.read_shards(job.input.sources)
        random = traced_means.read_shards(job.input.untrained_sources)
        shares = traced_means.shares(rows, random, *bounds)
        lags = pd.DataFrame(columns=lags_of_parts.LAG_COLUMNS)
        if settings.design is not None and len(rows):
            lags = lags_of_parts.fit_sources(rows, random, settings, shared.precision)
        frames = {job.output.shares: shares, job.output.lags: lags}
        with_check = record | {"check": check_in(job.input.sources)}
        tables.write_results(frames, with_check, site="attention")
        if job.input.untrained_sources:
            untrained_sources = pa.concat_tables(map(pq.read_table, job.input.untrained_sources))
            written = traced_tables.written(untrained_sources.unify_dictionaries())
            draw = tables.read_provenance(job.input.untrained_sources[0])["draw"]
            tables.write_table(written, job.output.source_parts, record | {"draw": draw})
    for site, means in zip(sites, job.output.readout, strict=True):
        random = traced_means.read_shards(untrained.get(site, []))
        table = traced_means.readout(traced_means.read_shards(sites[site]), random, *bounds)
        by_target = table.groupby("target")["p_value"]
        table["p_adjusted"] = by_target.transform(adjusted_p_values, adjust=settings.adjust)
        tables.write_results({means: table}, record | {"check": check_in(sites[site])}, site=site)
    log.info(f"{record.names}: {counted(len(sites), 'site')}")


def check_in(paths):
    """Return the result of the check in the first of some files that has a document."""
    checks = (tables.read_provenance(path).get("check") for path in paths)
    return next(filter(None, checks), "no documents")
