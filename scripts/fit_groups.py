#!/usr/bin/env python3
"""Fit a regression to each group of documents by itself, in every layer.

One tidy table, with the group as its subset. Errors are clustered by document.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.corpus import documents
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import crossproducts, groups
from attnlag.regression.inference import CLUSTERED
from attnlag.regression.settings import GroupsSettings
from attnlag.storage import tables

parser = program.argument_parser(__doc__, GroupsSettings)
parser.add_argument("crossproducts", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")


def main(args):
    settings = asdict(args.settings)
    if settings["covariance"] not in CLUSTERED:
        # The others need the residuals of each group's own regression.
        settings["covariance"] = "cluster"
    if settings["adjust"] == "max-t":
        # Its draws are those of the whole corpus.
        settings["adjust"] = "holm"
    paths = tables.shards(args.crossproducts)
    record = tables.read_provenance(paths[0])
    group_of = documents.group_by_document(args.corpus)
    table = groups.coefficients_by_group(
        [crossproducts.read_shard(path) for path in paths],
        group_of,
        fixed_effects=settings["fixed_effects"] == "document",
        covariance=settings["covariance"],
        alpha=settings["alpha"],
        adjust=settings["adjust"],
        budget=settings["stack_mb"] * 1e6,
    )
    shared = tables.of_all_shards(record)
    record = tables.provenance(shared, "groups", settings, "numpy", "scipy")
    name = tables.write_study(
        {args.coefficients: table}, record, site=args.site, regression=args.regression
    )
    program.log.info("%s: fitted %s", name, counted(table["subset"].nunique(), "group"))


if __name__ == "__main__":
    program.run(main, parser)
