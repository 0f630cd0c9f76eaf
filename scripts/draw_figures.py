"""Draw all figures of one stage, such as plot_adjustments."""

from pathlib import Path

from attnlag.figures import files
from attnlag.figures.inputs import Inputs
from attnlag.pipeline.program import log
from attnlag.storage.results import Declared


def main(job, settings: dict):
    drawing = settings["drawing"]
    names = vars(job.names)
    inputs = Inputs(Path(), Declared(vars(job.input)), settings)
    for name in drawing["figures"]:
        files.draw_figure(name, inputs, names, job.output.figures, drawing)
    log.info(f"{', '.join(names.values())}: drew {', '.join(drawing['figures'])}")
