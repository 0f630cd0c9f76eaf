#!/usr/bin/env python3
"""Fit slopes by class of tokens in every layer, and test whether the slopes are equal.

If the classes are thirds of a number, slopes that change linearly with it are fitted as well.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import classes
from attnlag.regression.settings import ClassesSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, ClassesSettings)
parser.add_argument("crossproducts", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--classes", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--equal-slopes", type=Path, required=True, help="Parquet; CSV beside it")


def main(args):
    products = tables.shards(args.crossproducts)
    found = classes.fit_classes(products, args.settings)
    shared = tables.of_all_shards(tables.read_provenance(products[0]))
    record = tables.provenance(shared, "classes", asdict(args.settings), "numpy", "scipy")
    frames = {args.classes: found.coefficients, args.equal_slopes: found.tests}
    name = tables.write_study(frames, record, site=args.site, regression=args.regression)
    program.log.info(
        "%s: fitted slopes by %s in %s%s",
        name,
        args.settings.property,
        counted(found.coefficients["layer"].nunique(), "layer"),
        f"; other: {', '.join(found.other)}" if found.other else "",
    )


if __name__ == "__main__":
    program.run(main, parser)
