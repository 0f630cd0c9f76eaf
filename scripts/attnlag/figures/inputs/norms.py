"""Inputs of the figures of norms."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from attnlag.errors import counted
from attnlag.figures.inputs.named import Named
from attnlag.figures.inputs.sampling import NormsSample, sample_norms
from attnlag.figures.settings import NormsFiguresSettings
from attnlag.storage import tables


@dataclass
class NormsInputs(Named):
    """Norms of one site, with their texts."""

    # norms, stream, tokens, properties: files of all shards.
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
    """Norms of one site, with the model's predictions at each token."""

    # norms, surprisal, properties: files of all shards.
    norms: list[Path]
    surprisal: list[Path]
    properties: list[Path]
    site: str
    # Number of tokens at the start of every sequence that are left out of regressions.
    drop_first: int

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
        return counted(tables.row_count(self.norms), "token")
