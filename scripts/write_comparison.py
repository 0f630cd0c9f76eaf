"""Write the findings of a comparison of models in words, from the claims of a run."""

from attnlag.claims.run import read_claims
from attnlag.pipeline.program import log
from attnlag.report.comparison import comparison_findings
from attnlag.storage import writing


def main(job):
    claims = read_claims(job.input.claims)
    writing.write_text(comparison_findings(claims), job.output.findings)
    log.info(f"{job.output.findings}: written")
