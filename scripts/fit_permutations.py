#!/usr/bin/env python3
"""Say where the coefficients of permuted documents lie, and how far the real ones are from it.

Writes the same tables as a regression does: the estimate is the null's location, ``observed`` the
coefficient in the order that the documents have.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import permutation
from attnlag.regression.settings import NullSettings
from attnlag.report import summaries
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, NullSettings)
parser.add_argument("permutations", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--fits", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = asdict(args.settings)
    if settings["adjust"] == "holm":
        # The same error is controlled from the draws themselves; Holm would multiply p-values of
        # at least 1 / (1 + draws) by the number of layers.
        settings["adjust"] = "max-t"
    record = tables.read_provenance(args.permutations)
    paths = tables.shards(args.permutations)
    sums = permutation.merged([permutation.read_sums(path) for path in paths])
    null = permutation.null_of(sums)
    coefficients = permutation.coefficients(
        null, sums.layers, alpha=settings["alpha"], adjust=settings["adjust"]
    )
    fits = permutation.fits_table(null, sums.layers)

    shared = tables.of_all_shards(record)
    record = tables.provenance(shared, "regression", settings, "numpy", "scipy", "statsmodels")
    name = tables.write_study(
        {args.coefficients: coefficients, args.fits: fits},
        record,
        site=args.site,
        regression=args.regression,
    )
    text = summaries.null_findings(
        coefficients, fits, name=name, alpha=settings["alpha"], adjust=settings["adjust"]
    )
    writing.write_text(text, args.findings)
    program.log.info(
        "%s: %s in %s",
        name,
        counted(len(null.draws), "permutation"),
        counted(len(sums.layers), "layer"),
    )


if __name__ == "__main__":
    program.run(main, parser)
