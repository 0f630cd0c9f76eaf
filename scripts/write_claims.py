"""Write the claims of all studies of a run, and those about their comparison, as one table."""

import pandas as pd

from attnlag.claims.analyses import as_table, claims_of_run
from attnlag.claims.comparison import claims_of_comparison
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.storage import tables
from attnlag.storage.results import declared_by


def main(job):
    results = declared_by(vars(job.input))
    claims, studies = as_table(claims_of_run(results))
    # One model and corpus are not compared.
    if results.has("pairs"):
        record = results.record_of("pairs")
        models = dict.fromkeys(study["model"] for study in record["studies"])
        compared = claims_of_comparison(
            results.table("pairs"),
            results.table("comparison_claims"),
            list(models),
            record.settings("regression"),
        )
        claims = pd.concat([claims, compared], ignore_index=True)
    tables.write_frame(claims, job.output.table, {"studies": studies})
    log.info(f"{job.output.table}: {counted(len(claims), 'claim')}")
