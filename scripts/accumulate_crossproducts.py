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
    made = job.output.crossproducts
    totals = crossproducts.of_design(job.input.design, made, job.settings)
    documents = counted(totals.clusters, "document")
    layers = counted(len(totals.documents), "layer")
    program.log.info(f"{tables.names_of(made)}: cross-products of {documents} in {layers}")


if __name__ == "__main__":
    program.run(main, CrossproductsSettings)
