"""What the programs that draw have read for their figures: a class for each set of inputs.

Tables of results are small. Of the tokens of a corpus a sample is in memory, so that memory does
not grow with the corpus.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.norms import regressed, relative_norms
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.errors import counted
from attnlag.figures.legends import NO_ATTENTION
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.regression.labels import R_SQUARED, others_in_words
from attnlag.storage import tables

# Rows that a figure is made from.
MOST_ROWS = 100_000


def sampled_rows(count: int) -> np.ndarray:
    """Return the rows, of so many, that a figure is made from: all, or ``MOST_ROWS`` of them.

    One at random out of each of equally many equal stretches, the same ones on every call.
    """
    if count <= MOST_ROWS:
        return np.arange(count)
    edges = np.arange(MOST_ROWS + 1) * count // MOST_ROWS
    inside = np.random.default_rng(0).random(MOST_ROWS) * np.diff(edges)
    return edges[:-1] + inside.astype(np.int64)


@dataclass
class NormsSample:
    """Log norms of all tokens of a corpus, or of ``MOST_ROWS`` of them.

    Attributes
    ----------
    tokens : int
        Number of tokens in the corpus.
    rows : (n,) int array
        Rows of the sampled tokens.
    position : (n,) int array
        Their positions in their sequences.
    layers : list of int
    log_norms : (layers, n) float array
        Natural logarithms; NaN where a norm has none.
    """

    tokens: int
    rows: np.ndarray
    position: np.ndarray
    layers: list[int]
    log_norms: np.ndarray


def sample_norms(
    paths: Sequence[Path],
    drop_first: int = 0,
    stream: Sequence[Path] | None = None,
    outcome: str = "norm",
) -> NormsSample:
    """Read a sample of the norms of all shards, without the first tokens of each sequence.

    Given the norms of the stream, the norms of the sample are relative to it. Another outcome gives
    the numbers that are regressed.
    """
    tokens = tables.row_count(paths)
    rows = sampled_rows(tokens)
    position = tables.values_of(paths, "position", rows).astype(np.int64)
    kept = position >= drop_first
    rows, position = rows[kept], position[kept]
    names = OUTCOMES[outcome].columns(pq.read_schema(paths[0]).names)
    logs = np.empty((len(names), len(rows)))
    for place, name in enumerate(tqdm(names, desc="layers", unit="layer", delay=2)):
        norms = tables.values_of(paths, names[name], rows)
        if stream is not None:
            norms = relative_norms(norms, tables.values_of(stream, name, rows))
        logs[place] = regressed(OUTCOMES[outcome], norms)
    return NormsSample(tokens, rows, position, list(map(columns.layer_number, names)), logs)


class Named(ABC):
    """What a title says of the inputs: their names, and how much there is of them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Names of the model, the corpus and what else the figures are of."""

    @property
    def extent(self) -> str:
        """How many tokens or rows the figures are of, if that is one number for all of them."""
        return ""

    @property
    def source(self) -> Path | None:
        """A file whose record is of the one model that the figures are of."""
        return None

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of the model have in place of attention: the class, by layer."""
        record = tables.read_provenance(self.source) if self.source else {}
        return record.get("model", {}).get("mixers", {})

    @property
    def subtitle(self) -> str:
        """The second line of the titles."""
        others = self.mixers and f" ({NO_ATTENTION} {others_in_words(self.mixers)})"
        return " · ".join(filter(None, (f"{self.name}{others or ''}", self.extent)))


