"""The settings of the stages that draw figures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NormsFiguresSettings:
    """Settings of the figures of norms and of shaded tokens.

    Attributes
    ----------
    drop_first : int
        Number of tokens at the start of every sequence that are left out of regressions.
    documents : tuple of str or None
        Ids of the documents to shade; None for the first one of each group.
    text_layer : int or None
        Layer of the figure of shaded tokens; None for the middle one.
    """

    drop_first: int
    documents: tuple[str, ...] | None
    text_layer: int | None


@dataclass(frozen=True)
class SurprisalFiguresSettings:
    """Number of tokens at the start of every sequence that are left out of regressions."""

    drop_first: int


@dataclass(frozen=True)
class PanelsSettings:
    """Layers with a panel of their own; None for all."""

    layers: tuple[int, ...] | None
