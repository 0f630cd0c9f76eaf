#!/usr/bin/env python3
"""Draw the figures of all sites of a model side by side."""

from pathlib import Path

from attnlag.errors import UserError
from attnlag.figures import files
from attnlag.figures.inputs import SitesInputs
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__)
parser.add_argument("--sites", nargs="+", required=True, help="the sites, in their order")
parser.add_argument(
    "--norms",
    type=Path,
    nargs="+",
    required=True,
    help="the first shard of each site; the others lie beside it",
)
parser.add_argument(
    "--coefficients", type=Path, nargs="+", required=True, help="a tidy table per site (Parquet)"
)
parser.add_argument(
    "--fits", type=Path, nargs="+", required=True, help="a table with a row per layer, per site"
)
parser.add_argument(
    "--output", type=Path, nargs="+", required=True, help="files named by their figures"
)


def main(args):
    count = len(args.sites)
    if any(len(paths) != count for paths in (args.norms, args.coefficients, args.fits)):
        raise UserError(
            f"found {count} sites with {len(args.norms)} files of norms, "
            f"{len(args.coefficients)} of coefficients and {len(args.fits)} of fits; expected as "
            "many of each for every site"
        )
    inputs = SitesInputs(
        sites=args.sites,
        norms=list(map(tables.shards, args.norms)),
        coefficients_files=args.coefficients,
        fits_files=args.fits,
    )
    drawn = files.draw_figures(inputs, args.output)
    program.log.info("%s: drew %s of %s", inputs.name, ", ".join(drawn), ", ".join(args.sites))


if __name__ == "__main__":
    program.run(main, parser)
