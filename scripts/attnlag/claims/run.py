"""The claims of a run, by what they are about, as its tables of claims have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attnlag.claims.row import STUDY, Row, rows_in
from attnlag.storage import tables

# What a job measured, beside its analyses.
MEASURED = "measured"

CAUSAL = "causal"


@dataclass(frozen=True)
class Claims:
    """The claims of one analysis, or of several that stand side by side."""

    rows: tuple[Row, ...]

    def all(self, claim: str, first: str = "") -> list[Row]:
        """Return the claims of a name, perhaps of one first name of their subjects alone."""
        rows = [row for row in self.rows if row.claim == claim]
        if first:
            rows = [row for row in rows if row.names[0] == first]
        return rows

    def one(self, claim: str, subject: str = "") -> Row | None:
        """Return the first claim of a name, perhaps of a subject; None without one."""
        rows = self.all(claim)
        if subject:
            rows = [row for row in rows if row.subject == subject]
        return next(iter(rows), None)


def by_analysis(table: pd.DataFrame) -> dict[tuple[str, ...], Claims]:
    """Return the claims of a run by the names in `STUDY`, in the order of the table."""
    grouped = table.groupby(list(STUDY), sort=False)
    return {tuple(map(str, key)): Claims(tuple(rows_in(rows))) for key, rows in grouped}


@dataclass(frozen=True)
class RunClaims:
    """The claims of some studies.

    Parameters
    ----------
    analyses : mapping
        The claims by model, corpus, site and analysis.
    records : mapping
        The provenance of the tables that they come from, by the same names.
    """

    analyses: Mapping[tuple[str, ...], Claims]
    records: Mapping[tuple[str, ...], tables.Record]

    def of(self, *study: str) -> Claims:
        """Return the claims of an analysis, none where it has none."""
        return self.analyses.get(study, Claims(()))

    def folder_claims(self, analysis: str, folder: Path) -> list[tuple[str, Claims, tables.Record]]:
        """Return the claims of an analysis whose findings stand in a folder.

        Each comes with its site, or with the pair of sites of interventions, whose folder is that
        of all pairs, and with its provenance.
        """
        found = []
        for key, record in self.records.items():
            _, _, site, name = key
            source = name.removeprefix(f"{CAUSAL}, ")
            if analysis == CAUSAL and name == CAUSAL:
                found.append((site, self.of(*key), record))
            elif analysis == CAUSAL and source != name:
                found.append((f"{source} to {site}", self.of(*key), record))
            elif name == analysis and site == folder.parts[-2]:
                found.append((site, self.of(*key), record))
        return found


def read_claims(path: Path) -> RunClaims:
    """Return the claims in the table of a run."""
    records: dict[tuple[str, ...], tables.Record] = {}
    for study in tables.read_provenance(path)["studies"]:
        records[tuple(study["place"])] = tables.Record(study["record"])
    return RunClaims(by_analysis(pd.read_parquet(path)), records)


def causal_from(source: str, site: str) -> str:
    """Return the name of the analysis of the effects of a site's changes on another, or itself."""
    if source == site:
        return CAUSAL
    return f"{CAUSAL}, {source}"
