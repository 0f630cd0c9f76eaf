"""Inputs of the figures of regressions. Tables of results are small and are read whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.errors import counted
from attnlag.figures.inputs.named import Named, rows_of
from attnlag.regression.labels import R_SQUARED


@dataclass
class Coefficients(Named):
    """A tidy table of coefficients, with the settings in its provenance."""

    coefficients_file: Path

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of regressions on all documents, without those of groups."""
        return pd.read_parquet(self.coefficients_file).query("subset == 'all'")

    @property
    def alpha(self) -> float:
        """Level of significance; intervals cover 1 minus this."""
        return self.stages["regression"]["alpha"]

    @property
    def adjust(self) -> str:
        """The correction of p-values over layers."""
        return self.stages["regression"]["adjust"]

    @property
    def outcome(self) -> str:
        """Name of the outcome."""
        return self.stages["regression"].get("outcome", "norm")

    @property
    def negligible(self) -> float | None:
        """The bound used in the column ``finding``; None if there is no such column."""
        return self.stages["regression"].get("negligible")

    @property
    def r_squared_name(self) -> str:
        """Name of R², which refers to the variance within documents with document effects."""
        stated = [stage.get("fixed_effects") for stage in self.stages.values()]
        return R_SQUARED["document" if "document" in stated else "none"]

    @property
    def drop_first(self) -> int:
        """Number of tokens at the start of every sequence that are left out of regressions."""
        return self.stages["design"]["drop_first"]

    def named_by(self, *keys: str) -> str:
        """Return some of the names in the table, for a title."""
        return ", ".join(self.coefficients.iloc[0][list(keys)])

    @property
    def recorded(self) -> Path:
        """The table of coefficients."""
        return self.coefficients_file

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression."""
        return self.named_by("model", "corpus", "site", "regression")


@dataclass
class CoefficientsInputs(Coefficients):
    """Tables of one regression."""

    fits_file: Path
    # Description of the joint bands, if they are to be drawn (JSON).
    joint_file: Path | None = None
    # Controls of each lag and lead.
    controls_file: Path | None = None

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The table with a row per layer."""
        return pd.read_parquet(self.fits_file)

    @property
    def extent(self) -> str:
        return rows_of(self.fits)

    @property
    def critical_values(self) -> Mapping[str, float] | None:
        """Critical value of the joint bands of each term."""
        if self.joint_file is None:
            return None
        return json.loads(self.joint_file.read_text(encoding="utf-8"))["critical_values"]

    @property
    def controls(self) -> pd.DataFrame | None:
        """The table of the controls, with a row per layer, lag and lead."""
        return pd.read_parquet(self.controls_file) if self.controls_file else None


@dataclass(kw_only=True)
class RegressionInputs(CoefficientsInputs):
    """Tables of one regression, with its design."""

    # groups_file, influence_file, residuals_file: coefficients of each group of documents, the most
    # influential documents, residual sums.
    groups_file: Path
    influence_file: Path
    residuals_file: Path
    design: list[Path]
    # Layers with a panel of their own; None for all, or for a selection of all.
    layers: Sequence[int] | None


@dataclass
class SitesInputs(Named):
    """Norms and tables of one regression of several sites."""

    sites: list[str]
    # Files of all shards, per site.
    norms: list[list[Path]]
    # Tables of each site.
    studies: list[CoefficientsInputs]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the regression, for titles."""
        return self.studies[0].named_by("model", "corpus", "regression")

    @property
    def recorded(self) -> Path:
        """The table of the first site."""
        return self.studies[0].recorded

    @property
    def extent(self) -> str:
        """The extent of the first site, because all sites have the same tokens."""
        return self.studies[0].extent


@dataclass
class SpecificationsInputs(Named):
    """Tables of all regressions of one site."""

    # In the order of the panels.
    studies: list[Coefficients]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return self.studies[0].named_by("model", "corpus", "site")

    @property
    def recorded(self) -> Path:
        """The table of the first regression."""
        return self.studies[0].recorded

    @property
    def extent(self) -> str:
        """Number of documents of the corpus, because regressions differ in their rows."""
        return counted(self.record["corpus"]["documents"], "document")


@dataclass
class ComparisonInputs(Coefficients):
    """Coefficients of one site and regression for all models."""

    site: str
    regression: str

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of this site and regression."""
        table = pd.read_parquet(self.coefficients_file)
        return table.query("site == @self.site and regression == @self.regression")

    @property
    def outcome(self) -> str:
        """Name of the outcome."""
        return self.records[0]["stages"]["regression"].get("outcome", "norm")

    @property
    def records(self) -> list[dict[str, Any]]:
        """Provenance of each study with this regression."""
        return [s["record"] for s in self.record["studies"] if s["regression"] == self.regression]

    @property
    def extent(self) -> str:
        """Number of documents of each corpus, because models differ in their tokens."""
        documents = {r["corpus"]["name"]: r["corpus"]["documents"] for r in self.records}
        named = len(documents) > 1
        return ", ".join(
            f"{f'{corpus} ' if named else ''}{counted(number, 'document')}"
            for corpus, number in documents.items()
        )

    @property
    def name(self) -> str:
        """Names of the site and the regression, for titles."""
        return f"{self.site}, {self.regression}"

    @property
    def models(self) -> list[dict[str, Any]]:
        """The record of each model in the table."""
        models = [study["record"]["model"] for study in self.record["studies"]]
        return list({model["name"]: model for model in models}.values())

    @property
    def mixers_of_models(self) -> dict[str, dict[str, str]]:
        """What layers have in place of attention, as in ``mixers``, by model."""
        return {model["name"]: model["mixers"] for model in self.models if "mixers" in model}


@dataclass
class ClassesInputs(Named):
    """Tables of one regression by class of tokens."""

    classes_file: Path
    equal_slopes_file: Path
    # steps_file, parts_file: coefficients as covariates enter, and the change due to each part of
    # the covariates.
    steps_file: Path
    parts_file: Path

    @property
    def recorded(self) -> Path:
        """The slopes of each class."""
        return self.classes_file

    @cached_property
    def slopes(self) -> pd.DataFrame:
        """The slopes of each class, with a row per class, layer and term."""
        return pd.read_parquet(self.classes_file)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """The tests that all classes share one slope, with a row per layer and term."""
        return pd.read_parquet(self.equal_slopes_file)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Coefficients as covariates enter, with a row per layer, step and term."""
        return pd.read_parquet(self.steps_file)

    @cached_property
    def parts(self) -> pd.DataFrame:
        """Change of the coefficients due to each part, with a row per layer, term and part."""
        return pd.read_parquet(self.parts_file)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the slopes by class."""
        return self.stages["classes"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression, for titles."""
        keys = ["model", "corpus", "site", "regression"]
        return ", ".join(self.slopes.iloc[0][keys])

    @property
    def extent(self) -> str:
        return rows_of(self.slopes)
