"""Inputs of the programs that draw figures, one class for each set of inputs.

Tables of results are small and are read whole. The tokens of a corpus are sampled, so that memory
does not grow with the corpus.
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

# Largest number of rows that a figure is made from.
MOST_ROWS = 100_000


def sampled_rows(count: int) -> np.ndarray:
    """Return the rows that a figure is made from: all, or a sample of ``MOST_ROWS``.

    The sample has one random row from each of ``MOST_ROWS`` stretches of equal length, and is the
    same in every call.
    """
    if count <= MOST_ROWS:
        return np.arange(count)
    edges = np.arange(MOST_ROWS + 1) * count // MOST_ROWS
    inside = np.random.default_rng(0).random(MOST_ROWS) * np.diff(edges)
    return edges[:-1] + inside.astype(np.int64)


@dataclass
class NormsSample:
    """Log norms of all tokens of a corpus, or of a sample of ``MOST_ROWS``.

    Attributes
    ----------
    tokens : int
        Number of tokens in the corpus.
    rows : (n,) int array
        Rows of the sampled tokens.
    position : (n,) int array
        Positions of these tokens in their sequences.
    layers : list of int
    log_norms : (layers, n) float array
        Natural logarithms; NaN if a norm is zero or not finite.
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

    If the norms of the stream are given, those of the sample are relative to them. Another outcome
    than the norm gives the numbers of that outcome.
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


def rows_of(
    table: pd.DataFrame, rows: str = "n_obs", documents: str = "n_documents", unit: str = "row"
) -> str:
    """Return the numbers of rows and documents of the layer with the most rows."""
    most = table[[rows, documents]].max()
    return f"{counted(int(most[rows]), unit)} from {counted(int(most[documents]), 'document')}"


class Named(ABC):
    """The part of a title that describes the inputs: their names and their number."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Names of the model, the corpus and whatever else identifies the inputs."""

    @property
    def extent(self) -> str:
        """Number of tokens, rows or documents of the figures."""
        return ""

    @property
    def recorded(self) -> Path | None:
        """A file whose record is of the one model that the figures are of."""
        return None

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of the model have in place of attention: the class, by layer."""
        record = tables.read_provenance(self.recorded) if self.recorded else {}
        return record.get("model", {}).get("mixers", {})

    @property
    def subtitle(self) -> str:
        """The second line of the titles."""
        others = self.mixers and f" ({NO_ATTENTION} {others_in_words(self.mixers)})"
        return " · ".join(filter(None, (f"{self.name}{others or ''}", self.extent)))


@dataclass
class NormsInputs(Named):
    """Norms of one site, with their texts.

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
        """The tokens that the figures are made from, including first tokens of sequences."""
        return sample_norms(self.norms)

    @cached_property
    def relative(self) -> NormsSample:
        """The same tokens, their norms relative to the stream."""
        return sample_norms(self.norms, stream=self.stream)

    @cached_property
    def record(self) -> dict[str, Any]:
        """Provenance of the norms."""
        return tables.read_provenance(self.norms[0])

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return f"{self.record['model']['name']}, {self.record['corpus']['name']}, {self.site}"

    @property
    def recorded(self) -> Path:
        """The first file of norms."""
        return self.norms[0]

    @property
    def extent(self) -> str:
        """The number of tokens."""
        return counted(self.sample.tokens, "token")


