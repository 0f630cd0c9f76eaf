"""Write the findings of one model and corpus, which are claims in words."""

from attnlag.claims.analyses import claims_of_run, in_memory
from attnlag.claims.results import regressions_in
from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities.columns import layer_name
from attnlag.report import findings
from attnlag.report.summaries import layer_summary
from attnlag.storage import writing
from attnlag.storage.results import declared_by


def main(job):
    results = declared_by(vars(job.input))
    claims = in_memory(claims_of_run(results))
    regressions = regressions_in(results)
    outputs = zip(regressions, job.output.regressions, job.output.summaries, strict=True)
    for regression, path, path_of_summaries in outputs:
        name = ", ".join(regression.folder.parts[-4:])
        fitted = regression.fit
        regression_claims = claims.of(*regression.folder.parts[-4:])
        text = findings.findings_of_regression(regression_claims, name, fitted.settings.outcome)
        writing.write_text(text, path)
        with writing.replaced_whole(path_of_summaries) as folder:
            for layer in fitted.layers:
                text = layer_summary(fitted, layer, name)
                writing.write_text(text, folder / f"{layer_name(layer)}.txt")
    # Only analyses that the configuration asks for have findings.
    for name in findings.LINES_OF_ANALYSES:
        for path in vars(job.output).get(name, ()):
            folder_claims = claims.folder_claims(name, path.parent)
            writing.write_text(findings.findings_of_analysis(name, folder_claims), path)
    study = regressions[0].study_folder
    log.info(f"{', '.join(study.parts[-2:])}: {counted(len(regressions), 'regression')}")
