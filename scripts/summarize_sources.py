"""Summarize by layer which tokens write adjustments, and what these say."""

import pandas as pd

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import traced_means, traced_tables
from attnlag.regression.inference.multiple_tests import adjusted_p_values
from attnlag.regression.settings import LagsOfPartsSettings
from attnlag.regression.slopes import lags_of_parts
from attnlag.storage import tables


def main(job, settings: LagsOfPartsSettings):
    upstream = tables.shared_provenance(job.input.readout)
    record = tables.provenance(upstream, "traced_table", settings, "numpy", "scipy")
    if job.input.sources:
        write_sources(job, settings, record, upstream.precision)
    if job.input.untrained_sources:
        write_untrained_parts(job, record)
    sites = tables.by_site(job.input.readout)
    # Files of shards lie in SITE/readout/, those of the untrained model one folder deeper.
    untrained = tables.by_site(job.input.untrained_readout, above=2)
    for site, path in zip(sites, job.output.readout, strict=True):
        table = readout_table(sites[site], untrained.get(site, []), settings)
        with_check = record | {"check": tables.check_in(sites[site])}
        tables.write_results({path: table}, with_check, site=site)
    log.info(f"{record.names}: {counted(len(sites), 'site')}")


def write_sources(job, settings, record, precision):
    """Write the shares of sources, and the regression of what each part writes."""
    rows = traced_means.read_numbers(job.input.sources)
    untrained = traced_means.read_numbers(job.input.untrained_sources)
    shares = traced_means.shares(rows, untrained, settings.drop_first, settings.alpha)
    lags = pd.DataFrame(columns=lags_of_parts.LAG_COLUMNS)
    if settings.design is not None and len(rows):
        lags = lags_of_parts.fit_sources(rows, untrained, settings, precision)
    frames = {job.output.shares: shares, job.output.lags: lags}
    with_check = record | {"check": tables.check_in(job.input.sources)}
    tables.write_results(frames, with_check, site="attention")


def write_untrained_parts(job, record):
    """Write the norms of the untrained parts: from the token itself, and from earlier ones."""
    parts = traced_tables.source_parts(tables.read_shards(job.input.untrained_sources))
    draw = tables.read_provenance(job.input.untrained_sources[0])["draw"]
    tables.write_table(parts, job.output.source_parts, record | {"draw": draw})


def readout_table(trained, untrained, settings):
    """Return the effects on words by layer, from files of all shards, with corrected p-values."""
    table = traced_means.readout(
        traced_means.read_numbers(trained),
        traced_means.read_numbers(untrained),
        settings.drop_first,
        settings.alpha,
    )
    by_target = table.groupby("target")["p_value"]
    table["p_adjusted"] = by_target.transform(adjusted_p_values, adjust=settings.adjust)
    return table
