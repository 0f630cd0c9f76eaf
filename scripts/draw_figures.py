"""Draw all figures that share their inputs: those of one stage, such as plot_norms."""

import attnlag.pipeline.program as program

from attnlag.figures import files, inputs, sampling

# What reads the inputs of each stage.
INPUTS = {
    "plot_norms": sampling.read_norms,
    "plot_surprisal": sampling.read_surprisal,
    "plot_regression": inputs.read_regression,
    "plot_all_regressions": inputs.read_regressions,
    "plot_sites": inputs.read_sites,
    "plot_classes": inputs.read_classes,
    "plot_comparison": inputs.read_models,
    "plot_geometry": inputs.read_geometry,
    "plot_heads": inputs.read_heads,
    "plot_sources": inputs.read_sources,
    "plot_effects": inputs.read_effects,
}


def main(job):
    tables = INPUTS[job.stage](job.input, job.names, job.settings)
    figures = files.draw_figures(tables, job.output.figures, job.options.titled)
    program.log.info(f"{tables.name}: drew {figures}")


if __name__ == "__main__":
    program.run(main, dict | None)
