#!/usr/bin/env python3
"""Fit the lags of a regression as documents, parts of speech and tokens are held fixed.

Also decompose the change of the lags into the contribution of each.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import decomposition
from attnlag.regression.settings import Level
from attnlag.storage import tables


def main(job):
    designs = job.input.design
    found = decomposition.decomposed(designs, job.input.token_properties, job.settings.alpha)
    shared = tables.of_all_shards(designs)
    settings, end = job.settings, found.sample_end
    record = tables.provenance(shared, "decomposition", settings, "numpy", "scipy", sample_end=end)
    frames = {job.output.steps: found.steps, job.output.parts: found.parts}
    name = tables.write_study(frames, record, site=job.names.site, regression=job.names.regression)
    layers = counted(found.steps["layer"].nunique(), "layer")
    program.log.info("%s: decomposed the lags of %s", name, layers)


if __name__ == "__main__":
    program.run(main, Level)
