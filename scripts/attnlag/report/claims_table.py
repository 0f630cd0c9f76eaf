"""The claims of a study as one table, a row a claim, and such tables read back."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnlag.claims.causes import on_the_next_token
from attnlag.claims.directions import claims_of_directions
from attnlag.claims.heads import claims_of_heads
from attnlag.claims.regression import Further, claims_of_regression
from attnlag.claims.row import STUDY, Row, frame
from attnlag.claims.run import CAUSAL, MEASURED, RunClaims, by_analysis, causal_from
from attnlag.claims.sources import claims_of_readout, claims_of_sources
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables

# The table that has the provenance of an analysis, by the name that the flow gives to its findings.
TABLES = {
    "directions": "directions",
    "heads": "heads",
    "sources": "shares",
    "readout": "readout",
}

# Analyses that regress the norms of parts of adjustments.
WITH_LAGS = ("heads", "sources")


def claims_of_study(
    regressions: Sequence[RegressionTables],
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the claims of all regressions and of what stands beside them, in their order.

    The second value has the provenance of each analysis with the names of its study. ``analysis``
    names a regression, or another analysis of its site.
    """
    parts = []
    studies: list[dict[str, Any]] = []
    sites = set()
    for regression in regressions:
        place = (regression.model, regression.corpus, regression.site)
        found = {regression.name: (regression.record, [*_of_regression(regression)])}
        if regression.of_site not in sites:
            sites.add(regression.of_site)
            found = {MEASURED: (regression.record, [measured(regression)]), **found}
            found |= _of_site(regression)
        for analysis, (record, rows) in found.items():
            names = dict(zip(STUDY, (*place, analysis), strict=True))
            parts.append(frame(rows, **names))
            studies.append({"place": [*names.values()], "record": record})
    return pd.concat(parts, ignore_index=True), studies


def in_memory(regressions: Sequence[RegressionTables]) -> RunClaims:
    """Return the claims of some regressions as `read_claims` reads them."""
    table, studies = claims_of_study(regressions)
    records = {tuple(study["place"]): study["record"] for study in studies}
    return RunClaims(by_analysis(table), records)


def measured(regression: RegressionTables) -> Row:
    """Return how many tokens of how many documents were measured, in how many layers."""
    corpus = regression.record["corpus"]
    return Row(
        claim="measured",
        subject=regression.site,
        value=float(tables.row_count(regression.files.all_of("norms", regression.of_site))),
        unit="tokens",
        baseline="documents",
        baseline_value=float(corpus["documents"]),
        layers=int(regression.fits["layer"].nunique()),
        texts=int(corpus["texts"]),
        table="norms",
    )


def _of_regression(regression: RegressionTables) -> Iterator[Row]:
    """Yield the claims of a regression."""
    files = regression.files
    folder = regression.folder
    tests = files.table("equal_slopes", folder)
    trait = ""
    if len(tests):
        trait = files.record("equal_slopes", folder).settings("classes")["property"]
    further = Further(
        slopes=files.table("classes", folder),
        tests=tests,
        trait=trait,
        steps=files.table("nested_models", folder),
        by_step=regression.by_step,
    )
    yield from claims_of_regression(regression.fit, regression.texts, further)


def _of_site(regression: RegressionTables) -> dict[str, tuple[tables.Record, list[Row]]]:
    """Return the provenance and the claims of each analysis of a site that was made."""
    found = {}
    for analysis, (folder, claims) in ANALYSES.items():
        path = regression.of_site / folder
        if regression.files.one_of(TABLES[analysis], path) is None:
            continue
        record = regression.files.record(TABLES[analysis], path)
        rows = [*claims(regression, path, record)]
        table = regression.files.table(TABLES[analysis], path)
        found[analysis] = (record, [*rows, *few_texts(analysis, table, rows, record)])
    return found | _of_pairs(regression)


def _of_pairs(regression: RegressionTables) -> dict[str, tuple[tables.Record, list[Row]]]:
    """Return the claims of interventions observed at a site, by the site that was changed."""
    path = regression.of_corpus
    if regression.files.one_of("total_effects", path) is None:
        return {}
    record = regression.files.record("total_effects", path)
    total = regression.files.table("total_effects", path)
    others = ("elasticities", "prediction_vs_effect", "finite_effects")
    found = {}
    sources = total.loc[total["target_site"] == regression.site, "source_site"].unique()
    for source in sources.tolist() or [regression.site]:
        rows = [
            *on_the_next_token(
                total,
                *(regression.files.table(name, path) for name in others),
                source=source,
                target=regression.site,
                alpha=record.settings("elasticities")["alpha"],
                texts=regression.record["corpus"]["texts"],
            )
        ]
        rows += few_texts(CAUSAL, total, rows, record)
        found[causal_from(source, regression.site)] = (record, rows)
    return found


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


def _readout(regression: RegressionTables, path: Path, record: tables.Record) -> Iterator[Row]:
    settings = record.settings("traced_table")
    effects = regression.files.table("readout", path)
    yield from claims_of_readout(effects, settings["alpha"], settings["adjust"])


def _heads(regression: RegressionTables, path: Path, record: tables.Record) -> Iterator[Row]:
    yield from claims_of_heads(
        regression.files.table("heads", path),
        regression.files.table("head_coefficients", path),
        str(record.settings("heads_table")["regression"]),
    )


def _directions(regression: RegressionTables, path: Path, record: tables.Record) -> Iterator[Row]:
    yield from claims_of_directions(regression.files.table("directions", path))


def _sources(regression: RegressionTables, path: Path, record: tables.Record) -> Iterator[Row]:
    yield from claims_of_sources(
        regression.files.table("shares", path), regression.files.table("lags", path)
    )


# The analyses of a site beside its regressions: their folders, and their claims.
ANALYSES = {
    "readout": ("readout", _readout),
    "heads": ("heads", _heads),
    "directions": ("geometry", _directions),
    "sources": ("sources", _sources),
}
