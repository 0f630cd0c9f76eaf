"""Write the findings of one model and corpus in words, from the tables of its results."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.quantities.columns import layer_name
from attnlag.report import causal, findings, geometry, heads, sources
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
        text = findings.of_regression(fitted, name, by_class)
        writing.write_text(text, path)
        with writing.replaced_whole(path_of_summaries) as folder:
            for layer in fitted.layers:
                text = layer_summary(fitted, layer, name)
                writing.write_text(text, folder / f"{layer_name(layer)}.txt")
    # Only of what a configuration asks for.
    for name, paths in vars(job.output).items():
        for path in paths if name in OTHERS else ():
            writing.write_text(OTHERS[name](files, path.parent), path)
    study = regressions[0].of_corpus
    program.log.info(f"{', '.join(study.parts[-2:])}: {counted(len(regressions), 'regression')}")


def of_directions(files, folder):
    name = f"{files.record('directions', folder).names}, {folder.parent.name}"
    return geometry.geometry_findings(files.table("directions", folder), name)


def of_heads(files, folder):
    table, lags = (files.table(name, folder) for name in ("heads", "head_coefficients"))
    record = files.record("heads", folder)
    name = f"{record.names}, attention"
    if record["sampled"]:
        name += f", a sample of {counted(record['sampled'], 'document')}"
    sinks = "attention to first tokens is measured with `sources` alone"
    if record["traced"] is not None:
        sinks = f"attention to first tokens is unknown: {record['traced'] or 'no documents'}"
    regression = record.settings("heads_table")["regression"]
    return heads.heads_findings(table, lags, name, regression, record["proof"], sinks)


def of_sources(files, folder):
    shares, lags = (files.table(name, folder) for name in ("shares", "lags"))
    record = files.record("shares", folder)
    return sources.sources_findings(shares, lags, record.names, record["proof"])


def of_readout(files, folder):
    record = files.record("readout", folder)
    name = f"{record.names}, {folder.parent.name}"
    return sources.readout_findings(files.table("readout", folder), name, record["proof"])


def of_causal(files, folder):
    names = ("total_effects", "prediction_vs_effect")
    effects, predictions = (files.table(name, folder) for name in names)
    record = files.record("total_effects", folder)
    alpha = record.settings("elasticities")["alpha"]
    return causal.causal_findings(effects, predictions, name=record.names, alpha=alpha)


# What tells the other findings, by the names of outputs.
OTHERS = {
    "directions": of_directions,
    "heads": of_heads,
    "sources": of_sources,
    "readout": of_readout,
    "causal": of_causal,
}

if __name__ == "__main__":
    program.run(main)
