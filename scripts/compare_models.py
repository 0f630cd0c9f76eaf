#!/usr/bin/env python3
"""Compare models over relative depth: one table of all coefficients, and one row per pair.

Takes the coefficients of any number of regressions, models, corpora and sites. The folder
``crossproducts`` beside each has the cross-products for the bootstrap by document. Writes one table
of all coefficients, a table of pairs of models, a page for each table, and the findings.
"""

import attnlag.pipeline.program as program

import pandas as pd

from attnlag.regression.beyond import claims, comparison, population
from attnlag.regression.settings import Comparison
from attnlag.report import html_tables, summaries
from attnlag.storage import tables, writing


def main(job):
    settings = job.settings
    studies = [comparison.read_study(path) for path in job.input.studies]
    inference = comparison.common_inference(studies)
    alpha = inference["alpha"]
    coefficients = comparison.combined_coefficients(studies)
    pairs = comparison.pairs(
        studies,
        draws=settings.draws,
        seed=settings.seed,
        alpha=alpha,
        adjust=inference["adjust"],
        negligible=inference["negligible"],
    )
    held = pd.concat(
        [
            claims.of_study(
                *(study, comparison.profile(comparison.stack_of(study), 0, settings.seed)),
                study.controls,
                alpha=alpha,
                negligible=inference["negligible"],
            )
            for study in studies
        ]
    )

    spread = population.of_studies(studies, alpha)

    # The provenance of each study is that of its own table.
    keys = comparison.STUDY_KEYS
    made = [{**{k: getattr(s, k) for k in keys}, "record": s.record} for s in studies]
    record = tables.provenance(
        {"stages": {"regression": inference}},
        "comparison",
        settings,
        "numpy",
        "pandas",
        studies=made,
    )
    for table, path in (
        (coefficients, job.output.coefficients),
        (pairs, job.output.pairs),
        (held, job.output.claims),
        (spread, job.output.population),
    ):
        tables.write_frame(table, path, path.with_suffix(".csv"), record)
    html_tables.write_coefficients_of_models(
        coefficients,
        job.output.coefficients.with_suffix(".html"),
        alpha=alpha,
        adjust=inference["adjust"],
        negligible=inference["negligible"],
    )
    html_tables.write_pairs(pairs, job.output.pairs.with_suffix(".html"))
    found = summaries.comparison_findings(pairs, alpha, inference["negligible"])
    real = list(dict.fromkeys(study.model for study in studies if not study.control))
    for regression, rows in held.groupby("regression", sort=False) if len(real) > 1 else ():
        found += f"what holds in {regression}:\n"
        found += "".join(f"  {line}\n" for line in claims.sentences(rows, real))
        of_group = spread[(spread["regression"] == regression) & (spread["term"] == "lag_1")]
        for _, rows in of_group.groupby(population.COLUMNS[:5], sort=False):
            found += f"  {population.sentence(rows)}\n"
    writing.write_text(found, job.output.findings)
    program.log.info("compared %d studies in %d pairs and lags", len(studies), len(pairs))


if __name__ == "__main__":
    program.run(main, Comparison)
