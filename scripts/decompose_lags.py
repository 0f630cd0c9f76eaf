"""Fit the lags of a regression as documents, parts of speech and tokens are held fixed.

Also decompose the change of the lags into the contribution of each.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import decomposition
from attnlag.regression.settings import Level
from attnlag.storage import tables


def main(job):
    settings, designs = job.settings, job.input.design
    lags = decomposition.decomposed(designs, job.input.token_properties, settings.alpha)
    shared, end = tables.of_all_shards(designs), lags.sample_end
    record = tables.provenance(shared, "decomposition", settings, "numpy", "scipy", sample_end=end)
    frames = {job.output.steps: lags.steps, job.output.parts: lags.parts}
    names = {"site": job.names.site, "regression": job.names.regression}
    name = tables.write_results(frames, record, **names)
    layers = counted(lags.steps["layer"].nunique(), "layer")
    program.log.info(f"{name}: decomposed the lags of {layers}")


if __name__ == "__main__":
    program.run(main, Level)
