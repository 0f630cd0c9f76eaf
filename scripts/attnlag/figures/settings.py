"""The keys of a configuration about figures, and the settings of the stages that draw them."""

from typing import Annotated, Literal

from pydantic import Field

from attnlag.figures import catalogue
from attnlag.quantities.settings import Norms
from attnlag.section import Distinct, Name, Natural, Section, Text

ON_REQUEST = tuple(figure.name for figure in catalogue.figures() if figure.on_request)


class PanelsSettings(Section):
    """Layers with a panel of their own."""

    layers: Annotated[list[Natural], Field(min_length=1), Distinct] | None = Field(
        default=None, description="Layers that get their own panel; null: all layers"
    )


class Shading(Section):
    """The figure of shaded tokens."""

    text_layer: Natural | None = Field(
        default=None,
        description="Layer of the figure of shaded tokens; null: the middle layer",
    )


class NormsFiguresSettings(Shading, Norms):
    """Settings of the figures of a site: norms, shaded tokens, regressions side by side."""

    documents: list[str] | None = None  # to shade; None: the first one of each group
    regressions: list[str] = Field(default=[])  # in the order of their panels


class Figures(PanelsSettings, Shading):
    """How figures are drawn."""

    also: Annotated[list[Literal[ON_REQUEST]], Distinct] = Field(  # type: ignore[valid-type]
        default=[],
        description="Figures besides those of every run; it ends with their paths",
    )
    formats: Annotated[list[Literal["svg", "png", "pdf"]], Distinct] = Field(
        default=["svg", "png"], min_length=1, description="File formats of every figure"
    )
    sizes: Annotated[list[Literal["page", "column"]], Distinct] = Field(
        default=["page"],
        min_length=1,
        description="Sizes of every figure: 10 and 3.5 inches wide (PDF: 10 and 4.5)",
    )
    documents: dict[Name, Annotated[list[Text], Field(min_length=1), Distinct]] | None = Field(
        default=None,
        description="Documents whose tokens are shaded, by corpus; null: the first of each group",
    )
