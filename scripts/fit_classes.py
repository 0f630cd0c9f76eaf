"""Fit slopes by class of tokens in every layer, and test whether the slopes are equal."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import classes
from attnlag.regression.settings import ClassesSettings
from attnlag.storage import tables


def main(job):
    slopes = classes.fit_classes(job.input.crossproducts, job.settings)
    shared = tables.of_all_shards(job.input.crossproducts)
    record = tables.provenance(shared, "classes", job.settings, "numpy", "scipy")
    frames = {job.output.classes: slopes.coefficients, job.output.equal_slopes: slopes.tests}
    names = {"site": job.names.site, "regression": job.names.regression}
    name = tables.write_results(frames, record, **names)
    layers = counted(slopes.coefficients["layer"].nunique(), "layer")
    program.log.info(
        f"{name}: fitted slopes by {job.settings.property} in {layers}"
        + f"; other: {', '.join(slopes.other)}" * bool(slopes.other)
    )


if __name__ == "__main__":
    program.run(main, ClassesSettings)
