"""Write the claims of one model and corpus as a table, a row a claim."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.report.claims_table import claims_of_study
from attnlag.report.regression_tables import declared
from attnlag.storage import tables


def main(job):
    regressions = declared(**vars(job.input))
    claims, studies = claims_of_study(regressions)
    tables.write_frame(claims, job.output.claims, {"studies": studies})
    study = regressions[0].of_corpus
    log.info(f"{', '.join(study.parts[-2:])}: {counted(len(claims), 'claim')}")
