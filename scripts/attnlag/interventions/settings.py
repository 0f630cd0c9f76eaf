"""The keys of a configuration about interventions, and the settings of their stage."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from attnlag.model.settings import Running
from attnlag.quantities.settings import SITES, Norms, Site
from attnlag.section import (
    AtLeastTwo,
    Distinct,
    Layers,
    Natural,
    NotBool,
    NumberOrAll,
    Positive,
    Section,
)

SomeSites = Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()]


def _not_one(value: float) -> float:
    if value == 1:
        raise ValueError("found 1, expected a factor that changes something")
    return value


class Interventions(Section):
    """Sources and targets of interventions, and the documents used."""

    targets: Layers = Field(
        default=3,
        description="Layers that are observed: a number spread over depth (the last included, the "
        "first not), a list, or all",
    )
    lags: Positive = Field(
        default=4, description="Largest distance in tokens from a changed token to another"
    )
    sign_draws: Positive = Field(
        default=5,
        description="Backward passes per target, at most `lags` + 1; more give smaller errors",
    )
    documents: NumberOrAll = Field(
        default=13, description="Number of documents, from the groups in turn"
    )
    document_tokens: AtLeastTwo = Field(
        default=64, description="Tokens used per document, from its beginning"
    )
    source_sites: SomeSites | None = Field(
        default=None, description="Sites that are changed; null: those of the extraction"
    )
    target_sites: SomeSites | None = Field(
        default=None, description="Sites that are observed; null: those of the extraction"
    )
    interventions: Annotated[list[Literal["scale", "zero", "mean", "resample"]], Distinct] = Field(
        default=["scale", "zero", "mean", "resample"],
        description="Finite interventions besides the derivative: a multiple, zero, the layer's "
        "mean, or the adjustment of a token in another document; empty: none",
    )
    scales: Annotated[
        list[Annotated[float, Field(gt=0), NotBool, AfterValidator(_not_one)]],
        Distinct,
        AfterValidator(sorted),
    ] = Field(default=[0.5, 0.9, 1.1, 2.0], description="Factors of `scale`")
    sources: Layers = Field(
        default=1,
        description="Layers that finite interventions change, as in `targets`, but a number leaves "
        "out the last and not the first",
    )
    positions: Positive = Field(
        default=1,
        description="Random tokens per document that they change, one at a time",
    )
    seed: Natural = Field(default=0, description="Seed of signs and tokens")


class Causal(Interventions):
    """Interventions: the effect of changing one adjustment on the sizes of later ones.

    `causal: null` leaves them out.
    """

    batch_tokens: Positive = Field(
        default=1024, description="Tokens in simultaneous passes (speed and memory)"
    )


class EffectsSettings(Interventions, Norms, Running):
    """Settings of the estimation of effects."""

    source_sites: list[str]
    target_sites: list[str]
    modules: dict[str, Any] | None = None  # declared module paths of the model

    @property
    def sites(self) -> list[str]:
        """The sites that are changed or observed."""
        return list(dict.fromkeys([*self.source_sites, *self.target_sites]))
