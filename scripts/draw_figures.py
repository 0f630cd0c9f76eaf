"""Draw all figures of one stage, such as plot_adjustments."""

from attnlag.figures import files, inputs, sampling
from attnlag.pipeline.program import log

# What reads the inputs of the figures of each stage, or of those that need more than its others.
INPUTS = {
    "plot_adjustments": sampling.read_norms,
    "geometry": inputs.read_geometry,
    "regressions": inputs.read_regressions,
    "plot_regression": inputs.read_regression,
    "plot_training": inputs.read_training,
    "plot_sites": inputs.read_sites,
    "plot_classes": inputs.read_classes,
    "plot_comparison": inputs.read_models,
    "plot_heads": inputs.read_heads,
    "plot_sources": inputs.read_sources,
    "plot_effects": inputs.read_effects,
}


def main(job, settings: dict):
    drawing = settings["drawing"]
    read_by: dict = {}
    for name, needs in drawing["figures"].items():
        read_by.setdefault(INPUTS.get(needs) or INPUTS[job.stage], []).append(name)
    for read, figures in read_by.items():
        tables = read(job.input, job.names, settings)
        for name in figures:
            files.draw_figure(name, tables, job.output.figures, drawing)
        log.info(f"{tables.name}: drew {', '.join(figures)}")
