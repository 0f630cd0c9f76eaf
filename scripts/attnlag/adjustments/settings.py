"""Settings of the stages that run the model and summarise its adjustments."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ExtractionSettings:
    """Settings of the forward passes and of the values to keep.

    Attributes
    ----------
    sites : tuple of str
        Names from the catalogue of sites.
    storage_dtype : str or None
        Precision of stored vectors; None if only norms are kept.
    dtype : str
        Precision of the model, or "auto".
    fast : {"auto", "off", "fused", "packed"}
        The fast path on CPU; "auto" measures which is fastest.
    modules : dict or None
        Declared module paths of the model; None for those of a known architecture.
    surprisal : bool
        Whether the model's predictions at each token are stored.
    geometry : bool
        Whether the directions of adjustments are measured.
    heads : bool
        Whether the norms of attention heads and their attention to the first token are measured.
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
    """Number of tokens at the start of every sequence that are left out of means."""

    drop_first: int


@dataclass(frozen=True)
class GeometrySettings:
    """Settings of the summary of the directions of adjustments.

    Attributes
    ----------
    drop_first : int
        Number of tokens at the start of every sequence that are left out of means.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    drop_first: int
    alpha: float


@dataclass(frozen=True)
class RandomWeightsSettings:
    """Settings of the model with random weights.

    Attributes
    ----------
    extraction : ExtractionSettings
        As for the trained model; norms are always kept.
    documents : int
        Number of documents, the first of each group in turn.
    draws : int
        Number of draws of the weights, the first over all documents.
    seed : int
        Seed of the first draw; the next has the next.
    """

    extraction: ExtractionSettings
    documents: int
    draws: int
    seed: int


@dataclass(frozen=True)
class TracingSettings:
    """Settings of the passes that trace sources and what adjustments say.

    Attributes
    ----------
    sites : tuple of str
        Sites whose effects are measured; sources are those of attention.
    documents : int or "all"
        Number of documents, the first of each group in turn.
    document_tokens : int
        Largest number of tokens of a document, from its beginning.
    dtype : str
        Precision of the model, or "auto".
    modules : dict or None
        Declared module paths of the model; None for those of a known architecture.
    untrained : int or None
        Seed of the weights of the control; None without it.
    """

    sites: tuple[str, ...]
    documents: int | Literal["all"]
    document_tokens: int
    dtype: str
    modules: dict[str, Any] | None
    untrained: int | None
