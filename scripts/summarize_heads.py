"""Give what each attention head writes and attends to, and the regression of its log norm.

In a large corpus, a sample of documents gives all but the attention to first tokens.
"""

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import head_shares
from attnlag.regression.settings import LagsOfPartsSettings
from attnlag.regression.slopes import lags_of_parts
from attnlag.storage import tables


def main(job, settings: LagsOfPartsSettings):
    group_of = None
    if settings.cluster == "group":
        group_of = group_by_document(job.input.corpus)
    # The input files themselves; if the corpus is large, temporary copies with some documents.
    with lags_of_parts.sample_if_large(job.input.heads, job.input.norms, job.input.sinks) as sample:
        shares = head_shares.table(
            heads=sample.heads,
            norms=sample.norms,
            sinks=job.input.sinks,
            heads_of_sinks=sample.heads_of_sinks,
            drop_first=settings.drop_first,
        )
        # Each head has a regression; so have their sum, and the sum for tokens above the floor:
        # those at which heads write something else than at the first token.
        lags = lags_of_parts.fit_head_files(sample, vars(job.input), settings, group_of)
    shares = shares.assign(sampled=sample.documents is not None)
    record = record_of(job, settings, sample)
    names = {"site": "attention", "regression": settings.regression}
    tables.write_results({job.output.head_coefficients: lags}, record, **names)
    name = tables.write_results({job.output.heads: shares}, record, site="attention")
    log.info(f"{name}: heads of {counted(shares['layer'].nunique(), 'layer')}")


def record_of(job, settings, sample):
    """Return the provenance of both tables, with the checks of heads and sinks."""
    check_of_sinks = None
    if job.input.sinks:
        check_of_sinks = tables.check_in(job.input.sinks)
    return tables.provenance(
        tables.shared_provenance(job.input.heads),
        "heads_table",
        settings,
        "numpy",
        "scipy",
        check=head_shares.check_of_heads(job.input.heads),
        traced=check_of_sinks,
        sample_end=sample.end,
        sampled=len(sample.documents or ()),  # 0: all documents
    )
