"""Sum the cross-products of one shard with the tokens of each document permuted.

These sums show what the coefficients would be if order meant nothing.
"""

import attnlag.pipeline.program as program

from attnlag.adjustments.norms import in_batches
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.errors import counted
from attnlag.regression.design import covariates, properties
from attnlag.regression.inference import permutation
from attnlag.regression.settings import PermutationsSettings
from attnlag.storage import tables


def main(job):
    settings, given = job.settings, job.input
    design, outcome = settings.design, OUTCOMES[settings.design.outcome]
    classes = None
    if settings.within != "document":
        classes = properties.read_property(settings.within, [given.token_properties])
    products = permutation.permuted_products(
        in_batches(outcome, given.norms, given.stream or None, permutation.ROWS, "permutations"),
        *(design, covariates.read_facts(design, vars(given))),
        draws=settings.draws,
        seed=settings.seed,
        fixed_effects=settings.fixed_effects == "document",
        classes=classes,
    )
    record, facts = tables.read_provenance(given.norms), products.facts()
    made = tables.provenance(record, "permutations", settings, "numpy", permutations=facts)
    tables.write_table(permutation.to_table(products), job.output.products, made)
    documents = counted(int(products.documents.max(initial=0)), "document")
    draws = counted(settings.draws, "permutation")
    program.log.info(f"{tables.names_in(record)}: {draws} of {documents}")


if __name__ == "__main__":
    program.run(main, PermutationsSettings)
