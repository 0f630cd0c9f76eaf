#!/usr/bin/env python3
"""Take the means of where adjustments point, by layer, and say what they show."""

from dataclasses import asdict
from pathlib import Path

from attnlag.adjustments.settings import GeometrySettings
from attnlag.pipeline import program
from attnlag.regression import geometry_means
from attnlag.report.geometry import geometry_findings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, GeometrySettings)
parser.add_argument("geometry", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--stream", type=Path, required=True, help="norms of the stream, likewise")
parser.add_argument("--distances", type=Path, nargs="?", help="means by distance, likewise")
parser.add_argument("--random-weights", type=Path, nargs="?", help="with random weights (Parquet)")
parser.add_argument("--random-weights-stream", type=Path, nargs="?", help="norms of its stream")
parser.add_argument("--random-weights-distances", type=Path, nargs="?", help="means by distance")
parser.add_argument("--site", required=True)
parser.add_argument("--output", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = args.settings
    paths, stream = tables.shards(args.geometry), tables.shards(args.stream)
    found = [
        geometry_means.sums_of_shard(*files, settings.drop_first)
        for files in zip(paths, stream, strict=True)
    ]
    random = None
    if args.random_weights:
        random = geometry_means.sums_of_shard(
            args.random_weights, args.random_weights_stream, settings.drop_first
        )
    distances = untrained = None
    if args.distances:
        distances = geometry_means.by_distance(tables.shards(args.distances))
    if args.random_weights_distances:
        untrained = geometry_means.by_distance([args.random_weights_distances])
    table = geometry_means.table(
        geometry_means.over_shards(found),
        geometry_means.random_pairs(paths),
        random,
        distances,
        untrained,
        settings.alpha,
    )
    shared = tables.of_all_shards(tables.read_provenance(paths[0]))
    record = tables.provenance(shared, "geometry_means", asdict(settings), "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"], args.site
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        table.insert(place, key, value)
    tables.write_frame(table, args.output, args.output.with_suffix(".csv"), record)
    writing.write_text(geometry_findings(table, ", ".join(names)), args.findings)
    program.log.info("%s: %d means", ", ".join(names), len(table))


if __name__ == "__main__":
    program.run(main, parser)
