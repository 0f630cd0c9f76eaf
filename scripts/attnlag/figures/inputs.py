"""What the programs that draw have read for their figures: a class for each set of inputs.

Tables of results are small. Of the tokens of a corpus a sample is in memory, so that memory does
not grow with the corpus.
"""

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
from attnlag.adjustments.norms import log_norms
from attnlag.figures.settings import NormsFiguresSettings
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


def sample_norms(paths: Sequence[Path], drop_first: int = 0) -> NormsSample:
    """Read a sample of the norms of all shards, without the first tokens of each sequence."""
    tokens = tables.row_count(paths)
    rows = sampled_rows(tokens)
    position = tables.values_of(paths, "position", rows).astype(np.int64)
    kept = position >= drop_first
    rows, position = rows[kept], position[kept]
    names = columns.layers_in(pq.read_schema(paths[0]))
    logs = np.empty((len(names), len(rows)))
    for place, name in enumerate(tqdm(names, desc="layers", unit="layer", delay=2)):
        logs[place] = log_norms(tables.values_of(paths, name, rows))
    return NormsSample(tokens, rows, position, list(map(columns.layer_number, names)), logs)


def read_coefficients(path: Path) -> pd.DataFrame:
    """Return a tidy table of coefficients without those of single groups."""
    return pd.read_parquet(path).query("subset == 'all'")


def regression_settings(path: Path) -> Mapping[str, Any]:
    """Return the settings on record in a table of coefficients: a second copy could differ."""
    return tables.read_provenance(path)["stages"]["regression"]


@dataclass
class NormsInputs:
    """Norms of one site, with the texts that they are of.

    Attributes
    ----------
    norms, tokens : list of Path
        Files of all shards.
    corpus : Path
    site : str
    settings : NormsFiguresSettings
    """

    norms: list[Path]
    tokens: list[Path]
    corpus: Path
    site: str
    settings: NormsFiguresSettings

    @cached_property
    def sample(self) -> NormsSample:
        """The tokens that the figures are made from, first ones of sequences among them."""
        return sample_norms(self.norms)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record of what made the norms."""
        return tables.read_provenance(self.norms[0])

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return f"{self.record['model']['name']}, {self.record['corpus']['name']}, {self.site}"


@dataclass
class CoefficientsInputs:
    """Tables of one regression.

    Attributes
    ----------
    coefficients_file, fits_file : Path
    critical_values : mapping of term to float, or None
        What joint bands rest on, if there are to be any.
    null_file : Path or None
        Coefficients of a permuted regression with the same terms.
    """

    coefficients_file: Path
    fits_file: Path
    critical_values: Mapping[str, float] | None = None
    null_file: Path | None = None

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The tidy table."""
        return read_coefficients(self.coefficients_file)

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The table with a row per layer."""
        return pd.read_parquet(self.fits_file)

    @cached_property
    def null(self) -> pd.DataFrame | None:
        """The tidy table of the null."""
        return None if self.null_file is None else read_coefficients(self.null_file)

    @cached_property
    def inference(self) -> Mapping[str, Any]:
        """Settings of the regression: ``alpha`` and ``adjust`` among them."""
        return regression_settings(self.coefficients_file)

    @property
    def name(self) -> str:
        """Names of the model, the corpus, the site and the regression, for titles."""
        return ", ".join(self.fits.iloc[0][["model", "corpus", "site", "regression"]])


@dataclass(kw_only=True)
class RegressionInputs(CoefficientsInputs):
    """Tables of one regression, and what it was fitted to.

    Attributes
    ----------
    groups_file, influence_file, residuals_file : Path
        Coefficients of each group of documents, the most influential documents, residual sums.
    design, norms : list of Path
        Files of all shards.
    corpus : Path
    layers : sequence of int, or None
        Layers that get a panel of their own; None: all, or some of all.
    """

    groups_file: Path
    influence_file: Path
    residuals_file: Path
    design: list[Path]
    norms: list[Path]
    corpus: Path
    layers: Sequence[int] | None

    @cached_property
    def drop_first(self) -> int:
        """Number of tokens at the start of every sequence that are in no regression."""
        return tables.read_provenance(self.coefficients_file)["stages"]["design"]["drop_first"]


@dataclass
class SitesInputs:
    """Norms and tables of one regression of several sites.

    Attributes
    ----------
    sites : list of str
    norms : list of list of Path
        Files of all shards, per site.
    coefficients_files, fits_files : list of Path
        A table per site.
    """

    sites: list[str]
    norms: list[list[Path]]
    coefficients_files: list[Path]
    fits_files: list[Path]

    @cached_property
    def inference(self) -> Mapping[str, Any]:
        """Settings of the regressions, the same for all sites."""
        return regression_settings(self.coefficients_files[0])

    @cached_property
    def drop_first(self) -> int:
        """Number of tokens at the start of every sequence that are in no regression."""
        return tables.read_provenance(self.coefficients_files[0])["stages"]["design"]["drop_first"]

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the regression, for titles."""
        first = pd.read_parquet(self.fits_files[0]).iloc[0]
        return ", ".join(first[["model", "corpus", "regression"]])


@dataclass
class SpecificationsInputs:
    """Tables of all regressions of one site.

    Attributes
    ----------
    coefficients_files : list of Path
        A tidy table per regression, in the order of the panels.
    """

    coefficients_files: list[Path]

    @cached_property
    def regressions(self) -> list[pd.DataFrame]:
        """The tidy tables."""
        return [read_coefficients(path) for path in self.coefficients_files]

    @cached_property
    def inference(self) -> Mapping[str, Any]:
        """Settings of the regressions: ``alpha`` and ``adjust`` are the same for all."""
        return regression_settings(self.coefficients_files[0])

    @property
    def name(self) -> str:
        """Names of the model, the corpus and the site, for titles."""
        return ", ".join(self.regressions[0].iloc[0][["model", "corpus", "site"]])


@dataclass
class ComparisonInputs:
    """Coefficients of one site and regression of all models.

    Attributes
    ----------
    coefficients_file : Path
        The comparison's tidy table.
    site, regression : str
    """

    coefficients_file: Path
    site: str
    regression: str

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The rows of this site and regression."""
        return read_coefficients(self.coefficients_file).query(
            "site == @self.site and regression == @self.regression"
        )

    @cached_property
    def inference(self) -> Mapping[str, Any]:
        """Settings of the regressions, on record once for all of them."""
        return regression_settings(self.coefficients_file)

    @property
    def name(self) -> str:
        """Names of the site and the regression, for titles."""
        return f"{self.site}, {self.regression}"
