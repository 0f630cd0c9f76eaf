#!/usr/bin/env python3
"""Draw all figures that share their inputs: those of one stage, such as plot_norms.

The inputs of each stage are in the table below, under the names that its rule gives them.
"""

from collections.abc import Callable

import attnlag.pipeline.program as program

from attnlag.figures import files
from attnlag.figures.inputs import norms, regressions, vectors
from attnlag.figures.inputs.named import Named
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.pipeline.job import Job
from attnlag.storage import tables


def of_sites(job):
    """Return the inputs of the figures of all sites, whose files come site by site."""
    shards = tables.by_site(job.input.norms)
    pairs = zip(job.input.coefficients, job.input.fits, strict=True)
    studies = [regressions.CoefficientsInputs(*tables_of_site) for tables_of_site in pairs]
    return regressions.SitesInputs(list(shards), list(shards.values()), studies)


def of_regression(job):
    """Return the inputs of the figures of one regression; joint bands are drawn on request."""
    given = job.input
    return regressions.RegressionInputs(
        *(given.coefficients, given.fits, given.joint or None, given.controls or None),
        groups_file=given.groups,
        influence_file=given.influence,
        residuals_file=given.residuals,
        design=given.design,
        layers=job.settings["layers"],
    )


def of_regressions(job):
    """Return the inputs of the figures of all regressions, in the order of their panels."""
    return regressions.SpecificationsInputs(
        list(map(regressions.Coefficients, job.input.coefficients))
    )


INPUTS: dict[str, Callable[[Job], Named]] = {
    "plot_norms": lambda job: norms.NormsInputs(
        **vars(job.input), site=job.names.site, settings=NormsFiguresSettings(**job.settings)
    ),
    "plot_surprisal": lambda job: norms.SurprisalInputs(
        **vars(job.input), site=job.names.site, **job.settings
    ),
    "plot_regression": of_regression,
    "plot_specifications": of_regressions,
    "plot_sites": of_sites,
    "plot_classes": lambda job: regressions.ClassesInputs(*vars(job.input).values()),
    "plot_comparison": lambda job: regressions.ComparisonInputs(
        job.input.coefficients, job.names.site, job.names.regression
    ),
    "plot_geometry": lambda job: vectors.GeometryInputs(job.input.means),
    "plot_heads": lambda job: vectors.HeadsInputs(job.input.heads, job.input.coefficients),
    "plot_sources": lambda job: vectors.TracedInputs(**vars(job.input)),
    "plot_effects": lambda job: vectors.EffectsInputs(job.input.elasticities, **job.settings),
    "plot_vectors": lambda job: vectors.VectorsInputs(job.input.fits),
}


def main(job):
    inputs = INPUTS[job.stage](job)
    drawn = files.draw_figures(inputs, job.output.figures, job.options.titled)
    program.log.info("%s: drew %s", inputs.name, drawn)


if __name__ == "__main__":
    program.run(main, dict | None)
