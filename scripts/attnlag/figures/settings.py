"""The keys of a configuration about figures."""

from typing import Annotated, Literal

from pydantic import Field

from attnlag.figures import catalogue
from attnlag.section import Distinct, Natural, Section

ON_REQUEST = tuple(figure.name for figure in catalogue.figures() if figure.on_request)


class Figures(Section):
    """How figures are drawn."""

    layers: Annotated[list[Natural], Field(min_length=1), Distinct] | None = Field(
        default=None, description="Layers that get their own panel; null: all layers"
    )
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
    titles: bool = Field(
        default=True,
        description="Whether figures have titles; without them, a caption of a paper says it",
    )
