#!/usr/bin/env python3
"""Give the share and the lag of each attention head, and of layers with and without their floor."""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from attnlag.adjustments.columns import layers_in
from attnlag.adjustments.settings import HeadsSettings
from attnlag.pipeline import program
from attnlag.regression import heads
from attnlag.report.heads import heads_findings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, HeadsSettings)
parser.add_argument("heads", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--norms", type=Path, required=True, help="norms of the site, likewise")
parser.add_argument("--output", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    paths, norms = tables.shards(args.heads), tables.shards(args.norms)
    table = heads.table(paths, norms, drop_first=settings.drop_first, alpha=settings.alpha)
    shared = tables.of_all_shards(tables.read_provenance(paths[0]))
    record = tables.provenance(shared, "heads_table", asdict(settings), "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"], "attention"
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        table.insert(place, key, value)
    tables.write_frame(table, args.output, args.output.with_suffix(".csv"), record)
    writing.write_text(heads_findings(table, ", ".join(names)), args.findings)
    layers = len(layers_in(pq.read_schema(paths[0])))
    program.log.info("%s: heads of %d layers", ", ".join(names), layers)


if __name__ == "__main__":
    program.run(main, parser)
