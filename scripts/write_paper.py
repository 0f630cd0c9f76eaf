"""Write what a paper on a run needs: coefficients and numbers in LaTeX, and references."""

from pathlib import Path

import yaml

from attnlag.claims.results import regressions_in
from attnlag.claims.run import read_claims
from attnlag.pipeline.program import log
from attnlag.report import latex
from attnlag.report.references import references
from attnlag.storage import writing
from attnlag.storage.results import declared_by

CITATION = Path(__file__).parents[1] / "CITATION.cff"


def main(job):
    regressions = regressions_in(declared_by(vars(job.input)))
    writing.write_text("\n".join(map(latex.coefficients, regressions)), job.output.coefficients)
    writing.write_text(latex.numbers(read_claims(job.input.claims)), job.output.numbers)
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    writing.write_text(references(citation), job.output.references)
    log.info(f"{job.output.numbers.parent}: wrote coefficients, numbers and references")
