"""Findings of the analyses beside regressions, from the files that a job declares."""

from collections.abc import Callable
from pathlib import Path

from attnlag.errors import counted
from attnlag.report import causal, geometry, heads, sources
from attnlag.storage.declared import Declared


def _of_directions(files: Declared, folder: Path) -> str:
    name = f"{files.record('directions', folder).names}, {folder.parent.name}"
    return geometry.geometry_findings(files.table("directions", folder), name)


def _of_heads(files: Declared, folder: Path) -> str:
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


def _of_sources(files: Declared, folder: Path) -> str:
    shares, lags = (files.table(name, folder) for name in ("shares", "lags"))
    record = files.record("shares", folder)
    return sources.sources_findings(shares, lags, record.names, record["proof"])


def _of_readout(files: Declared, folder: Path) -> str:
    record = files.record("readout", folder)
    name = f"{record.names}, {folder.parent.name}"
    return sources.readout_findings(files.table("readout", folder), name, record["proof"])


def _of_effects(files: Declared, folder: Path) -> str:
    names = ("total_effects", "prediction_vs_effect")
    effects, predictions = (files.table(name, folder) for name in names)
    record = files.record("total_effects", folder)
    alpha = record.settings("elasticities")["alpha"]
    return causal.causal_findings(effects, predictions, name=record.names, alpha=alpha)


# What tells the findings in a folder, by the names that the flow gives to their files.
FINDINGS: dict[str, Callable[[Declared, Path], str]] = {
    "directions": _of_directions,
    "heads": _of_heads,
    "sources": _of_sources,
    "readout": _of_readout,
    "causal": _of_effects,
}
