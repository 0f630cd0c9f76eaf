#!/usr/bin/env python3
"""Take the means of where adjustments point, by layer, and say what they show."""

import attnlag.pipeline.program as program

from attnlag.adjustments.outcomes import OF_A_PASS, RELATIVE
from attnlag.regression.beyond import geometry_means
from attnlag.regression.settings import GeometrySettings
from attnlag.report.geometry import geometry_findings
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    paths, stream = job.input.geometry, job.input.stream
    found = [
        geometry_means.sums_of_shard(*files, settings.drop_first)
        for files in zip(paths, stream, strict=True)
    ]
    random = None
    if job.input.random_weights:
        random = geometry_means.sums_of_shard(
            job.input.random_weights, job.input.random_weights_stream, settings.drop_first
        )
    distances = untrained = None
    if job.input.distances:
        distances = geometry_means.by_distance(job.input.distances)
    if job.input.random_weights_distances:
        untrained = geometry_means.by_distance([job.input.random_weights_distances])
    table = geometry_means.table(
        geometry_means.over_shards(found),
        geometry_means.random_pairs(paths, (*OF_A_PASS, *RELATIVE)),
        random,
        distances,
        untrained,
        settings.alpha,
    )
    shared = tables.of_all_shards(paths)
    record = tables.provenance(shared, "geometry_means", settings, "numpy", "scipy")
    names = record["model"]["name"], record["corpus"]["name"], job.names.site
    for place, (key, value) in enumerate(zip(("model", "corpus", "site"), names, strict=True)):
        table.insert(place, key, value)
    tables.write_frame(table, job.output.means, job.output.means.with_suffix(".csv"), record)
    writing.write_text(geometry_findings(table, ", ".join(names)), job.output.findings)
    program.log.info("%s: %d means", ", ".join(names), len(table))


if __name__ == "__main__":
    program.run(main, GeometrySettings)
