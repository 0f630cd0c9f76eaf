"""Average the directions of adjustments by layer."""

from functools import partial

from attnlag.pipeline.program import log
from attnlag.quantities import geometry_means
from attnlag.quantities.catalogue import OF_A_PASS, RELATIVE
from attnlag.regression.settings import GeometrySettings
from attnlag.storage import tables


def main(job, settings: GeometrySettings):
    sums_of = partial(geometry_means.sums_of_shards, drop_first=settings.drop_first)
    sums = sums_of(job.input.geometry, job.input.stream, job.input.distances)
    untrained = None
    trained = None
    if job.input.untrained_geometry:
        documents = tables.document_names(job.input.untrained_geometry[0])
        # By distance, a shard has only the sums over all of its documents.
        trained = sums_of(
            job.input.geometry,
            job.input.stream,
            neighbours=job.input.centred_cosines,
            documents=documents,
        )
        untrained = sums_of(
            job.input.untrained_geometry,
            job.input.untrained_stream,
            job.input.untrained_distances,
        )
    table = geometry_means.table(
        sums,
        geometry_means.random_pairs(job.input.geometry, (*OF_A_PASS, *RELATIVE)),
        untrained,
        trained,
        settings.alpha,
    )
    upstream = tables.shared_provenance(job.input.geometry)
    record = tables.provenance(upstream, "geometry_means", settings, "numpy", "scipy")
    name = tables.write_results({job.output.means: table}, record, site=job.names.site)
    log.info(f"{name}: {len(table)} means")
