"""Regress the vectors of tokens on preceding vectors, and measure how well they are predicted.

The fits come from the cross-products of all shards; the vectors are read again for the error of
each document, which the intervals need.
"""

import attnlag.pipeline.program as program

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import vector_fits, vector_pairs
from attnlag.regression.settings import VectorsSettings
from attnlag.report.vectors import vector_findings
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    shared = tables.of_all_shards(job.input.products)
    record = tables.provenance(shared, "vectors", settings, "numpy", "scipy")
    documents = group_by_document(job.input.corpus)
    table = vector_fits.table_of(
        job.input.products,
        job.input.activations,
        job.input.random_weights or None,
        vector_pairs.folds_of_documents(documents, settings.products.folds),
        settings,
        job.threads,
    )
    name = tables.write_results({job.output.vector_fits: table}, record, site=job.names.site)
    findings = vector_findings(table, name=name, alpha=settings.alpha, lags=settings.products.lags)
    writing.write_text(findings, job.output.findings)
    program.log.info(f"{name}: R² of vectors in {counted(table['layer'].nunique(), 'layer')}")


if __name__ == "__main__":
    program.run(main, VectorsSettings)
