"""Write the findings of a comparison of models in words, from its tables."""

import pandas as pd

from attnlag.pipeline.program import log
from attnlag.report.comparison import comparison_findings, replication_findings
from attnlag.storage import tables, writing


def main(job):
    coefficients, pairs, claims = map(
        pd.read_parquet, (job.input.coefficients, job.input.pairs, job.input.claims)
    )
    settings = tables.read_provenance(job.input.pairs).settings("regression")
    models = list(coefficients["model"].unique())
    differences = comparison_findings(pairs, settings["equivalence_bound"])
    text = differences + replication_findings(claims, models)
    writing.write_text(text, job.output.findings)
    log.info(f"{job.output.findings}: written")
