"""Settings of the stages that intervene on adjustments."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["scale", "zero", "mean", "resample"]


@dataclass(frozen=True)
class EffectsSettings:
    """Sources and targets of interventions, and the documents used.

    Attributes
    ----------
    source_sites, target_sites : tuple of str
        Sites whose adjustments are changed, and sites whose norms are observed.
    targets : int, tuple of int or "all"
        Target layers of the derivative; a number is spread over depth, the last layer included.
    lags : int
        Largest distance in tokens from a source to its target.
    probes : int
        Number of backward passes per target; pass i covers tokens i, i + probes, i + 2 probes, ….
    documents : int or "all"
        Number of documents, taken from the groups in turn.
    document_tokens : int
        Largest number of tokens used per document, from its beginning.
    sources : int, tuple of int or "all"
        Source layers of finite interventions.
    positions : int
        Number of tokens of a document that finite interventions change, one at a time.
    seed : int
        Seed of the signs and of the positions.
    drop_first : int
        Number of tokens at the start of every sequence that are neither source nor target.
    modules : dict or None
        Declared module paths of the model; None for those of a known architecture.
    """

    source_sites: tuple[str, ...]
    target_sites: tuple[str, ...]
    targets: int | tuple[int, ...] | Literal["all"]
    lags: int
    probes: int
    documents: int | Literal["all"]
    document_tokens: int
    interventions: tuple[Kind, ...]
    scales: tuple[float, ...]
    sources: int | tuple[int, ...] | Literal["all"]
    positions: int
    seed: int
    drop_first: int
    dtype: str
    attention_implementation: Literal["auto", "sdpa", "eager"]
    modules: dict[str, Any] | None
