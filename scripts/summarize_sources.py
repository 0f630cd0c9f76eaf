"""Summarise by layer which tokens write adjustments, why neighbours are alike, and what is said."""

import attnlag.pipeline.program as program

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments import traced_tables
from attnlag.adjustments.columns import TRACED_KEY
from attnlag.errors import counted
from attnlag.regression.beyond import geometry_means, traced
from attnlag.regression.settings import HeadsSettings
from attnlag.report import sources
from attnlag.storage import tables, writing


def main(job):
    settings, given, output = job.settings, job.input, job.output
    bounds = settings.drop_first, settings.alpha
    sites = tables.by_site(given.readout)
    untrained = tables.by_site(given.random_readout, above=2)
    shared = tables.of_all_shards(given.readout)
    record = tables.provenance(shared, "traced_table", settings, "numpy", "scipy")
    name = record.names
    if given.sources:
        rows = traced.read_shards(given.sources)
        random = traced.read_shards(given.random_sources) if given.random_sources else None
        shares = traced.shares(rows, random, *bounds)
        pairs = geometry_means.random_pairs(given.sources, ("all", "first"))
        neighbours = traced.neighbours(rows, random, pairs, *bounds)
        lags = pd.DataFrame(columns=traced.OF_LAGS)
        if settings.design is not None and len(rows):
            lags = traced.lags(rows, random, settings)
        proof = proof_of(given.sources)
        words = sources.sources_findings(shares, neighbours, lags, name, proof)
        paths = output.shares, output.neighbours, output.lags
        frames = dict(zip(paths, (shares, neighbours, lags), strict=True))
        tables.write_results(frames, record, site="attention")
        writing.write_text(words, output.findings)
        if given.random_sources:
            whole = pa.concat_tables(map(pq.read_table, given.random_sources))
            written = traced_tables.written(whole.unify_dictionaries())
            tables.write_table(written, output.written, record)
    for site, means, findings in zip(sites, output.readout, output.readout_findings, strict=True):
        random = traced.read_shards(untrained[site]) if untrained else None
        table = traced.readout(traced.read_shards(sites[site]), random, *bounds)
        words = sources.readout_findings(table, f"{name}, {site}", proof_of(sites[site]))
        tables.write_results({means: table}, record, site=site)
        writing.write_text(words, findings)
    program.log.info(f"{name}: {counted(len(sites), 'site')}")


def proof_of(paths):
    """Return what the passes said of their proof: the first shard with a document."""
    texts = [pq.read_metadata(path).metadata[TRACED_KEY].decode() for path in paths]
    return next(filter(None, texts), "no documents")


if __name__ == "__main__":
    program.run(main, HeadsSettings)
