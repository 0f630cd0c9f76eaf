"""Join the claims of all studies of a run, and those about their comparison, into one table."""

import pandas as pd

from attnlag.claims.comparison import claims_of_comparison
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.storage import tables


def main(job):
    found = [pd.read_parquet(path) for path in job.input.claims]
    studies = []
    for path in job.input.claims:
        studies += tables.read_provenance(path)["studies"]
    # One model and corpus are not compared.
    for pairs, held in zip(job.input.pairs, job.input.held, strict=True):
        record = tables.read_provenance(pairs)
        models = dict.fromkeys(study["model"] for study in record["studies"])
        compared = claims_of_comparison(
            pd.read_parquet(pairs),
            pd.read_parquet(held),
            list(models),
            record.settings("regression"),
        )
        found.append(compared)
    claims = pd.concat(found, ignore_index=True)
    tables.write_frame(claims, job.output.table, {"studies": studies})
    log.info(f"{job.output.table}: {counted(len(claims), 'claim')}")
