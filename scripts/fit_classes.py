"""Fit slopes by class of tokens in every layer, and test whether the slopes are equal."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import classes
from attnlag.regression.estimation.crossproducts import Stored
from attnlag.regression.settings import ClassesSettings
from attnlag.storage import tables


def main(job):
    budget = job.settings.regression.stack_mb * 1e6
    layers = Stored(job.input.crossproducts, budget, keep=True)
    slopes, tests = classes.slopes_by_class(layers, job.settings)
    shared = tables.of_all_shards(job.input.crossproducts)
    record = tables.provenance(shared, "classes", job.settings, "numpy", "scipy")
    frames = {job.output.classes: slopes, job.output.equal_slopes: tests}
    name = tables.write_results(frames, record, **vars(job.names))
    other = next(iter(tests["merged"]), "")
    program.log.info(
        f"{name}: fitted slopes by {job.settings.property} in {counted(len(layers), 'layer')}"
        + f"; other: {other}" * bool(other)
    )


if __name__ == "__main__":
    program.run(main, ClassesSettings)
