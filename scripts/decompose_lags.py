"""Fit the lags of a regression as documents, parts of speech and tokens are held fixed.

Also decompose the change of the lags into the contribution of each.
"""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import decomposition
from attnlag.regression.settings import Level
from attnlag.storage import tables


def main(job):
    lags = decomposition.decomposed(
        job.input.design, job.input.token_properties, job.settings.alpha
    )
    record = tables.provenance(
        tables.of_all_shards(job.input.design),
        "decomposition",
        job.settings,
        "numpy",
        "scipy",
        sample_end=lags.sample_end,
    )
    frames = {job.output.steps: lags.steps, job.output.parts: lags.parts}
    names = {"site": job.names.site, "regression": job.names.regression}
    name = tables.write_results(frames, record, **names)
    layers = counted(lags.steps["layer"].nunique(), "layer")
    program.log.info(f"{name}: decomposed the lags of {layers}")


if __name__ == "__main__":
    program.run(main, Level)
