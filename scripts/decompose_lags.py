"""Fit nested models: the lags as documents, parts of speech and tokens are held fixed in turn."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.settings import Level
from attnlag.regression.slopes import decomposition
from attnlag.storage import tables


def main(job, settings: Level):
    designs = job.input.design
    steps, end = decomposition.decomposed(designs, job.input.token_properties, settings.alpha)
    upstream = tables.shared_provenance(designs)
    record = tables.provenance(
        upstream, "decomposition", settings, "numpy", "scipy", sample_end=end
    )
    name = tables.write_results({job.output.nested_models: steps}, record, **vars(job.names))
    layers = counted(steps["layer"].nunique(), "layer")
    log.info(f"{name}: fitted the lags of {layers} in steps")
