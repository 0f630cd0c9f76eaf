"""Join the claims of all studies of a run into one table."""

import pandas as pd

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.storage import tables


def main(job):
    claims = pd.concat(map(pd.read_parquet, job.input.claims), ignore_index=True)
    studies = []
    for path in job.input.claims:
        studies += tables.read_provenance(path)["studies"]
    tables.write_frame(claims, job.output.table, {"studies": studies})
    log.info(f"{job.output.table}: {counted(len(claims), 'claim')}")
