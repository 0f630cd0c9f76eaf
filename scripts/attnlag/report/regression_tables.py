"""The tables of one regression of a run."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.quantities.catalogue import OUTCOMES
from attnlag.regression.terms import lags_among
from attnlag.storage import tables


@dataclass
class RegressionTables:
    """The tables in a folder ``results/{model}/{corpus}/{site}/{name}``, and those beside it."""

    folder: Path
    model: str = field(init=False)
    corpus: str = field(init=False)
    site: str = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.model, self.corpus, self.site, self.name = self.folder.parts[-4:]

    def shards(self, *folders: str) -> list[Path]:
        """Return the files of all shards of a kind of table of the model and the corpus."""
        return tables.shards(self.folder.parents[1].joinpath(*folders, "0000.parquet"))

    @cached_property
    def record(self) -> tables.Record:
        """The provenance of the coefficients."""
        return tables.read_provenance(self.folder / "coefficients.parquet")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the fit."""
        return self.record.settings("regression")

    @property
    def is_of_norms(self) -> bool:
        """Whether the outcome is norms or relative norms."""
        return OUTCOMES[self.settings["outcome"]].folder == "norms"

    @property
    def has_effects(self) -> bool:
        """Whether the means of documents are removed."""
        return self.settings["fixed_effects"] == "document"

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The coefficients, by layer and term."""
        return pd.read_parquet(self.folder / "coefficients.parquet").query("subset == 'all'")

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The goodness of fit, by layer."""
        return pd.read_parquet(self.folder / "fits.parquet")

    @property
    def fitted(self) -> pd.DataFrame:
        """The rows of ``fits`` of the layers that were fitted."""
        return self.fits[self.fits["status"] == "ok"]

    @cached_property
    def controls(self) -> pd.DataFrame:
        """The lags and leads beside those of the controls, by layer and term."""
        return pd.read_parquet(self.folder / "controls.parquet")

    @cached_property
    def before_training(self) -> pd.DataFrame | None:
        """The comparison with random weights, by scale and quantity; None without it."""
        path = self.folder / "before_training.parquet"
        return pd.read_parquet(path) if path.exists() else None

    @property
    def terms(self) -> list[str]:
        """Lags, nearest first, and then leads."""
        return lags_among(list(self.coefficients["term"]))

    def of_term(self, term: str) -> pd.DataFrame:
        """Return the coefficients of a term that were estimated."""
        rows = self.coefficients[self.coefficients["term"] == term]
        return rows.dropna(subset="estimate")
