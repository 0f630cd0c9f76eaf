"""The settings of the stages that draw figures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NormsFiguresSettings:
    """What the figures of norms and of shaded tokens depend on.

    Attributes
    ----------
    drop_first : int
        Tokens at the start of every sequence that are in no regression.
    documents : tuple of str or None
        Ids of the documents that are shaded; None: the first one of each group.
    text_layer : int or None
        Layer of the figure of shaded tokens; None: the middle one.
    """

    drop_first: int
    documents: tuple[str, ...] | None
    text_layer: int | None


@dataclass(frozen=True)
class SurprisalFiguresSettings:
    """Tokens at the start of every sequence that are in no regression."""

    drop_first: int


@dataclass(frozen=True)
class PanelsSettings:
    """Layers that get a panel of their own; None: all of them."""

    layers: tuple[int, ...] | None
