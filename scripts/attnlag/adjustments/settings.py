"""The settings of the stage that runs the model."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ExtractionSettings:
    """How the model is run and what is kept of its sublayers' outputs.

    Attributes
    ----------
    sites : tuple of str
        What is measured, from the catalogue of sites.
    keep : {"vectors", "norms"}
    storage_dtype : str or None
        Precision in which vectors are stored; None where norms are kept.
    dtype : str
        Precision of the model, or "auto".
    attention_implementation : {"auto", "sdpa", "eager"}
    fast : {"auto", "off", "fused", "packed"}
        The fast path on CPU; "auto" is measured.
    modules : dict or None
        Declared module paths of the model; None: those of a known architecture.
    surprisal : bool
        Whether what the model predicts at each token is stored too.
    geometry : bool
        Whether the directions of adjustments are measured.
    heads : bool
        Whether the norms of attention heads are, and their attention to the first token.
    """

    sites: tuple[str, ...]
    keep: Literal["vectors", "norms"]
    storage_dtype: str | None
    dtype: str
    attention_implementation: Literal["auto", "sdpa", "eager"]
    fast: Literal["auto", "off", "fused", "packed"]
    modules: dict[str, Any] | None
    geometry: bool
    heads: bool
    surprisal: bool = False


@dataclass(frozen=True)
class DirectionsSettings:
    """Tokens at the start of every sequence that are in no mean."""

    drop_first: int


@dataclass(frozen=True)
class GeometrySettings:
    """What is summarised of the directions of adjustments.

    Attributes
    ----------
    drop_first : int
        Tokens at the start of every sequence that are in no mean.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    drop_first: int
    alpha: float


@dataclass(frozen=True)
class RandomWeightsSettings:
    """How the model with random weights is run.

    Attributes
    ----------
    extraction : ExtractionSettings
        As for the trained model; norms are kept in any case.
    documents : int
        Number of documents, the first of each group in turn.
    seed : int
        Seed of the weights.
    """

    extraction: ExtractionSettings
    documents: int
    seed: int
