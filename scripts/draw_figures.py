"""Draw all figures that share their inputs: those of one stage, such as plot_norms.

The inputs of each stage are in the table below, under the names that its rule gives them.
"""

from collections.abc import Callable

import attnlag.pipeline.program as program

from attnlag.figures import files, inputs, sampling
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.pipeline.job import Job

INPUTS: dict[str, Callable[[Job], inputs.Inputs]] = {
    "plot_norms": lambda job: sampling.read_norms(
        job.input, job.names.site, NormsFiguresSettings(**job.settings)
    ),
    "plot_surprisal": lambda job: sampling.read_surprisal(
        job.input, job.names.site, job.settings["drop_first"]
    ),
    "plot_regression": lambda job: inputs.read_regression(job.input, job.settings["layers"]),
    "plot_specifications": lambda job: inputs.read_regressions(job.input.coefficients),
    "plot_sites": lambda job: inputs.read_sites(**vars(job.input)),
    "plot_classes": lambda job: inputs.read_classes(**vars(job.input)),
    "plot_comparison": lambda job: inputs.read_models(
        job.input.coefficients, job.names.site, job.names.regression
    ),
    "plot_geometry": lambda job: inputs.read_geometry(job.input.means),
    "plot_heads": lambda job: inputs.read_heads(job.input.heads, job.input.coefficients),
    "plot_sources": lambda job: inputs.read_sources(**vars(job.input)),
    "plot_effects": lambda job: inputs.read_effects(**vars(job.input), **job.settings),
}


def main(job):
    tables = INPUTS[job.stage](job)
    figures = files.draw_figures(tables, job.output.figures, job.options.titled)
    program.log.info(f"{tables.name}: drew {figures}")


if __name__ == "__main__":
    program.run(main, dict | None)
