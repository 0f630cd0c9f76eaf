#!/usr/bin/env python3
"""Regress the vectors of tokens on preceding vectors, and measure how well they are predicted.

The fits come from the cross-products of all shards; the vectors are read again for the error of
each document, which the intervals need.
"""

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.regression.beyond import vector_fits, vector_pairs
from attnlag.regression.settings import VectorsSettings
from attnlag.report.vectors import vector_findings
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    products = job.input.products
    record = tables.provenance(
        tables.of_all_shards(products),
        "vectors",
        settings,
        "numpy",
        "scipy",
    )
    documents = pq.read_table(job.input.corpus, columns=["document"])["document"].to_pylist()
    table = vector_fits.table_of(
        products,
        job.input.activations,
        job.input.random_weights or None,
        vector_pairs.folds_of_documents(documents, settings.products.folds),
        settings,
        program.usable_threads(job.threads),
    )
    keys = record["model"]["name"], record["corpus"]["name"], job.names.site
    for place, (name, key) in enumerate(zip(("model", "corpus", "site"), keys, strict=True)):
        table.insert(place, name, key)
    tables.write_frame(table, job.output.fits, job.output.fits.with_suffix(".csv"), record)
    words = vector_findings(
        table, name=", ".join(keys), alpha=settings.alpha, lags=settings.products.lags
    )
    writing.write_text(words, job.output.findings)
    program.log.info(
        "%s: R² of vectors in %s", ", ".join(keys), counted(table["layer"].nunique(), "layer")
    )


if __name__ == "__main__":
    program.run(main, VectorsSettings)