@dataclass
class NormsInputs(Named):
    """Norms of one site, with the texts that they are of.

    Attributes
    ----------
    norms, stream, tokens, properties : list of Path
        Files of all shards.
    corpus : Path
    site : str
    settings : NormsFiguresSettings
    """

    norms: list[Path]
    stream: list[Path]
    tokens: list[Path]
    properties: list[Path]
    corpus: Path
    site: str
    settings: NormsFiguresSettings

    @cached_property
    def sample(self) -> NormsSample:
        """The tokens that the figures are made from, first ones of sequences among them."""
        return sample_norms(self.norms)

    @cached_property
    def relative(self) -> NormsSample:
        """The same tokens, their norms relative to the stream."""
        return sample_norms(self.norms, stream=self.stream)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record of what made the norms."""
        return tables.read_provenance(self.norms[0])

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return f"{self.record['model']['name']}, {self.record['corpus']['name']}, {self.site}"

    @property
    def source(self) -> Path:
        """The first file of norms."""
        return self.norms[0]

    @property
    def extent(self) -> str:
        """The number of tokens."""
        return counted(self.sample.tokens, "token")


@dataclass
class SurprisalInputs(Named):
    """Norms of one site beside what the model predicts at each token.

    Attributes
    ----------
    norms, surprisal, properties : list of Path
        Files of all shards.
    site : str
    drop_first : int
        Number of tokens at the start of every sequence that are in no regression.
    """

    norms: list[Path]
    surprisal: list[Path]
    properties: list[Path]
    site: str
    drop_first: int

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        record = tables.read_provenance(self.norms[0])
        return f"{record['model']['name']}, {record['corpus']['name']}, {self.site}"


@dataclass
class Coefficients(Named):
    """A tidy table of coefficients, with the settings on its record: a second copy could differ.

    Attributes
    ----------
    coefficients_file : Path
    """

    coefficients_file: Path

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of regressions of all documents, not those of groups."""
        return pd.read_parquet(self.coefficients_file).query("subset == 'all'")

    @cached_property
    def stages(self) -> dict[str, Any]:
        """Settings of all stages."""
        return tables.read_provenance(self.coefficients_file)["stages"]

    @property
    def inference(self) -> dict[str, Any]:
        """The settings ``alpha`` and ``adjust``."""
        return {name: self.stages["regression"][name] for name in ("alpha", "adjust")}

    @property
    def outcome(self) -> str:
        """What is regressed, from the catalogue of outcomes."""
        return self.stages["regression"].get("outcome", "norm")

    @property
    def negligible(self) -> float | None:
        """The bound behind the column ``finding``; None where there is no such column."""
        return self.stages["regression"].get("negligible")

    @property
    def r_squared_name(self) -> str:
        """Name of R²: with document effects it is of the variance within documents."""
        stated = [stage.get("fixed_effects") for stage in self.stages.values()]
        return R_SQUARED["document" if "document" in stated else "none"]

    @property
    def drop_first(self) -> int:
        """Number of tokens at the start of every sequence that are in no regression."""
        return self.stages["design"]["drop_first"]

    def named_by(self, *keys: str) -> str:
        """Return some of the names in the table, for a title."""
        return ", ".join(self.coefficients.iloc[0][list(keys)])

    @property
    def source(self) -> Path | None:
        """The table of coefficients."""
        return self.coefficients_file

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression."""
        return self.named_by("model", "corpus", "site", "regression")


@dataclass
class CoefficientsInputs(Coefficients):
    """Tables of one regression.

    Attributes
    ----------
    fits_file : Path
    joint_file : Path or None
        What joint bands rest on, if there are to be any (JSON).
    controls_file : Path or None
        What each lag and lead is held against.
    """

    fits_file: Path
    joint_file: Path | None = None
    controls_file: Path | None = None

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The table with a row per layer."""
        return pd.read_parquet(self.fits_file)

    @property
    def extent(self) -> str:
        """The number of rows and of documents of the layer that has most."""
        rows, documents = self.fits[["n_obs", "n_documents"]].max()
        return f"{counted(int(rows), 'row')} from {counted(int(documents), 'document')}"

    @property
    def critical_values(self) -> Mapping[str, float] | None:
        """Critical value of the joint bands of each term."""
        if self.joint_file is None:
            return None
        return json.loads(self.joint_file.read_text(encoding="utf-8"))["critical_values"]

    @property
    def controls(self) -> pd.DataFrame | None:
        """The table of the controls, a row per layer, lag and lead."""
        return pd.read_parquet(self.controls_file) if self.controls_file else None


