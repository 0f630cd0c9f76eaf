"""Build the explorer, a page that shows all studies of a run, and its answers as text."""

from attnlag.claims.results import regressions_in
from attnlag.claims.run import read_claims
from attnlag.pipeline.program import log
from attnlag.report import answers
from attnlag.report.explorer import page
from attnlag.storage import writing
from attnlag.storage.results import declared_by


def main(job):
    regressions = regressions_in(declared_by(vars(job.input)))
    claims = read_claims(job.input.claims)
    text = page.page(regressions, claims, job.input.findings)
    writing.write_text(answers.answers_text(claims), job.output.answers)
    writing.write_text(text, job.output.page)
    size = len(text.encode()) / 1e6
    log.info(f"{job.output.page}: open it in a browser; {size:.1f} MB")
