"""Fit one regression in every layer, to all documents and to each group of them.

The estimates come from the cross-products of all shards, layer by layer; a pass over the designs
gives what needs residuals.
"""

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.inference import controls, fitting
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.settings import RegressionSettings
from attnlag.storage import tables


def main(job, settings: RegressionSettings):
    fitted = fitting.fit_regression(
        job.input.crossproducts,
        job.input.design,
        group_by_document(job.input.corpus),
        settings,
        permutations=[PermutedMoments.read(path) for path in job.input.permutations],
        untrained=moments_before_training(job, settings),
        threads=job.threads,
    )
    upstream = tables.shared_provenance(job.input.crossproducts)
    record, record_of_groups = fitting.records_of(fitted, upstream)
    frames = {
        job.output.coefficients: fitted.coefficients,
        job.output.fits: fitted.goodness,
        job.output.influence: fitted.influence,
        job.output.controls: fitted.controls,
        job.output.medians: fitted.medians,
    }
    if fitted.untrained_scales is not None:
        frames[job.output.untrained_scales] = fitted.untrained_scales
    names = vars(job.names)  # the wildcards: model, corpus, site and regression
    name = tables.write_results(frames, record, **names)
    tables.write_results({job.output.groups: fitted.groups}, record_of_groups, **names)
    fitted.residual_sums.write(job.output.residuals, record)
    layers = counted(len(fitted.layers), "layer")
    fitted_groups = fitted.groups.dropna(subset="estimate")["subset"].nunique()
    log.info(f"{name}: fitted {layers}, and {counted(fitted_groups, 'group')}")


def moments_before_training(job, settings):
    """Return the moments with random weights, at each of their scales; none without the control."""
    if settings.control_design is None:
        return []
    return controls.untrained_moments(
        settings.control_design,
        vars(job.input),
        job.input.untrained,
        job.input.untrained_stream,
    )
