"""The declared tables of a regression, and of what it belongs to."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from attnlag.claims.fits import FitTables
from attnlag.claims.regression import Further, claims_of_regression
from attnlag.claims.run import Claims
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import lags_among
from attnlag.storage import tables
from attnlag.storage.results import Results


class RegressionResults(Results):
    """The results in ``results/{model}/{corpus}/{site}/{name}``, the folder of a regression."""

    @property
    def model(self) -> str:
        return self.folder.parts[-4]

    @property
    def corpus(self) -> str:
        return self.folder.parts[-3]

    @property
    def site(self) -> str:
        return self.folder.parts[-2]

    @property
    def name(self) -> str:
        """The name of the regression."""
        return self.folder.parts[-1]

    @property
    def study(self) -> str:
        """The names of model, corpus and site: ``tiny/small/attention``."""
        return "/".join(self.folder.parts[-4:-1])

    @property
    def site_folder(self) -> Path:
        """The folder of the site."""
        return self.folder.parent

    @property
    def study_folder(self) -> Path:
        """The folder of the model and the corpus."""
        return self.folder.parents[1]

    @property
    def corpus_file(self) -> Path:
        """The file of the corpus."""
        corpora = self.paths("corpora", self.folder.parents[3])
        return next(path for path in corpora if path.stem == self.corpus)

    @cached_property
    def record(self) -> tables.Record:
        """The provenance of the coefficients."""
        return self.record_of("coefficients")

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
        return self.table("coefficients").query("subset == 'all'")

    @property
    def fits(self) -> pd.DataFrame:
        """The goodness of fit, by layer."""
        return self.table("fits")

    @property
    def controls(self) -> pd.DataFrame:
        """The lags and leads beside those of the controls, by layer and term."""
        return self.table("controls")

    @property
    def terms(self) -> list[str]:
        """Lags, nearest first, and then leads."""
        return lags_among(self.coefficients["term"])

    def estimated(self, term: str) -> pd.DataFrame:
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
        scales = None
        if self.has("untrained_scales"):
            scales = self.table("untrained_scales")
        return FitTables(
            settings=TypeAdapter(RegressionSettings).validate_python(self.settings),
            coefficients=self.coefficients,
            goodness=self.fits,
            medians=self.table("medians"),
            controls=self.controls,
            influence=self.optional("influence"),
            groups=self.optional("groups"),
            untrained_scales=scales,
        )

    @cached_property
    def claims(self) -> Claims:
        """The claims of the regression, as far as the tables that they need are declared."""
        tests = self.optional("equal_slopes")
        trait = ""
        if len(tests):
            trait = self.record_of("equal_slopes").settings("classes")["property"]
        by_step = None
        if self.has("training"):
            by_step = self.table("training")
        further = Further(
            slopes=self.optional("classes"),
            tests=tests,
            trait=trait,
            steps=self.optional("nested_models"),
            by_step=by_step,
        )
        return Claims(tuple(claims_of_regression(self.fit, self.texts, further)))


def regressions_in(results: Results) -> list[RegressionResults]:
    """Return the regressions whose coefficients are among some results, in their order."""
    paths = results.paths("coefficients")
    return [RegressionResults(path.parent, results.declared) for path in paths]
