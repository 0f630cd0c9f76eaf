"""Write the claims of one analysis as a table, a row a claim."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.report.claims_table import STAGES, as_table
from attnlag.storage import tables
from attnlag.storage.results import Declared, Results


def main(job):
    results = Results(job.output.claims.parent, Declared(vars(job.input)))
    found = STAGES[job.stage](results)
    claims, studies = as_table(found)
    tables.write_parquet(claims, job.output.claims, {"studies": studies})
    log.info(f"{job.output.claims}: {counted(len(claims), 'claim')}")
