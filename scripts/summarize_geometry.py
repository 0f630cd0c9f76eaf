"""Take the means of where adjustments point, by layer."""

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.quantities import geometry_means
from attnlag.quantities.catalogue import OF_A_PASS, RELATIVE
from attnlag.regression.settings import GeometrySettings
from attnlag.storage import tables


def main(job):
    def sums_of(geometry, stream, distances, documents=None, centred=()):
        sums = [
            geometry_means.sums_of_shard(*paths, job.settings.drop_first, documents)
            for paths in zip(geometry, stream, strict=True)
        ]
        sums += map(geometry_means.sums_by_distance, distances)
        sums += [
            geometry_means.sums_of_neighbours(path, job.settings.drop_first, documents)
            for path in centred
        ]
        return geometry_means.over_shards(sums)

    untrained = trained = None
    if job.input.random_weights:
        keys = pq.read_table(job.input.random_weights[0], columns=["document"])
        documents = set(keys["document"].to_pylist())
        # By distance, a shard has only the sums over all of its documents.
        trained = sums_of(
            job.input.geometry, job.input.stream, [], documents, centred=job.input.centred
        )
        untrained = sums_of(
            job.input.random_weights,
            job.input.random_weights_stream,
            job.input.random_weights_distances,
        )
    table = geometry_means.table(
        sums_of(job.input.geometry, job.input.stream, job.input.distances),
        geometry_means.random_pairs(job.input.geometry, (*OF_A_PASS, *RELATIVE)),
        untrained,
        trained,
        job.settings.alpha,
    )
    shared = tables.of_all_shards(job.input.geometry)
    record = tables.provenance(shared, "geometry_means", job.settings, "numpy", "scipy")
    name = tables.write_results({job.output.means: table}, record, site=job.names.site)
    program.log.info(f"{name}: {len(table)} means")


if __name__ == "__main__":
    program.run(main, GeometrySettings)