@dataclass(kw_only=True)
class RegressionInputs(CoefficientsInputs):
    """Tables of one regression, and what it was fitted to.

    Attributes
    ----------
    groups_file, influence_file, residuals_file : Path
        Coefficients of each group of documents, the most influential documents, residual sums.
    design : list of Path
        Files of all shards.
    layers : sequence of int, or None
        Layers that get a panel of their own; None: all, or some of all.
    """

    groups_file: Path
    influence_file: Path
    residuals_file: Path
    design: list[Path]
    layers: Sequence[int] | None


@dataclass
class SitesInputs(Named):
    """Norms and tables of one regression of several sites.

    Attributes
    ----------
    sites : list of str
    norms : list of list of Path
        Files of all shards, per site.
    studies : list of CoefficientsInputs
        Tables of each site.
    """

    sites: list[str]
    norms: list[list[Path]]
    studies: list[CoefficientsInputs]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the regression, for titles."""
        return self.studies[0].named_by("model", "corpus", "regression")

    @property
    def source(self) -> Path | None:
        """That of the first site."""
        return self.studies[0].source

    @property
    def extent(self) -> str:
        """That of the first site: all have the same tokens."""
        return self.studies[0].extent


@dataclass
class SpecificationsInputs(Named):
    """Tables of all regressions of one site.

    Attributes
    ----------
    studies : list of Coefficients
        In the order of the panels.
    """

    studies: list[Coefficients]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return self.studies[0].named_by("model", "corpus", "site")

    @property
    def source(self) -> Path | None:
        """That of the first regression."""
        return self.studies[0].source


@dataclass
class ComparisonInputs(Coefficients):
    """Coefficients of one site and regression of all models.

    Attributes
    ----------
    site, regression : str
    """

    site: str
    regression: str

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of this site and regression."""
        table = pd.read_parquet(self.coefficients_file)
        return table.query("site == @self.site and regression == @self.regression")

    @property
    def outcome(self) -> str:
        """What is regressed, from the record of one of the studies."""
        studies = tables.read_provenance(self.coefficients_file)["studies"]
        (record, *_) = [s["record"] for s in studies if s["regression"] == self.regression]
        return record["stages"]["regression"].get("outcome", "norm")

    @property
    def name(self) -> str:
        """Names of the site and the regression, for titles."""
        return f"{self.site}, {self.regression}"

    @property
    def source(self) -> None:
        """None: the table is of several models."""
        return None

    @cached_property
    def mixers_of_models(self) -> dict[str, dict[str, str]]:
        """What layers have in place of attention, as in ``mixers``, by model."""
        studies = tables.read_provenance(self.coefficients_file)["studies"]
        models = [study["record"].get("model", {}) for study in studies]
        return {model["name"]: model["mixers"] for model in models if "mixers" in model}


@dataclass
class GeometryInputs(Named):
    """Means of where adjustments point, of one site.

    Attributes
    ----------
    means_file : Path
    """

    means_file: Path

    @cached_property
    def means(self) -> pd.DataFrame:
        """The table, a row per layer and quantity, and of cosines per distance."""
        return pd.read_parquet(self.means_file)

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return tables.read_provenance(self.means_file)["stages"]["geometry_means"]["alpha"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.means.iloc[0][["model", "corpus", "site"]])

    @property
    def source(self) -> Path:
        """The table of means."""
        return self.means_file


@dataclass
class HeadsInputs(Named):
    """The attention heads of a model.

    Attributes
    ----------
    heads_file : Path
    """

    heads_file: Path

    @cached_property
    def heads(self) -> pd.DataFrame:
        """The table, a row per head, and two per layer."""
        return pd.read_parquet(self.heads_file)

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return tables.read_provenance(self.heads_file)["stages"]["heads_table"]["alpha"]

    @property
    def name(self) -> str:
        """Names of the model and the corpus, for titles."""
        record = tables.read_provenance(self.heads_file)
        return f"{record['model']['name']}, {record['corpus']['name']}, attention"


