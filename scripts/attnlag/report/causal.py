"""Findings of interventions in words."""

from collections.abc import Iterator
from math import nan
from typing import Any

import pandas as pd

from attnlag import wording
from attnlag.claims import causes

# With more target layers, only the smallest and the largest effect are stated.
MAX_LAYERS = 6

SOURCES_AND_TARGETS = ["source_site", "target_site", "source_layer"]


def causal_findings(
    effects: pd.DataFrame, trials: pd.DataFrame, changes: pd.DataFrame, alpha: float
) -> list[str]:
    """Return the effects on the next token, layer by layer, beside what is predicted.

    They are those of the tables ``total_effects``, ``prediction_vs_effect`` and, as ``changes``,
    ``finite_effects``.
    """
    lines = []
    effects = effects[effects["lag"] == 1]
    for (source, target), rows in effects.groupby(["source_site", "target_site"], sort=False):
        sites = _sites(source, target)
        lines += [f"{sites}: {text}" for text in _by_layer(rows, alpha)]
    for row in trials.query("lag == 1").itertuples():
        sites = _sites(row.source_site, row.target_site)
        lines.append(f"{sites}: {wording.trial(causes.trial(row))}")
    near = changes[changes["lag"] == 1]
    for (source, target, _), rows in near.groupby(SOURCES_AND_TARGETS, sort=False, observed=True):
        sites = _sites(source, target)
        for claim in causes.finite(rows, alpha):
            lines.append(f"{sites}: {wording.finite(claim)}")
    if effects.empty:
        lines.append("no document has a token with a previous one")
    return lines


def _by_layer(rows: pd.DataFrame, alpha: float) -> Iterator[str]:
    """Yield the effects on each target layer, or on the two extremes of many."""
    shares = {share.subject: share for share in causes.shares(rows, alpha)}
    if not shares:
        yield wording.clause(wording.NO_EARLIER_LAYER)
        return
    own = {lag.subject: lag.value for lag in causes.own_lags(rows)}
    for effect in causes.extremes(causes.effects(rows, alpha), MAX_LAYERS):
        layer = effect.subject
        yield wording.effect_finding(effect, shares[layer], own.get(layer, nan))


def _sites(source: Any, target: Any) -> str:
    return target if source == target else f"{source} to {target}"
