#!/usr/bin/env python3
"""Sum the cross-products of one shard's design with slopes for each class of tokens.

The sums include the level of each class, and each lag and lead times the indicator of each class.
For a number, such as surprisal, the classes are thirds of all tokens of the corpus, and the sums
also include the number and its products with lags and leads. One batch of rows is in memory at a
time.
"""

from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import classes, moderators
from attnlag.regression.settings import ClassProductsSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, ClassProductsSettings)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument(
    "--token-properties", type=Path, required=True, help="table of the property, of the same shard"
)
# The workflow passes no path if the property is no number.
parser.add_argument("--scale", type=Path, nargs="?", help="distribution of a number (JSON)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    scale = None
    if args.scale:
        scale = moderators.Scale.from_json(args.scale.read_text(encoding="utf-8"))
    totals = classes.products_of_design(
        args.design, args.token_properties, scale, args.output, args.settings
    )
    record = tables.read_provenance(args.output)
    program.log.info(
        "%s, %s: cross-products of %s by %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(totals.clusters, "document"),
        args.settings.property,
    )


if __name__ == "__main__":
    program.run(main, parser)
