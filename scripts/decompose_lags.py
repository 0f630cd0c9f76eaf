"""Fit the lags of a regression as documents, parts of speech and tokens are held fixed."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.beyond import decomposition
from attnlag.regression.settings import Level
from attnlag.storage import tables


def main(job):
    settings, designs = job.settings, job.input.design
    steps, end = decomposition.decomposed(designs, job.input.token_properties, settings.alpha)
    shared = tables.of_all_shards(designs)
    record = tables.provenance(shared, "decomposition", settings, "numpy", "scipy", sample_end=end)
    name = tables.write_results({job.output.nested_models: steps}, record, **vars(job.names))
    layers = counted(steps["layer"].nunique(), "layer")
    program.log.info(f"{name}: fitted the lags of {layers} in steps")


if __name__ == "__main__":
    program.run(main, Level)
