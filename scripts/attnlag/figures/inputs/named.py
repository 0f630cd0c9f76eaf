"""The description of the inputs of a figure in its title."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.errors import counted
from attnlag.figures.legends import NO_ATTENTION
from attnlag.regression.labels import others_in_words, weights_in_words
from attnlag.storage import tables


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
    @abstractmethod
    def recorded(self) -> Path:
        """A file with the record of what made it."""

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record in this file."""
        return tables.read_provenance(self.recorded)

    @property
    def stages(self) -> dict[str, Any]:
        """Settings of all stages that made the file."""
        return self.record["stages"]

    @property
    def models(self) -> list[dict[str, Any]]:
        """The record of each model of the figures."""
        return [self.record["model"]]

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of a single model have in place of attention: the class, by layer."""
        model, *others = self.models
        return {} if others else model.get("mixers", {})

    @property
    def subtitle(self) -> str:
        """The second line of the titles."""
        others = self.mixers and f" ({NO_ATTENTION} {others_in_words(self.mixers)})"
        weights = weights_in_words(self.models)
        return " · ".join(filter(None, (f"{self.name}{others or ''}", weights, self.extent)))
