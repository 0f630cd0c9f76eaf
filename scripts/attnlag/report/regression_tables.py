"""The tables of one regression of a run."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from attnlag.claims.fits import FitTables
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import lags_among
from attnlag.storage import tables
from attnlag.storage.declared import Declared


class RegressionTables:
    """The tables of a regression in ``results/{model}/{corpus}/{site}/{name}``, as declared."""

    def __init__(self, folder: Path, files: Declared):
        self.folder = folder
        self.files = files
        self.model, self.corpus, self.site, self.name = folder.parts[-4:]
        # The folders of its site, and of its model and corpus.
        self.of_site = folder.parent
        self.of_corpus = folder.parents[1]
        # The names of its model, corpus and site: ``tiny/small/attention``.
        self.study = "/".join(folder.parts[-4:-1])

    def file(self, name: str) -> Path:
        """Return a file of the regression that every run has."""
        path = self.files.one_of(name, self.folder)
        assert path is not None, f"{self.folder}: the job declares no {name}"
        return path

    def corpus_file(self) -> Path:
        """Return the file of its corpus."""
        corpora = self.files.all_of("corpora", self.folder.parents[3])
        return next(path for path in corpora if path.stem == self.corpus)

    @cached_property
    def record(self) -> tables.Record:
        """The provenance of the coefficients."""
        return tables.read_provenance(self.file("coefficients"))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the fit."""
        return self.record.settings("regression")

    @property
    def has_fixed_effects(self) -> bool:
        """Whether the means of documents are removed."""
        return self.settings["fixed_effects"] == "document"

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The coefficients, by layer and term."""
        return pd.read_parquet(self.file("coefficients")).query("subset == 'all'")

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The goodness of fit, by layer."""
        return pd.read_parquet(self.file("fits"))

    @property
    def fitted(self) -> pd.DataFrame:
        """The rows of ``fits`` of the layers that were fitted."""
        return self.fits[self.fits["status"] == "ok"]

    @cached_property
    def controls(self) -> pd.DataFrame:
        """The lags and leads beside those of the controls, by layer and term."""
        return pd.read_parquet(self.file("controls"))

    @cached_property
    def untrained_scales(self) -> pd.DataFrame | None:
        """The comparison with random weights, by scale and quantity; None without it."""
        path = self.files.one_of("untrained_scales", self.folder)
        return None if path is None else pd.read_parquet(path)

    @cached_property
    def by_step(self) -> pd.DataFrame | None:
        """The regression at earlier checkpoints of the model, by step; None without any."""
        path = self.files.one_of("training", self.folder)
        return None if path is None else pd.read_parquet(path)

    @property
    def terms(self) -> list[str]:
        """Lags, nearest first, and then leads."""
        return lags_among(self.coefficients["term"])

    def of_term(self, term: str) -> pd.DataFrame:
        """Return the coefficients of a term that were estimated."""
        return self.coefficients.query("term == @term").dropna(subset="estimate")

    @property
    def texts(self) -> int:
        """The number of documents in the regression, each text counted once."""
        documents = int(self.fits["n_documents"].max())
        return min(documents, self.record["corpus"]["texts"])

    @property
    def fit(self) -> FitTables:
        """What the tables say of the fit."""
        return FitTables(
            settings=TypeAdapter(RegressionSettings).validate_python(self.settings),
            coefficients=self.coefficients,
            goodness=self.fits,
            medians=self.medians,
            controls=self.controls,
            influence=self.files.table("influence", self.folder),
            groups=self.files.table("groups", self.folder),
            untrained_scales=self.untrained_scales,
        )

    @cached_property
    def medians(self) -> pd.DataFrame:
        """The median of each coefficient over the layers, a row per term."""
        return pd.read_parquet(self.file("medians"))


def declared(**files: Path | Sequence[Path]) -> list[RegressionTables]:
    """Return the regressions whose coefficients are among some files."""
    found = Declared(**files)
    coefficients = files["coefficients"]
    paths = [coefficients] if isinstance(coefficients, Path) else coefficients
    return [RegressionTables(path.parent, found) for path in paths]
