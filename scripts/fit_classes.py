"""Fit slopes by class of tokens in every layer, and test whether the slopes are equal."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.moments.moments import Stored
from attnlag.regression.settings import ClassesSettings
from attnlag.regression.slopes import classes
from attnlag.storage import tables


def main(job, settings: ClassesSettings):
    layers = Stored(job.input.crossproducts, keep=True)
    slopes, tests = classes.slopes_by_class(layers, settings)
    upstream = tables.shared_provenance(job.input.crossproducts)
    record = tables.provenance(upstream, "classes", settings, "numpy", "scipy")
    frames = {job.output.classes: slopes, job.output.equal_slopes: tests}
    name = tables.write_results(frames, record, **vars(job.names))
    # Classes with few rows are one class, "other".
    merged = next(iter(tests["merged"]), "")
    other = f"; other: {merged}" if merged else ""
    fitted = counted(len(layers), "layer")
    log.info(f"{name}: fitted slopes by {settings.property} in {fitted}{other}")
