#!/usr/bin/env python3
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
    settings = job.settings
    products = permutation.permuted_products(
        in_batches(
            OUTCOMES[settings.design.outcome],
            job.input.norms,
            job.input.stream or None,
            permutation.ROWS,
            "permutations",
        ),
        settings.design,
        covariates.read_facts(settings.design, vars(job.input)),
        draws=settings.draws,
        seed=settings.seed,
        fixed_effects=settings.fixed_effects == "document",
        classes=properties.read_property(settings.within, [job.input.token_properties])
        if settings.within != "document"
        else None,
    )
    record = tables.provenance(
        tables.read_provenance(job.input.norms),
        "permutations",
        settings,
        "numpy",
        permutations=products.facts(),
    )
    tables.write_table(permutation.to_table(products), job.output.products, record)
    program.log.info(
        "%s: %s of %s",
        tables.names_in(record),
        counted(settings.draws, "permutation"),
        counted(int(products.documents.max(initial=0)), "document"),
    )


if __name__ == "__main__":
    program.run(main, PermutationsSettings)
