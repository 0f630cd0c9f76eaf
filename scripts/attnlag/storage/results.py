"""The tables of results that a job declares, read once each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from attnlag.errors import UserError, nearest
from attnlag.storage import tables


class Declared:
    """The declared files of a job by name and folder, and what was read from them."""

    def __init__(self, files: Mapping[str, Path | Sequence[Path]]) -> None:
        self.names = list(files)
        self.below: dict[tuple[str, Path], list[Path]] = {}
        self.tables: dict[Path, pd.DataFrame] = {}
        self.records: dict[Path, tables.Record] = {}
        for name, paths in files.items():
            for path in [paths] if isinstance(paths, Path) else paths:
                # All are below the folder without a name, be their paths relative or not.
                for folder in {Path(), *path.parents}:
                    self.below.setdefault((name, folder), []).append(path)

    @property
    def first(self) -> Path:
        """The first file."""
        return next(iter(self.below.values()))[0]

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in a file, which is read once."""
        if path not in self.tables:
            self.tables[path] = pd.read_parquet(path)
        return self.tables[path]

    def record(self, path: Path) -> tables.Record:
        """Return the provenance of a file, which is read once."""
        if path not in self.records:
            self.records[path] = tables.read_provenance(path)
        return self.records[path]


class Results:
    """The declared results below a folder, or below another one that a call names.

    A file that the job does not declare does not exist here, whatever lies on the disk: results of
    another configuration do not mix with those of this one. Tables have the names that the job's
    rule gives them.

    Parameters
    ----------
    folder : Path
        The folder of an analysis, such as a regression, or of the results of all.
    declared : Declared
        The files of the job.
    """

    def __init__(self, folder: Path, declared: Declared) -> None:
        self.folder = folder
        self.declared = declared

    def paths(self, table: str, folder: Path | None = None) -> list[Path]:
        """Return the declared files of a table, in their order; none if there is no such table."""
        return self.declared.below.get((table, folder or self.folder), [])

    def has(self, table: str, folder: Path | None = None) -> bool:
        """Return whether a table is declared."""
        return bool(self.paths(table, folder))

    def path(self, table: str, folder: Path | None = None) -> Path:
        """Return the first declared file of a table.

        Raises
        ------
        UserError
            If the job declares no such table below the folder.
        """
        paths = self.paths(table, folder)
        if not paths:
            names = self.declared.names
            raise UserError(
                f"{folder or self.folder}: found no declared table '{table}', expected one of "
                f"{', '.join(sorted(names))}{nearest(table, names)}"
            )
        return paths[0]

    def table(self, table: str, folder: Path | None = None) -> pd.DataFrame:
        """Return a declared table; raise UserError, as `path` does, for another one."""
        return self.declared.read(self.path(table, folder))

    def optional(self, table: str, folder: Path | None = None) -> pd.DataFrame:
        """Return a table, which is empty if it is not declared."""
        return self.table(table, folder) if self.has(table, folder) else pd.DataFrame()

    def record_of(self, table: str, folder: Path | None = None) -> tables.Record:
        """Return the provenance of a declared table."""
        return self.declared.record(self.path(table, folder))


def declared_by(files: Mapping[str, Path | Sequence[Path]]) -> Results:
    """Return all results that a job declares: ``vars(job.input)``, by the names in its rule."""
    return Results(Path(), Declared(files))
