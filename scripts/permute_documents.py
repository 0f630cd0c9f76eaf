#!/usr/bin/env python3
"""Sum the cross-products of one shard with the tokens of each document permuted.

These sums show what the coefficients would be if order meant nothing.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.adjustments.norms import in_batches
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import covariates, permutation, properties
from attnlag.regression.settings import PermutationsSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, PermutationsSettings)
parser.add_argument("norms", type=Path, help="the norms, or what else is regressed (Parquet)")
parser.add_argument(
    "--stream", type=Path, nargs="?", help="norms of the residual stream, for relative norms"
)
# The workflow passes no path if no covariate needs the file.
for name, what in covariates.FILES.items():
    parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="?", help=what)
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = args.settings
    products = permutation.permuted_products(
        in_batches(
            OUTCOMES[settings.design.outcome],
            args.norms,
            args.stream,
            permutation.ROWS,
            "permutations",
        ),
        settings.design,
        covariates.read_facts(settings.design, vars(args)),
        draws=settings.draws,
        seed=settings.seed,
        fixed_effects=settings.fixed_effects == "document",
        classes=properties.read_property(settings.within, [args.token_properties])
        if settings.within != "document"
        else None,
    )
    record = tables.provenance(
        tables.read_provenance(args.norms),
        "permutations",
        asdict(settings),
        "numpy",
        permutations=permutation.record_of(products),
    )
    tables.write_table(permutation.to_table(products), args.output, record)
    program.log.info(
        "%s, %s: %s of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(settings.draws, "permutation"),
        counted(int(products.documents.max(initial=0)), "document"),
    )


if __name__ == "__main__":
    program.run(main, parser)
