"""A sample of the tokens of a corpus, so that the memory of figures does not grow with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.quantities import columns
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.outcomes import outcome_values, relative_norms
from attnlag.regression.design.design import columns_of, layers_and_terms
from attnlag.regression.units import Unit
from attnlag.storage import tables

# Largest number of rows that a figure is made from.
MAX_SAMPLED = 100_000


def sampled_rows(count: int) -> np.ndarray:
    """Return the rows that a figure is made from: all, or a sample of ``MAX_SAMPLED``.

    The sample has one random row from each of ``MAX_SAMPLED`` stretches of equal length, and is
    the same in every call.
    """
    if count <= MAX_SAMPLED:
        return np.arange(count)
    edges = np.arange(MAX_SAMPLED + 1) * count // MAX_SAMPLED
    inside = np.random.default_rng(0).random(MAX_SAMPLED) * np.diff(edges)
    return edges[:-1] + inside.astype(np.int64)


class DesignSample:
    """Rows of the design of a regression, by document: all, or a sample of ``MAX_SAMPLED``."""

    def __init__(self, paths: Sequence[Path]):
        schema = pq.read_schema(paths[0])
        self.paths = paths
        self.names = schema.names
        self.layers, self.terms = layers_and_terms(schema)
        self.count = tables.row_count(paths)
        self.rows = sampled_rows(self.count)
        self.documents = pd.factorize(tables.values_at(paths, "document", self.rows))[0]

    def terms_of_layer(self, layer: int, *terms: str) -> pd.DataFrame:
        """Return some terms of a layer, with a column for each."""
        names = columns_of(self.names, Unit(layer), terms)
        values = [tables.values_at(self.paths, name, self.rows) for name in names]
        return pd.DataFrame(dict(zip(terms, values, strict=True)), self.documents)


@dataclass
class NormsSample:
    """Log norms of all tokens of a corpus, or of a sample of ``MAX_SAMPLED``."""

    tokens: int  # number of tokens in the corpus
    rows: np.ndarray  # (n,) int array: rows of the sampled tokens
    position: np.ndarray  # (n,) int array: positions of these tokens in their sequences
    # A column for each layer: natural logarithms; NaN if a norm is zero or not finite.
    log_norms: pd.DataFrame

    @property
    def layers(self) -> list[int]:
        """Layers in the order of the columns."""
        return list(map(int, self.log_norms.columns))

    def from_position(self, drop_first: int) -> "NormsSample":
        """Return the sample without the first tokens of each sequence."""
        later = self.position >= drop_first
        logs = self.log_norms[later].reset_index(drop=True)
        return NormsSample(self.tokens, self.rows[later], self.position[later], logs)


def sample_norms(paths: Sequence[Path], stream: Sequence[Path] | None = None) -> NormsSample:
    """Read a sample of the norms of all shards.

    If the norms of the stream are given, those of the sample are relative to them.
    """
    tokens = tables.row_count(paths)
    rows = sampled_rows(tokens)
    position = tables.values_at(paths, "position", rows).astype(np.int64)
    outcome = OUTCOMES["norm"]
    names = outcome.columns(pq.read_schema(paths[0]).names)
    logs = {}
    for name, column in tqdm(names.items(), desc="layers", unit="layer", delay=2):
        norms = tables.values_at(paths, column, rows)
        if stream is not None:
            norms = relative_norms(norms, tables.values_at(stream, name, rows))
        logs[columns.layer_number(name)] = outcome_values(outcome, norms)
    return NormsSample(tokens, rows, position, pd.DataFrame(logs))


def shares_between(log_norms: pd.DataFrame, classes: np.ndarray) -> pd.Series:
    """Return the share of the variance of each layer that lies between classes of tokens."""
    within = log_norms - log_norms.groupby(classes).transform("mean")
    return 1 - within.var(ddof=0) / log_norms.var(ddof=0)
