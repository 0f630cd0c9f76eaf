"""The settings of the stages that intervene on adjustments."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["scale", "zero", "mean", "resample"]


@dataclass(frozen=True)
class EffectsSettings:
    """What is intervened on, where the effect is looked for, and in which documents.

    Attributes
    ----------
    source_sites, target_sites : tuple of str
        Sites whose adjustments are changed, and those whose norms are looked at.
    targets : int, tuple of int or "all"
        Target layers of the derivative; a number is spread over depth, the last layer included.
    lags : int
        Largest distance in tokens from a source to its target.
    probes : int
        Number of backward passes for each target, each for every so many-th token.
    documents : int or "all"
        Number of documents, taken from the groups in turn.
    document_tokens : int
        Number of tokens of a document that are used at most, from its beginning.
    interventions : tuple of str
        Kinds of finite interventions.
    scales : tuple of float
        Factors of the intervention "scale".
    sources : int, tuple of int or "all"
        Source layers of finite interventions.
    positions : int
        Number of tokens of a document that finite interventions change, one at a time.
    seed : int
        Seed of the signs and of the positions.
    drop_first : int
        Tokens at the start of every sequence that are neither source nor target.
    dtype : str
        Precision of the model, or "auto".
    attention_implementation : {"auto", "sdpa", "eager"}
    modules : dict or None
        Declared module paths of the model; None: those of a known architecture.
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
