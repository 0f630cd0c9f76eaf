"""Write the findings of one model and corpus in words, from the tables of its results."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities.columns import layer_name
from attnlag.report import analyses, findings
from attnlag.report.regression_tables import declared
from attnlag.report.summaries import layer_summary
from attnlag.storage import writing
from attnlag.storage.declared import Declared


def main(job):
    files = Declared(**vars(job.input))
    regressions = declared(**vars(job.input))
    outputs = zip(regressions, job.output.regressions, job.output.summaries, strict=True)
    for regression, path, path_of_summaries in outputs:
        name = ", ".join(regression.folder.parts[-4:])
        fitted = regression.fit
        by_class = [
            files.table(kind, regression.folder)
            for kind in ("classes", "equal_slopes", "nested_models")
            if files.one_of(kind, regression.folder)
        ]
        text = findings.of_regression(fitted, name, by_class, regression.by_step)
        writing.write_text(text, path)
        with writing.replaced_whole(path_of_summaries) as folder:
            for layer in fitted.layers:
                text = layer_summary(fitted, layer, name)
                writing.write_text(text, folder / f"{layer_name(layer)}.txt")
    # Only of what a configuration asks for.
    for name, paths in vars(job.output).items():
        for path in paths if name in analyses.TABLES else ():
            writing.write_text(analyses.findings_of(name, files, path.parent), path)
    study = regressions[0].of_corpus
    log.info(f"{', '.join(study.parts[-2:])}: {counted(len(regressions), 'regression')}")
