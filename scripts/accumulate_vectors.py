"""Sum the products of one shard's vectors with the preceding vectors, per layer and fold."""

import attnlag.pipeline.program as program

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import vector_pairs, vector_products
from attnlag.regression.settings import VectorProductsSettings
from attnlag.storage import tables


def main(job):
    settings = job.settings
    record = tables.provenance(
        tables.read_provenance(job.input.activations), "vector_products", settings, "numpy"
    )
    documents = group_by_document(job.input.corpus)
    products = vector_products.products_of_shard(
        job.input.activations,
        job.input.first,
        vector_pairs.folds_of_documents(documents, settings.folds),
        settings,
        job.threads,
    )
    layers = counted(
        len(vector_products.write_products(job.output.products, products, record)), "layer"
    )
    program.log.info(f"{record.names}: products of the vectors of {layers}")


if __name__ == "__main__":
    program.run(main, VectorProductsSettings)
