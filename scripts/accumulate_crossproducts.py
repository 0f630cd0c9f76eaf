#!/usr/bin/env python3
"""Sum the cross-products of one shard's design, per document and layer.

These sums are all that the regression needs from the rows. They are a few numbers per document, and
the sums of all shards add up. One batch of rows is in memory at a time.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import crossproducts
from attnlag.regression.settings import CrossproductsSettings
from attnlag.storage import tables


def main(job):
    totals = crossproducts.of_design(job.input.design, job.output.crossproducts, job.settings)
    record = tables.read_provenance(job.output.crossproducts)
    program.log.info(
        "%s: cross-products of %s in %d layers",
        tables.names_in(record),
        counted(totals.clusters, "document"),
        len(totals.documents),
    )


if __name__ == "__main__":
    program.run(main, CrossproductsSettings)
