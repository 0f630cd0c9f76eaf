"""Findings of the analyses beside regressions, from the files of a job."""

from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.errors import counted
from attnlag.regression.limits import MIN_DOCUMENTS
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

# What is said of few texts, and what is not fitted for these.
TOO_FEW = (
    f"this is said of {{}} alone: with fewer than {MIN_DOCUMENTS} documents, intervals say "
    "nothing about other texts"
)
NOT_FITTED = {
    "heads": ", and no lag of heads is fitted",
    "sources": ", and no lag of what tokens write is fitted",
}


def findings_of(analysis: str, files: Declared, folder: Path) -> str:
    """Return the findings of an analysis in a folder as text."""
    record, table = files.record(TABLES[analysis], folder), files.table(TABLES[analysis], folder)
    about, lags = f"{folder.parent.name}, {analysis}", pd.DataFrame()
    if analysis == "directions":
        lines = geometry.geometry_findings(table)
    elif analysis == "readout":
        settings = record.settings("traced_table")
        lines = sources.readout_findings(
            table, record["check"], settings["alpha"], settings["adjust"]
        )
    elif analysis == "sources":
        about, lags = analysis, files.table("lags", folder)
        lines = sources.sources_findings(table, lags, record["check"])
    elif analysis == "causal":
        about, alpha = "interventions", record.settings("elasticities")["alpha"]
        trials = files.table("prediction_vs_effect", folder)
        changes = files.table("finite_effects", folder)
        lines = causal.causal_findings(table, trials, changes, alpha)
    else:
        sample = record["sampled"] and f", a sample of {counted(record['sampled'], 'document')}"
        about = f"attention{sample or ''}, heads"
        sinks = "attention to first tokens is measured with `sources` alone"
        if record["traced"] is not None:
            sinks = f"attention to first tokens is unknown: {record['traced'] or 'no documents'}"
        lags = files.table("head_coefficients", folder)
        regression = record.settings("heads_table")["regression"]
        lines = heads.heads_findings(table, lags, regression, record["check"], sinks)
    known = table.get("documents", pd.Series(dtype=float)).max()
    texts = int(np.nanmin([known, record["corpus"]["texts"]]))
    if texts < MIN_DOCUMENTS and len(lines) > 1:
        # Copies of a text may suffice for a fit.
        fitted = lags.get("estimate", pd.Series(dtype=float)).notna().any()
        not_fitted = "" if fitted else NOT_FITTED.get(analysis, "")
        lines.append(TOO_FEW.format(counted(texts, "text")) + not_fitted)
    return titled(f"{record.names}, {about}:", lines)
