"""The keys of a configuration about interventions, and the settings of their stage."""

from typing import Annotated, Any, Literal

from pydantic import Field

from attnlag.model.settings import Running
from attnlag.quantities.settings import MODULES, SITES, Norms, Site
from attnlag.section import (
    AtLeastTwo,
    Distinct,
    Lag,
    Layers,
    NumberOrAll,
    Parts,
    Positive,
    Section,
    Seed,
)

SomeSites = Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()]


class Interventions(Section):
    """Sources and targets of interventions, and the documents used."""

    targets: Layers = Field(
        default=3,
        description="Layers that are observed: a number spread over depth (the last included, the "
        "first not), a list, or all",
    )
    lags: Lag = Field(
        default=4, description="Largest distance in tokens from a changed token to another"
    )
    sign_draws: Parts = Field(
        default=2,
        description="Backward passes per target, at most `lags` + 1; more give smaller errors",
    )
    documents: NumberOrAll = Field(
        default=26, description="Number of documents, from the groups in turn"
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
    interventions: Annotated[list[Literal["halve", "double", "zero", "mean"]], Distinct] = Field(
        default=["halve", "double", "zero", "mean"],
        description="Finite changes of an adjustment in one layer, besides the derivative: half or "
        "twice of it, zero, or the layer's mean; empty: none",
    )
    finite_documents: NumberOrAll = Field(
        default=13, description="The first of these documents, in which finite changes are made"
    )
    positions: Positive = Field(
        default=1,
        description="Random tokens per document that they change, one at a time",
    )
    seed: Seed = Field(default=0, description="Seed of signs and tokens")


class Causal(Interventions):
    """Interventions: the effect of changing one adjustment on the norms of later ones.

    `causal: null` leaves them out.
    """

    batch_tokens: Positive = Field(
        default=1024, description="Tokens in simultaneous passes (speed and memory)"
    )


class EffectsSettings(Interventions, Norms, Running):
    """Settings of the estimation of effects."""

    source_sites: list[str] = Field(description="Sites that are changed")
    target_sites: list[str] = Field(description="Sites that are observed")
    sources: Layers = Field(
        default=1,
        description="Layers that finite interventions change, which no key of a configuration "
        "states: a number of them is spread over depth and leaves out the last, which no layer "
        "follows",
    )
    modules: dict[str, Any] | None = Field(default=None, description=MODULES)
