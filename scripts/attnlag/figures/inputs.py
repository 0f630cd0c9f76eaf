"""What figures are drawn from: the tables that a job declares, and its settings."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attnlag.claims.results import RegressionResults, regressions_in
from attnlag.figures.sampling import NormsSample, sample_norms
from attnlag.quantities.catalogue import SITES
from attnlag.storage.results import Declared, Results


class Inputs(Results):
    """The declared tables of figures, by the names in the rule of their stage.

    Parameters
    ----------
    folder : Path
        The folder below which the tables lie; ``Path()`` for all that are declared.
    declared : Declared
        The files of the job.
    settings : mapping, optional
        Those of the stage, such as ``drop_first``.
    """

    def __init__(
        self, folder: Path, declared: Declared, settings: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(folder, declared)
        self.settings = settings or {}

    @cached_property
    def regressions(self) -> list[RegressionResults]:
        """The regressions whose tables are declared."""
        return regressions_in(self)

    @property
    def regression(self) -> RegressionResults:
        """The only regression."""
        (regression,) = self.regressions
        return regression

    @cached_property
    def norms_sample(self) -> NormsSample:
        """The norms of all tokens, or of a sample, first tokens of sequences included."""
        return sample_norms(self.paths("norms"))

    @cached_property
    def relative_sample(self) -> NormsSample:
        """The norms of the same tokens, relative to the stream."""
        return sample_norms(self.paths("norms"), stream=self.paths("stream"))

    @property
    def site_label(self) -> str:
        """The label of the site whose norms are declared."""
        return SITES[self.path("norms").parents[1].name].label

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """What the provenance of the tables says of each model, by its name."""
        records = [regression.record for regression in self.regressions]
        if not records:
            records = [self.declared.record(self.declared.first)]
        return {record["model"]["name"]: record["model"] for record in records}

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of a single model have in place of attention: the class, by layer."""
        model, *others = self.models.values()
        return {} if others else model.get("mixers", {})
