"""Draw all figures of one stage, such as plot_adjustments."""

import attnlag.pipeline.program as program

from attnlag.figures import catalogue, files, inputs, sampling

# What reads the inputs of the figures of each stage, or of those that need more than its others.
INPUTS = {
    "plot_adjustments": sampling.read_norms,
    "surprisal": sampling.read_surprisal,
    "geometry": inputs.read_geometry,
    "regressions": inputs.read_regressions,
    "plot_regression": inputs.read_regression,
    "plot_sites": inputs.read_sites,
    "plot_classes": inputs.read_classes,
    "plot_comparison": inputs.read_models,
    "plot_heads": inputs.read_heads,
    "plot_sources": inputs.read_sources,
    "plot_effects": inputs.read_effects,
}


def main(job):
    drawn_from: dict = {}
    # Those of a paper have captions in place of titles.
    ((kind, paths),) = vars(job.output).items()
    for path in paths:
        figure = catalogue.figure_of(path)
        read = INPUTS.get(figure.needs) or INPUTS[figure.drawn_by]
        drawn_from.setdefault(read, []).append(path)
    for read, drawn in drawn_from.items():
        tables = read(job.input, job.names, job.settings)
        figures = files.draw_figures(tables, drawn, titled=kind != "untitled")
        program.log.info(f"{tables.name}: drew {figures}")


if __name__ == "__main__":
    program.run(main, dict | None)