@dataclass
class SurprisalInputs(Named):
    """Norms of one site, with the model's predictions at each token.

    Attributes
    ----------
    norms, surprisal, properties : list of Path
        Files of all shards.
    site : str
    drop_first : int
        Number of tokens at the start of every sequence that are left out of regressions.
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

    @property
    def extent(self) -> str:
        return counted(tables.row_count(self.norms), "token")


@dataclass
class Coefficients(Named):
    """A tidy table of coefficients, with the settings in its provenance.

    Attributes
    ----------
    coefficients_file : Path
    """

    coefficients_file: Path

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of regressions on all documents, without those of groups."""
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
    def recorded(self) -> Path | None:
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
        Description of the joint bands, if they are to be drawn (JSON).
    controls_file : Path or None
        Controls of each lag and lead.
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
    """Tables of one regression, with its design.

    Attributes
    ----------
    groups_file, influence_file, residuals_file : Path
        Coefficients of each group of documents, the most influential documents, residual sums.
    design : list of Path
        Files of all shards.
    layers : sequence of int, or None
        Layers with a panel of their own; None for all, or for a selection of all.
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
    def recorded(self) -> Path | None:
        """That of the first site."""
        return self.studies[0].recorded

    @property
    def extent(self) -> str:
        """The extent of the first site, because all sites have the same tokens."""
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
    def recorded(self) -> Path | None:
        """That of the first regression."""
        return self.studies[0].recorded

    @property
    def extent(self) -> str:
        """Number of documents of the corpus, because regressions differ in their rows."""
        record = tables.read_provenance(self.studies[0].coefficients_file)
        return counted(record["corpus"]["documents"], "document")


@dataclass
class ComparisonInputs(Coefficients):
    """Coefficients of one site and regression for all models.

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
        """Name of the outcome."""
        return self.records[0]["stages"]["regression"].get("outcome", "norm")

    @property
    def records(self) -> list[dict[str, Any]]:
        """Provenance of each study with this regression."""
        studies = tables.read_provenance(self.coefficients_file)["studies"]
        return [s["record"] for s in studies if s["regression"] == self.regression]

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
    def recorded(self) -> None:
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
    """Means of the geometry of the adjustments of one site.

    Attributes
    ----------
    means_file : Path
    """

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
        return tables.read_provenance(self.means_file)["stages"]["geometry_means"]["alpha"]

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
    """The attention heads of a model.

    Attributes
    ----------
    heads_file, coefficients_file : Path
    """

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
        return tables.read_provenance(self.heads_file)["stages"]["heads_table"]

    @property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return self.settings["alpha"]

    @property
    def regression(self) -> str:
        """Name of the regression whose terms they have."""
        return self.settings["regression"]

    @property
    def name(self) -> str:
        """Names of the model and the corpus, for titles."""
        record = tables.read_provenance(self.heads_file)
        return f"{record['model']['name']}, {record['corpus']['name']}, attention"


@dataclass
class EffectsInputs(Named):
    """Tables of the effects of interventions, of one pair of sites.

    Attributes
    ----------
    elasticities_file : Path
        The others lie beside it.
    source, target : str
        The site that is changed, and the one whose norms are observed.
    """

    elasticities_file: Path
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
    def by_part_of_speech(self) -> pd.DataFrame:
        """The effects of finite interventions by part of speech of the changed token."""
        return pd.read_parquet(self.elasticities_file.with_name("by_part_of_speech.parquet"))

    @cached_property
    def alpha(self) -> float:
        """Intervals cover 1 less this."""
        return tables.read_provenance(self.elasticities_file)["stages"]["elasticities"]["alpha"]

    def of_pair(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are about this pair of sites."""
        return table[(table["source_site"] == self.source) & (table["target_site"] == self.target)]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the sites, for titles."""
        record = tables.read_provenance(self.elasticities_file)
        same = self.source == self.target
        sites = self.source if same else f"{self.source} to {self.target}"
        return ", ".join((record["model"]["name"], record["corpus"]["name"], sites))


@dataclass
class ClassesInputs(Named):
    """Tables of one regression by class of tokens.

    Attributes
    ----------
    classes_file, equal_slopes_file : Path
    steps_file, parts_file : Path
        Coefficients as covariates enter, and the change due to each part of the covariates.
    """

    classes_file: Path
    equal_slopes_file: Path
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
        return tables.read_provenance(self.classes_file)["stages"]["classes"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression, for titles."""
        keys = ["model", "corpus", "site", "regression"]
        return ", ".join(self.slopes.iloc[0][keys])

    @property
    def extent(self) -> str:
        return rows_of(self.steps)


@dataclass
class VectorsInputs(Named):
    """The table of the predictions of vectors.

    Attributes
    ----------
    fits_file : Path
    """

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
        return tables.read_provenance(self.fits_file)["stages"]["vectors"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.fits.iloc[0][["model", "corpus", "site"]])

    @property
    def extent(self) -> str:
        return rows_of(self.fits, "rows", "documents")
