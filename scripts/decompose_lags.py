#!/usr/bin/env python3
"""Fit the lags of a regression as documents, parts of speech and tokens are held fixed.

Also decompose the change of the lags into the contribution of each.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import decomposition
from attnlag.regression.settings import DecompositionSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, DecompositionSettings)
parser.add_argument("design", type=Path, help="first shard; the others lie beside it")
parser.add_argument("--token-properties", type=Path, required=True, help="likewise")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--steps", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--parts", type=Path, required=True, help="Parquet; CSV beside it")


def main(args):
    designs = tables.shards(args.design)
    found = decomposition.decomposed(
        designs, tables.shards(args.token_properties), args.settings.alpha
    )
    shared = tables.of_all_shards(tables.read_provenance(designs[0]))
    settings, end = asdict(args.settings), found.sample_end
    record = tables.provenance(shared, "decomposition", settings, "numpy", "scipy", sample_end=end)
    frames = {args.steps: found.steps, args.parts: found.parts}
    name = tables.write_study(frames, record, site=args.site, regression=args.regression)
    layers = counted(found.steps["layer"].nunique(), "layer")
    program.log.info("%s: decomposed the lags of %s", name, layers)


if __name__ == "__main__":
    program.run(main, parser)
