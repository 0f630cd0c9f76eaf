"""Give what each attention head writes and attends to, and the regression of its log norm.

In a large corpus, all but the attention to first tokens is that of a sample of documents.
"""

import pyarrow.parquet as pq

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities.columns import HEADS_KEY, layers_in
from attnlag.regression.settings import HeadsSettings
from attnlag.regression.slopes import lags_of_parts
from attnlag.storage import tables


def main(job, settings: HeadsSettings):
    group_of = group_by_document(job.input.corpus) if settings.cluster == "group" else None
    # Of the control, then of covariates; empty where there is no regression, or none needs them.
    files = {
        "untrained": job.input.untrained,
        "untrained_norms": job.input.untrained_norms,
        "corpus": job.input.corpus,
        "token_counts": job.input.token_counts,
        "token_properties": job.input.token_properties,
        "surprisal": job.input.surprisal,
    }
    table, lags, sample = lags_of_parts.shares_and_lags(
        heads=job.input.heads,
        norms=job.input.norms,
        sinks=job.input.sinks,
        files=files,
        settings=settings,
        group_of=group_of,
    )
    shared = tables.shared_provenance(job.input.heads)
    check = pq.read_metadata(job.input.heads[0]).metadata[HEADS_KEY].decode()
    facts = {"check": check, "traced": None, "sample_end": sample.end}
    facts["sampled"] = len(sample.documents) if sample.end else 0
    if job.input.sinks:
        facts["traced"] = tables.read_provenance(job.input.sinks[0]).get("check", "")
    record = tables.provenance(shared, "heads_table", settings, "numpy", "scipy", **facts)
    names = {"site": "attention", "regression": settings.regression}
    tables.write_results({job.output.head_coefficients: lags}, record, **names)
    name = tables.write_results({job.output.heads: table}, record, site="attention")
    layers = len(layers_in(pq.read_schema(job.input.heads[0])))
    log.info(f"{name}: heads of {counted(layers, 'layer')}")
