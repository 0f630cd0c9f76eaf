"""Write what a paper on a run needs: tables in LaTeX, methods, references and the configuration."""

import json
from pathlib import Path

import yaml

from attnlag.pipeline.program import log
from attnlag.report import latex, paper
from attnlag.report.regression_tables import declared
from attnlag.storage.writing import write_text

CITATION = Path(__file__).parents[1] / "CITATION.cff"


def main(job, settings: dict):
    regressions = declared(**vars(job.input))
    models = [json.loads(path.read_text(encoding="utf-8")) for path in job.input.models]
    names = {model["name"]: model for model in models}
    methods = paper.methods(regressions, names, job.options.figures)
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    for path, text in (
        (job.output.coefficients, "\n".join(map(latex.coefficients, regressions))),
        (job.output.numbers, latex.numbers(regressions)),
        (job.output.methods, methods),
        (job.output.methods_tex, latex.in_latex(methods)),
        (job.output.references, paper.references(paper.cited(methods), citation)),
        (job.output.config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)),
    ):
        write_text(text, path)
    log.info(f"{job.output.methods.parent}: wrote tables, methods and references")
