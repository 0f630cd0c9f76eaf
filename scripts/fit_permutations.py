#!/usr/bin/env python3
"""Compare the coefficients of permuted documents with those in the real order.

Writes the same tables as a regression: the estimate is the centre of the null, ``observed`` the
coefficient in the order that the documents have.
"""

from dataclasses import asdict, replace
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import permutation
from attnlag.regression.settings import NullSettings
from attnlag.report import html_tables, summaries
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, NullSettings)
parser.add_argument("permutations", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument(
    "--coefficients", type=Path, required=True, help="Parquet; CSV and HTML beside it"
)
parser.add_argument("--fits", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    if settings.adjust == "holm":
        # The same error is controlled from the draws themselves; Holm would multiply p-values of
        # at least 1 / (1 + draws) by the number of layers.
        settings = replace(settings, adjust="max-t")
    record = tables.of_all_shards(tables.read_provenance(args.permutations))
    paths = tables.shards(args.permutations)
    products = permutation.merged_products([permutation.read_products(path) for path in paths])
    null = permutation.null_of(products)
    coefficients = permutation.null_coefficients(null, products.layers, **asdict(settings))
    fits = permutation.null_fits(null, products.layers)

    packages = ("numpy", "scipy", "statsmodels")
    record = tables.provenance(record, "regression", asdict(settings), *packages)
    frames = {args.coefficients: coefficients, args.fits: fits}
    name = tables.write_study(frames, record, site=args.site, regression=args.regression)
    page = args.coefficients.with_suffix(".html")
    html_tables.write_coefficients(coefficients, page, **asdict(settings))
    text = summaries.null_findings(coefficients, fits, name=name, **asdict(settings))
    writing.write_text(text, args.findings)
    program.log.info(
        "%s: %s in %s",
        name,
        counted(len(null.draws), "permutation"),
        counted(len(products.layers), "layer"),
    )


if __name__ == "__main__":
    program.run(main, parser)
