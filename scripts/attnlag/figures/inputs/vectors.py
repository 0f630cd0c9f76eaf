"""Inputs of the figures of directions, heads, interventions and whole vectors."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.errors import counted
from attnlag.figures.inputs.named import Named, rows_of


@dataclass
class GeometryInputs(Named):
    """Means of the geometry of the adjustments of one site."""

    means_file: Path

    @cached_property
    def means(self) -> pd.DataFrame:
        """The table, with a row per layer and quantity and, for cosines, per distance."""
        return pd.read_parquet(self.means_file)

    @property
    def extent(self) -> str:
        return rows_of(self.means, "tokens", "documents", "token")

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 minus this."""
        return self.stages["geometry_means"]["alpha"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.means.iloc[0][["model", "corpus", "site"]])

    @property
    def recorded(self) -> Path:
        """The table of means."""
        return self.means_file


@dataclass
class HeadsInputs(Named):
    """The attention heads of a model."""

    heads_file: Path
    coefficients_file: Path

    @cached_property
    def heads(self) -> pd.DataFrame:
        """What heads write and attend to: a row per head, and one per layer."""
        return pd.read_parquet(self.heads_file)

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """Their regressions: a row per head and term, and two per layer and term."""
        return pd.read_parquet(self.coefficients_file)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the regressions."""
        return self.stages["heads_table"]

    @property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return self.settings["alpha"]

    @property
    def regression(self) -> str:
        """Name of the regression whose terms they have."""
        return self.settings["regression"]

    @property
    def recorded(self) -> Path:
        """The table of heads."""
        return self.heads_file

    @property
    def name(self) -> str:
        """Names of the model and the corpus, for titles."""
        return f"{self.record['model']['name']}, {self.record['corpus']['name']}, attention"


@dataclass
class TracedInputs(Named):
    """Tables of what writes the adjustments of attention, and of what those of each site say."""

    # shares, lags: Path; readout: list of Path, one per site.
    shares: Any
    lags: Any
    readout: Any

    def __post_init__(self) -> None:
        self.shares_file = self.shares
        self.shares, self.lags = map(pd.read_parquet, (self.shares, self.lags))
        self.readout = pd.concat(map(pd.read_parquet, self.readout))
        self.sites = list(self.readout["site"].unique())

    @property
    def recorded(self) -> Path:
        """The table of shares."""
        return self.shares_file

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the tables."""
        return self.stages["traced_table"]

    @property
    def name(self) -> str:
        """Names of the model and the corpus, for titles."""
        return f"{self.record['model']['name']}, {self.record['corpus']['name']}"

    @property
    def extent(self) -> str:
        known = self.readout if self.shares.empty else self.shares
        return "" if known.empty else rows_of(known, "tokens", "documents", "token")


@dataclass
class EffectsInputs(Named):
    """Tables of the effects of interventions, of one pair of sites."""

    # The others lie beside it.
    elasticities_file: Path
    # source, target: the site that is changed, and the one whose norms are observed.
    source: str
    target: str

    @property
    def recorded(self) -> Path:
        """The effects per token."""
        return self.elasticities_file

    @cached_property
    def elasticities(self) -> pd.DataFrame:
        """The effects per token, a row per source, target, lag and intervention."""
        return pd.read_parquet(self.elasticities_file)

    @property
    def extent(self) -> str:
        """Number of documents that are intervened on."""
        return counted(int(self.elasticities["documents"].max()), "document")

    @cached_property
    def transmitted(self) -> pd.DataFrame:
        """The elasticities of all source layers together, a row per target and lag."""
        return pd.read_parquet(self.elasticities_file.with_name("transmitted.parquet"))

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """What predictions say of the effects, a row per distance and prediction."""
        return pd.read_parquet(self.elasticities_file.with_name("verdicts.parquet"))

    @cached_property
    def by_part_of_speech(self) -> pd.DataFrame:
        """The effects of finite interventions by part of speech of the changed token."""
        return pd.read_parquet(self.elasticities_file.with_name("by_part_of_speech.parquet"))

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return self.stages["elasticities"]["alpha"]

    def of_pair(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are about this pair of sites."""
        return table[(table["source_site"] == self.source) & (table["target_site"] == self.target)]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the sites, for titles."""
        same = self.source == self.target
        sites = self.source if same else f"{self.source} to {self.target}"
        return ", ".join((self.record["model"]["name"], self.record["corpus"]["name"], sites))


@dataclass
class VectorsInputs(Named):
    """The table of the predictions of vectors."""

    fits_file: Path

    @property
    def recorded(self) -> Path:
        """The table."""
        return self.fits_file

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The table, with a row per layer, predictor and rank."""
        return pd.read_parquet(self.fits_file)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the regression."""
        return self.stages["vectors"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.fits.iloc[0][["model", "corpus", "site"]])

    @property
    def extent(self) -> str:
        return rows_of(self.fits, "rows", "documents")
