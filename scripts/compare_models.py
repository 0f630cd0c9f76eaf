"""Compare models over relative depth: all coefficients, pairs of models, and claims that hold."""

import pandas as pd

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.regression.across_models import comparison, replication
from attnlag.regression.settings import Errors
from attnlag.storage import tables
from attnlag.storage.results import Declared, Results


def main(job):
    declared = Declared(vars(job.input))
    studies = []
    for path in job.input.coefficients:
        results = Results(path.parent, declared)
        study = comparison.ComparedStudy(
            results.table("coefficients"),
            results.record_of("coefficients"),
            results.paths("crossproducts"),
            results.table("controls"),
            results.optional("untrained_scales"),
        )
        studies.append(study)
    inference = comparison.common_inference(studies)
    settings = Errors(**{name: inference[name] for name in Errors.model_fields})
    coefficients = comparison.combined_coefficients(studies)
    pairs = comparison.pairs_of_models(studies, settings)
    held = pd.concat(
        replication.claims_of_study(
            study.keys,
            comparison.profile(study.moments()),
            comparison.profile(study.moments(corrected=False)),
            study.controls,
            study.untrained_scales,
            settings,
        )
        for study in studies
    )

    # The provenance of each study is that of its own table.
    made_from = [{**study.keys, "record": study.record} for study in studies]
    shared = {"stages": {"regression": inference}}
    record = tables.provenance(shared, "comparison", {}, "numpy", "pandas", studies=made_from)
    tables.write_frame(coefficients, job.output.coefficients, record)
    tables.write_frame(pairs, job.output.pairs, record)
    tables.write_frame(held, job.output.claims, record)
    log.info(f"compared {len(studies)} studies: {counted(len(pairs), 'row')} of pairs of models")
