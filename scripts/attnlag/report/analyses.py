"""Findings of the analyses beside regressions, from the files that a job declares."""

from pathlib import Path

from attnlag.errors import counted
from attnlag.report import causal, geometry, heads, sources
from attnlag.report.wording import titled
from attnlag.storage.declared import Declared

# The table that has the provenance of an analysis, by the name that the flow gives to its findings.
TABLES = {
    "directions": "directions",
    "heads": "heads",
    "sources": "shares",
    "readout": "readout",
    "causal": "total_effects",
}


def findings_of(analysis: str, files: Declared, folder: Path) -> str:
    """Return the findings of an analysis in a folder as text."""
    record, table = files.record(TABLES[analysis], folder), files.table(TABLES[analysis], folder)
    about = f"{folder.parent.name}, {analysis}"
    if analysis == "directions":
        lines = geometry.geometry_findings(table)
    elif analysis == "readout":
        lines = sources.readout_findings(table, record["proof"])
    elif analysis == "sources":
        about = analysis
        lines = sources.sources_findings(table, files.table("lags", folder), record["proof"])
    elif analysis == "causal":
        about, alpha = "interventions", record.settings("elasticities")["alpha"]
        trials = files.table("prediction_vs_effect", folder)
        lines = causal.causal_findings(table, trials, alpha)
    else:
        sample = record["sampled"] and f", a sample of {counted(record['sampled'], 'document')}"
        about = f"attention{sample or ''}, heads"
        sinks = "attention to first tokens is measured with `sources` alone"
        if record["traced"] is not None:
            sinks = f"attention to first tokens is unknown: {record['traced'] or 'no documents'}"
        lags = files.table("head_coefficients", folder)
        regression = record.settings("heads_table")["regression"]
        lines = heads.heads_findings(table, lags, regression, record["proof"], sinks)
    return titled(f"{record.names}, {about}:", lines)
