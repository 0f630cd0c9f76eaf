#!/usr/bin/env python3
"""Fit slopes by class of tokens in every layer, and test whether the slopes are equal.

If the classes are thirds of a number, slopes that change linearly with it are fitted as well.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import classes
from attnlag.regression.settings import ClassesSettings
from attnlag.storage import tables


def main(job):
    products = job.input.crossproducts
    found = classes.fit_classes(products, job.settings)
    shared = tables.of_all_shards(products)
    record = tables.provenance(shared, "classes", job.settings, "numpy", "scipy")
    frames = {job.output.classes: found.coefficients, job.output.equal_slopes: found.tests}
    name = tables.write_study(frames, record, site=job.names.site, regression=job.names.regression)
    program.log.info(
        "%s: fitted slopes by %s in %s%s",
        name,
        job.settings.property,
        counted(found.coefficients["layer"].nunique(), "layer"),
        f"; other: {', '.join(found.other)}" if found.other else "",
    )


if __name__ == "__main__":
    program.run(main, ClassesSettings)
