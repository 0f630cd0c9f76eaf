"""Find the thirds of the tokens of the whole corpus by a number of theirs, such as surprisal."""

import json

from attnlag.pipeline.program import log
from attnlag.regression.properties import read_property
from attnlag.storage import writing


def main(job, settings: dict):
    name = settings["number"]
    cuts = read_property(name, job.input.properties).cuts()
    writing.write_text(json.dumps({"cuts": cuts}) + "\n", job.output.thirds)
    log.info(f"{name}: thirds end at {cuts[0]:.3g} and {cuts[1]:.3g}")
