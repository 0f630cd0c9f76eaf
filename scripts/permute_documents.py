#!/usr/bin/env python3
"""Sum the cross-products of one shard with the tokens of each document in another order.

They show what the coefficients would be if order meant nothing: in expectation, and in draws.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import covariates, permutation
from attnlag.regression.settings import PermutationsSettings
from attnlag.regression.specification import Specification
from attnlag.storage import tables

# Each token has a number in each draw.
ROWS = 4096

parser = program.argument_parser(__doc__, PermutationsSettings)
parser.add_argument("norms", type=Path, help="the norms (Parquet)")
parser.add_argument("--token-counts", type=Path, nargs="?", help="for the covariate log_frequency")
parser.add_argument("--corpus", type=Path, nargs="?", help="for the covariate group")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = asdict(args.settings)
    specification = Specification.of(settings["design"])
    sums = permutation.accumulate(
        tables.batches(args.norms, ROWS, "permutations"),
        specification,
        covariates.read_facts(specification, args.token_counts, args.corpus),
        draws=settings["draws"],
        seed=settings["seed"],
        fixed_effects=settings["fixed_effects"] == "document",
    )
    record = tables.provenance(
        tables.read_provenance(args.norms),
        "permutations",
        settings,
        "numpy",
        permutations=permutation.record_of(sums),
    )
    tables.write_table(permutation.to_table(sums), args.output, record)
    program.log.info(
        "%s, %s: %s of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(settings["draws"], "permutation"),
        counted(int(sums.documents.max(initial=0)), "document"),
    )


if __name__ == "__main__":
    program.run(main, parser)
