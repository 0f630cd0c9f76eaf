"""The claims of each analysis, from the tables that a job declares."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims.causes import on_the_next_token
from attnlag.claims.directions import claims_of_directions
from attnlag.claims.heads import claims_of_heads
from attnlag.claims.results import RegressionResults, regressions_in
from attnlag.claims.row import STUDY, Row, frame
from attnlag.claims.run import CAUSAL, MEASURED, Claims, RunClaims, causal_from
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


def in_memory(found: Iterable[AnalysisClaims]) -> RunClaims:
    """Return the claims of some analyses as `attnlag.claims.run.read_claims` reads them."""
    analyses = {}
    records = {}
    for each in found:
        key = tuple(each.study.values())
        analyses[key] = Claims(tuple(each.rows))
        records[key] = each.record
    return RunClaims(analyses, records)


def claims_of_run(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of all analyses whose tables are declared, study by study."""
    studies = dict.fromkeys(path.parents[2].parent for path in results.paths("coefficients"))
    for folder in studies:
        yield from claims_of_study(Results(folder, results.declared))


def claims_of_study(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of the analyses of a model and a corpus, those of sites first.

    ``results`` are those in the folder of the model and the corpus.
    """
    regressions = regressions_in(results)
    for site in dict.fromkeys(regression.site_folder for regression in regressions):
        if results.has("norms", site):
            yield measured(results, site)
        if results.has("directions", site):
            yield directions(results, site)
        for regression in regressions:
            if regression.site_folder == site:
                yield fitted(regression)
    if results.has("heads"):
        yield heads(results)
    if results.has("shares"):
        yield sources(results)
    for path in results.paths("readout"):
        yield readout(results, path.parents[1])
    if results.has("total_effects"):
        yield from effects(results)


def measured(results: Results, site: Path) -> AnalysisClaims:
    """Return how many tokens of how many documents were measured at a site, in which layers."""
    paths = results.paths("norms", site)
    record = results.record_of("norms", site)
    row = Row(
        claim="measured",
        subject=site.name,
        value=float(tables.row_count(paths)),
        unit="tokens",
        baseline="documents",
        baseline_value=float(record["corpus"]["documents"]),
        layers=len(layer_numbers(pq.read_schema(paths[0]))),
        texts=int(record["corpus"]["texts"]),
        table="norms",
    )
    return AnalysisClaims(site.name, MEASURED, record, [row])


def directions(results: Results, site: Path) -> AnalysisClaims:
    """Return where the adjustments of a site point."""
    means = results.table("directions", site)
    record = results.record_of("directions", site)
    rows = [*claims_of_directions(means)]
    rows += few_texts("directions", means, rows, record)
    return AnalysisClaims(site.name, "directions", record, rows)


def fitted(regression: RegressionResults) -> AnalysisClaims:
    """Return the claims of a regression."""
    rows = regression.claims.rows
    return AnalysisClaims(regression.site, regression.name, regression.record, rows)


def heads(results: Results) -> AnalysisClaims:
    """Return the claims of attention heads."""
    parts = results.table("heads")
    record = results.record_of("heads")
    settings = record.settings("heads_table")
    rows = [*claims_of_heads(parts, results.table("head_coefficients"), settings)]
    rows += few_texts("heads", parts, rows, record)
    return AnalysisClaims("attention", "heads", record, rows)


def sources(results: Results) -> AnalysisClaims:
    """Return who writes the adjustments of attention."""
    shares = results.table("shares")
    record = results.record_of("shares")
    rows = [*claims_of_sources(shares, results.table("lags"))]
    rows += few_texts("sources", shares, rows, record)
    return AnalysisClaims("attention", "sources", record, rows)


def readout(results: Results, site: Path) -> AnalysisClaims:
    """Return what the adjustments of a site say of tokens."""
    effects = results.table("readout", site)
    record = results.record_of("readout", site)
    settings = record.settings("traced_table")
    rows = [*claims_of_readout(effects, settings["alpha"], settings["adjust"])]
    rows += few_texts("readout", effects, rows, record)
    return AnalysisClaims(site.name, "readout", record, rows)


def effects(results: Results) -> Iterator[AnalysisClaims]:
    """Yield the claims of interventions for each pair of sites that were changed and observed."""
    record = results.record_of("total_effects")
    total = results.table("total_effects")
    settings = record.settings("effects")
    for target in settings["target_sites"]:
        for source in settings["source_sites"]:
            rows = [
                *on_the_next_token(
                    total,
                    results.table("elasticities"),
                    results.table("prediction_vs_effect"),
                    results.table("finite_effects"),
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