@dataclass
class EffectsInputs(Named):
    """Tables of the effects of interventions.

    Attributes
    ----------
    elasticities_file, transmitted_file : Path
    """

    elasticities_file: Path
    transmitted_file: Path

    @property
    def source(self) -> Path:
        """The effects per token."""
        return self.elasticities_file

    @cached_property
    def elasticities(self) -> pd.DataFrame:
        """The effects per token, a row per source, target, lag and intervention."""
        return pd.read_parquet(self.elasticities_file)

    @cached_property
    def transmitted(self) -> pd.DataFrame:
        """The elasticities of all source layers together, a row per target and lag."""
        return pd.read_parquet(self.transmitted_file)

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return tables.read_provenance(self.elasticities_file)["stages"]["elasticities"]["alpha"]

    @property
    def pair(self) -> tuple[str, str]:
        """The site that is changed and the one that is looked at: the first of each."""
        if self.elasticities.empty:
            return "", ""
        first = self.elasticities.iloc[0]
        return first["source_site"], first["target_site"]

    def of_pair(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are about this pair of sites."""
        source, target = self.pair
        return table[(table["source_site"] == source) & (table["target_site"] == target)]

    @property
    def other_pairs(self) -> str:
        """A sentence for footnotes on the pairs of sites that are not drawn; none: nothing."""
        causal = self.elasticities[self.elasticities["intervention"] == "derivative"]
        pairs = causal[["source_site", "target_site"]].drop_duplicates()
        others = [
            f"{source} to {target}"
            for source, target in pairs.itertuples(index=False)
            if (source, target) != self.pair
        ]
        return f" Other sites ({', '.join(others)}): see elasticities.csv." if others else ""

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the sites, for titles."""
        record = tables.read_provenance(self.elasticities_file)
        source, target = self.pair
        sites = source if source == target else f"{source} to {target}"
        return ", ".join(filter(None, (record["model"]["name"], record["corpus"]["name"], sites)))


@dataclass
class ClassesInputs(Named):
    """Tables of one regression by class of tokens.

    Attributes
    ----------
    classes_file, equal_slopes_file : Path
    steps_file, parts_file : Path
        Coefficients as covariates enter, and what each part of these changes.
    """

    classes_file: Path
    equal_slopes_file: Path
    steps_file: Path
    parts_file: Path

    @property
    def source(self) -> Path:
        """The slopes of each class."""
        return self.classes_file

    @cached_property
    def slopes(self) -> pd.DataFrame:
        """The slopes of each class, a row per class, layer and term."""
        return pd.read_parquet(self.classes_file)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """The tests that all classes have one slope, a row per layer and term."""
        return pd.read_parquet(self.equal_slopes_file)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Coefficients as covariates enter, a row per layer, step and term."""
        return pd.read_parquet(self.steps_file)

    @cached_property
    def parts(self) -> pd.DataFrame:
        """What each part changes coefficients by, a row per layer, term and part."""
        return pd.read_parquet(self.parts_file)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the slopes by class."""
        return tables.read_provenance(self.classes_file)["stages"]["classes"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression, for titles."""
        keys = ["model", "corpus", "site", "regression"]
        return ", ".join(self.slopes.iloc[0][keys])


@dataclass
class VectorsInputs(Named):
    """The table of how well vectors are predicted.

    Attributes
    ----------
    fits_file : Path
    """

    fits_file: Path

    @property
    def source(self) -> Path:
        """The table."""
        return self.fits_file

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The table, a row per layer, predictor and rank."""
        return pd.read_parquet(self.fits_file)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the regression."""
        return tables.read_provenance(self.fits_file)["stages"]["vectors"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.fits.iloc[0][["model", "corpus", "site"]])
