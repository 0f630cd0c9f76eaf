"""Sum the cross-products of one shard with the tokens of each document permuted.

These sums show what the coefficients would be if order meant nothing.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.design import covariates
from attnlag.regression.inference import permutation
from attnlag.regression.settings import PermutationsSettings
from attnlag.storage import tables


def main(job):
    settings, given = job.settings, job.input
    facts = covariates.read_facts(settings.design, vars(given))
    files = given.norms, given.stream or None, given.token_properties or None
    products = permutation.of_norms(*files, settings, facts)
    record, names = tables.read_provenance(given.norms), products.facts()
    made = tables.provenance(record, "permutations", settings, "numpy", permutations=names)
    tables.write_table(permutation.to_table(products), job.output.products, made)
    documents = counted(int(products.documents.max(initial=0)), "document")
    draws = counted(settings.draws, "permutation")
    program.log.info(f"{record.names}: {draws} of {documents}")


if __name__ == "__main__":
    program.run(main, PermutationsSettings)
