"""Take the means of where adjustments point, by layer, and say what they show."""

import attnlag.pipeline.program as program

from attnlag.adjustments.outcomes import OF_A_PASS, RELATIVE
from attnlag.regression.beyond import geometry_means
from attnlag.regression.settings import GeometrySettings
from attnlag.report.geometry import geometry_findings
from attnlag.storage import tables, writing


def main(job):
    settings, given = job.settings, job.input

    def sums_of(geometry, stream, distances):
        sums = [
            geometry_means.sums_of_shard(*paths, settings.drop_first)
            for paths in zip(geometry, stream, strict=True)
        ]
        sums += map(geometry_means.sums_by_distance, distances)
        return geometry_means.over_shards(sums)

    untrained = None
    if given.random_weights:
        distances = [given.random_weights_distances] if given.random_weights_distances else []
        untrained = sums_of([given.random_weights], [given.random_weights_stream], distances)
    table = geometry_means.table(
        sums_of(given.geometry, given.stream, given.distances),
        geometry_means.random_pairs(given.geometry, (*OF_A_PASS, *RELATIVE)),
        untrained,
        settings.alpha,
    )
    shared = tables.of_all_shards(given.geometry)
    record = tables.provenance(shared, "geometry_means", settings, "numpy", "scipy")
    name = tables.write_results({job.output.means: table}, record, site=job.names.site)
    writing.write_text(geometry_findings(table, name), job.output.findings)
    program.log.info(f"{name}: {len(table)} means")


if __name__ == "__main__":
    program.run(main, GeometrySettings)
