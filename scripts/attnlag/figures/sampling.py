"""A sample of the tokens of a corpus, so that the memory of figures does not grow with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.errors import counted
from attnlag.figures.inputs import Inputs, joined
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.quantities import columns
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.norms import outcome_values, relative_norms
from attnlag.storage import tables

# Largest number of rows that a figure is made from.
MOST_SAMPLED = 100_000


def sampled_rows(count: int) -> np.ndarray:
    """Return the rows that a figure is made from: all, or a sample of ``MOST_SAMPLED``.

    The sample has one random row from each of ``MOST_SAMPLED`` stretches of equal length, and is
    the same in every call.
    """
    if count <= MOST_SAMPLED:
        return np.arange(count)
    edges = np.arange(MOST_SAMPLED + 1) * count // MOST_SAMPLED
    inside = np.random.default_rng(0).random(MOST_SAMPLED) * np.diff(edges)
    return edges[:-1] + inside.astype(np.int64)


@dataclass
class NormsSample:
    """Log norms of all tokens of a corpus, or of a sample of ``MOST_SAMPLED``."""

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


def read_norms(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the norms of one site, with the files of their texts.

    ``sample`` has the tokens that the figures are made from, first tokens of sequences included;
    ``relative`` has the same tokens, their norms relative to the stream.
    """
    return _read(
        files,
        names,
        sample=sample_norms(files.norms),
        relative=sample_norms(files.norms, stream=files.stream),
        settings=NormsFiguresSettings(**settings),
    )


def read_surprisal(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the files of norms of one site, and of the model's predictions at each token."""
    return _read(files, names, drop_first=settings["drop_first"])


def _read(files: Any, names: Any, **parts: Any) -> Inputs:
    """Return files by name with what is read from them."""
    extent = counted(tables.row_count(files.norms), "token")
    parts |= {**vars(files), "site": names.site}
    return Inputs(files.norms[0], joined(names), extent, **parts)
