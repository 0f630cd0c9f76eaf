"""The files that a job may read, by name and by the folder that they lie in."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnlag.storage.tables import Record, read_provenance


class Declared:
    """The declared files of a job that reads the results of many others.

    A file that the job does not declare does not exist for it, whatever lies on the disk: results
    of another configuration do not mix with those of this one.
    """

    def __init__(self, **files: Path | Sequence[Path]) -> None:
        self._below: dict[tuple[str, Path], list[Path]] = {}
        for name, paths in files.items():
            for path in [paths] if isinstance(paths, Path) else paths:
                for folder in path.parents:
                    self._below.setdefault((name, folder), []).append(path)

    def all_of(self, name: str, folder: Path) -> list[Path]:
        """Return the files of a name below a folder, in their order."""
        return self._below.get((name, folder), [])

    def one_of(self, name: str, folder: Path) -> Path | None:
        """Return the first file of a name below a folder; None without one."""
        return next(iter(self.all_of(name, folder)), None)

    def table(self, name: str, folder: Path) -> pd.DataFrame:
        """Return the table of a name below a folder, empty without one."""
        path = self.one_of(name, folder)
        return pd.DataFrame() if path is None else pd.read_parquet(path)

    def record(self, name: str, folder: Path) -> Record:
        """Return the provenance of a declared table."""
        return read_provenance(self.all_of(name, folder)[0])
