"""The claims of each analysis, from the files that its job declares."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims.causes import on_the_next_token
from attnlag.claims.directions import claims_of_directions
from attnlag.claims.heads import claims_of_heads
from attnlag.claims.regression import Further, claims_of_regression
from attnlag.claims.results import RegressionResults
from attnlag.claims.row import STUDY, Row, frame
from attnlag.claims.run import CAUSAL, MEASURED, causal_from
from attnlag.claims.sources import claims_of_readout, claims_of_sources
from attnlag.quantities.columns import layer_numbers
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.storage import tables
from attnlag.storage.results import Results

# Analyses that regress the norms of parts of adjustments.
WITH_LAGS = ("heads", "sources")


@dataclass(frozen=True)
class AnalysisClaims:
    """The claims of an analysis of a site, and the provenance of what they are about.

    ``analysis`` names a regression, or another analysis of its site.
    """

    site: str
    analysis: str
    record: tables.Record
    rows: Sequence[Row]

    @property
    def study(self) -> dict[str, str]:
        """The names of model, corpus, site and analysis, by those of `STUDY`."""
        model = self.record["model"]["name"]
        corpus = self.record["corpus"]["name"]
        return dict(zip(STUDY, (model, corpus, self.site, self.analysis), strict=True))


def as_table(found: Iterable[AnalysisClaims]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the claims of some analyses as one table.

    The second value has the provenance of each analysis with the names of its study.
    """
    parts = []
    studies: list[dict[str, Any]] = []
    for each in found:
        parts.append(frame(each.rows, **each.study))
        studies.append({"place": [*each.study.values()], "record": each.record})
    return pd.concat(parts, ignore_index=True), studies


def claim_adjustments(results: Results) -> Iterator[AnalysisClaims]:
    """Yield what was measured at the site of a folder, and where its adjustments point."""
    site = results.folder.name
    norms = results.paths("norms")
    record = tables.read_provenance(norms[0])
    yield AnalysisClaims(site, MEASURED, record, [measured(norms, site, record)])
    if results.has("directions"):
        table = results.table("directions")
        record = results.record_of("directions")
        rows = [*claims_of_directions(table)]
        rows += few_texts("directions", table, rows, record)
        yield AnalysisClaims(site, "directions", record, rows)


def measured(norms: Sequence[Path], site: str, record: tables.Record) -> Row:
    """Return how many tokens of how many documents were measured, in how many layers."""
    return Row(
        claim="measured",
        subject=site,
        value=float(tables.row_count(norms)),
        unit="tokens",
        baseline="documents",
        baseline_value=float(record["corpus"]["documents"]),
        layers=len(layer_numbers(pq.read_schema(norms[0]))),
        texts=int(record["corpus"]["texts"]),
        table="norms",
    )


def claim_regression(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of the regression of a folder."""
    yield regression_claims(RegressionResults(results.folder, results.declared))


def regression_claims(regression: RegressionResults) -> AnalysisClaims:
    """Return the claims of a regression."""
    tests = regression.optional("equal_slopes")
    trait = ""
    if len(tests):
        trait = regression.record_of("equal_slopes").settings("classes")["property"]
    by_step = None
    if regression.has("training"):
        by_step = regression.table("training")
    further = Further(
        slopes=regression.optional("classes"),
        tests=tests,
        trait=trait,
        steps=regression.optional("nested_models"),
        by_step=by_step,
    )
    rows = [*claims_of_regression(regression.fit, regression.texts, further)]
    return AnalysisClaims(regression.site, regression.name, regression.record, rows)


def claim_heads(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of the attention heads of a folder."""
    table = results.table("heads")
    record = results.record_of("heads")
    regression = record.settings("heads_table")["regression"]
    lags = results.table("head_coefficients")
    rows = [*claims_of_heads(table, lags, str(regression))]
    rows += few_texts("heads", table, rows, record)
    yield AnalysisClaims(results.folder.parent.name, "heads", record, rows)


def claim_sources(results: Results) -> Iterator[AnalysisClaims]:
    """Yield who writes the adjustments of attention, and what those of each site say."""
    if results.has("shares"):
        table = results.table("shares")
        record = results.record_of("shares")
        rows = [*claims_of_sources(table, results.table("lags"))]
        rows += few_texts("sources", table, rows, record)
        yield AnalysisClaims(results.folder.parent.name, "sources", record, rows)
    for path in results.paths("readout", results.folder.parents[1]):
        effects = results.declared.read(path)
        record = tables.read_provenance(path)
        settings = record.settings("traced_table")
        rows = [*claims_of_readout(effects, settings["alpha"], settings["adjust"])]
        rows += few_texts("readout", effects, rows, record)
        yield AnalysisClaims(path.parents[1].name, "readout", record, rows)


def claim_effects(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of interventions for each pair of sites that were changed and observed."""
    record = results.record_of("total_effects")
    total = results.table("total_effects")
    others = ("elasticities", "prediction_vs_effect", "finite_effects")
    settings = record.settings("effects")
    for target in settings["target_sites"]:
        for source in settings["source_sites"]:
            rows = [
                *on_the_next_token(
                    total,
                    *(results.table(name) for name in others),
                    source=source,
                    target=target,
                    texts=record["corpus"]["texts"],
                )
            ]
            rows += few_texts(CAUSAL, total, rows, record)
            yield AnalysisClaims(target, causal_from(source, target), record, rows)


def few_texts(
    analysis: str, table: pd.DataFrame, rows: Sequence[Row], record: tables.Record
) -> Iterator[Row]:
    """Yield that texts are too few for intervals, where anything is claimed of them."""
    documents = table.get("documents", pd.Series(dtype=float)).max()
    texts = int(np.nanmin([documents, record["corpus"]["texts"]]))
    if texts < MIN_DOCUMENTS and any(row.claim != "nothing" for row in rows):
        yield Row(claim="few_texts_measured", bound=MIN_DOCUMENTS, texts=texts)
        # Copies of a text may suffice for a fit.
        claimed = {row.claim for row in rows}
        if analysis in WITH_LAGS and not claimed & {"head_lag", "lag_of_part"}:
            yield Row(claim="lags_not_fitted")


# What makes the claims of a stage, from the declared results of the folder that they stand in.
STAGES: dict[str, Callable[[Results], Iterator[AnalysisClaims]]] = {
    "claim_adjustments": claim_adjustments,
    "claim_regression": claim_regression,
    "claim_heads": claim_heads,
    "claim_sources": claim_sources,
    "claim_effects": claim_effects,
}
