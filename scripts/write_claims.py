"""Write the claims of a run as a table, a row a claim."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.report.claims_table import claims_of_run
from attnlag.report.regression_tables import declared
from attnlag.storage import tables


def main(job):
    regressions = declared(**vars(job.input))
    claims = claims_of_run(regressions)
    studies = [
        {"place": "/".join(regression.folder.parts[-4:]), "record": regression.record}
        for regression in regressions
    ]
    tables.write_frame(claims, job.output.table, {"studies": studies})
    log.info(f"{job.output.table}: {counted(len(claims), 'claim')}")
