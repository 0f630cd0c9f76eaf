"""Effects of changing the adjustments of a loaded model on the norms of later ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd
import torch

from attnlag.errors import UserError, counted, listed, shown
from attnlag.interventions import effects, elasticities, sampling
from attnlag.interventions.derivative import DERIVATIVE
from attnlag.interventions.factors import FACTORS
from attnlag.interventions.finite import Edit
from attnlag.model.decoder import decoder_of
from attnlag.pipeline import stages
from attnlag.regression.settings import ElasticitiesSettings
from attnlag.section import number_list_or_all
from attnlag.study.checking import IN_MEMORY, checked, keys_of_section, names_of
from attnlag.study.inputs import evaluated, prepared
from attnlag.study.measurement import sequences_of

# Names of interventions, which further ones cannot have.
NAMES = [DERIVATIVE, *FACTORS, "zero", "mean"]


@dataclass
class Interventions:
    """Effects of changed adjustments in some texts."""

    model: str  # its name
    # One row per document, source, target, distance and intervention: the sum of effects over
    # ``positions`` tokens, as a run stores it.
    effects: pd.DataFrame = field(repr=False)
    settings: ElasticitiesSettings = field(repr=False)

    @cached_property
    def elasticities(self) -> pd.DataFrame:
        """One row per source, target, distance and intervention: the mean effect and its interval.

        It is % of length per % for the derivative, ``halve``, ``double`` and ``small`` (2% more),
        and the mean change of the log norm, of surprisal or the divergence (nats) for the others.
        """
        return elasticities.elasticities_table(self.effects, self.settings)

    def __repr__(self) -> str:
        documents = counted(self.effects["document"].nunique(), "document")
        kinds = ", ".join(self.effects["intervention"].unique())
        return f"{self.model}: effects in {documents} ({kinds})"


def _checked_changes(changes: Mapping[str, Edit]) -> dict[str, Edit]:
    """Return interventions by name; raise UserError if a name is taken or a value no function."""
    if not isinstance(changes, Mapping):
        raise UserError(
            f"changes: found {shown(changes)}, expected functions of an adjustment by name"
        )
    problems = []
    for name, edit in changes.items():
        if not isinstance(name, str):
            problems.append(f"changes: found the name {shown(name)}, expected text")
        elif name in NAMES:
            taken = listed(NAMES)
            problems.append(f"changes: found the name '{name}', expected another than {taken}")
        elif not callable(edit):
            problems.append(
                f"changes, '{name}': found {shown(edit)}, expected a function of an adjustment"
            )
    if problems:
        raise UserError(problems)
    return dict(changes)


def _first(documents: Sequence[str], number: int | Literal["all"]) -> Sequence[str]:
    """Return the first documents, or all."""
    if number == "all":
        return documents
    return documents[:number]


def intervene(
    model: torch.nn.Module,
    tokenizer: Any,
    texts: Sequence[str] | Mapping[str, str] | pd.Series,
    *,
    sites: str | Sequence[str] = ("attention",),
    drop_first: int | None = None,
    inference: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    prepend_bos: str | bool = "auto",
    modules: Mapping[str, Any] | None = None,
    name: str | None = None,
    progress: bool = True,
    sources: int | Sequence[int] | Literal["all"] = 1,
    changes: Mapping[str, Edit] | None = None,
    **causal: Any,
) -> Interventions:
    """Change adjustments of a model and measure the effect on the norms of later ones.

    The derivative has a source in each token and layer; finite interventions replace single
    adjustments, and also show the effect on the prediction of the next token, if the model has a
    head. The model stays as it is.

    Parameters
    ----------
    model, tokenizer, texts, max_length, prepend_bos, modules, name, progress
        As of `measure`.
    sites : str or sequence of str
        What is changed and observed; ``source_sites`` and ``target_sites`` name them apart.
    drop_first : int, optional
        Number of tokens at the start of every sequence that are neither source nor target.
    inference : mapping, optional
        Keys of the configuration's section ``inference``, of which intervals use ``alpha``.
    sources : int, sequence of int or "all"
        Layers that finite interventions change; a number of them is spread over depth and leaves
        out the last.
    changes : mapping, optional
        Further interventions by name: functions that return what replaces an adjustment, a tensor
        of shape (width,), given it. They are called once for each changed token.
    **causal
        Keys of the section ``causal``: ``targets``, ``lags``, ``sign_draws``, ``documents`` (the
        first ones; all unless it is given), ``finite_documents`` (the same), ``document_tokens``,
        ``interventions``, ``positions``, ``seed``, ``batch_tokens``.

    Raises
    ------
    UserError
        If an argument is unknown or impossible, or the check of the sites fails.
    MemoryError
        If the graph of a single pass does not fit in memory.

    Examples
    --------
    >>> found = attnlag.intervene(model, tokenizer, texts, lags=2)  # doctest: +SKIP
    >>> found.elasticities.query("intervention == 'derivative' and lag == 1")  # doctest: +SKIP
    """
    config = checked(
        {
            "extraction": {"sites": names_of("sites", sites)},
            "norms": {} if drop_first is None else {"drop_first": drop_first},
            "tokens": {"max_length": max_length, "prepend_bos": prepend_bos},
            "inference": keys_of_section("inference", inference),
            "causal": {"documents": "all", "finite_documents": "all", **causal},
        },
        modules=modules,
    )
    assert config.causal is not None
    edits = _checked_changes({} if changes is None else changes)
    settings = stages.effects_settings(config, IN_MEMORY)
    if isinstance(sources, Iterable) and not isinstance(sources, str):
        sources = list(sources)
    try:
        layers = number_list_or_all(sources)
    except ValueError as error:
        raise UserError(f"sources: {error}") from None
    settings = settings.changed(
        sources=layers,
        positions=config.causal.positions,
        finite_documents=config.causal.finite_documents,
    )
    model, name, _, tokens = prepared(model, tokenizer, texts, None, config.tokens, name)
    names = list(tokens["document"].unique())
    sequences = sampling.first_tokens_of(
        sequences_of(tokens), settings.document_tokens, _first(names, settings.documents)
    )
    longest = max(map(len, sequences.values()))
    if longest <= settings.drop_first:
        raise UserError(
            f"drop_first: found {settings.drop_first}, but the longest sequence has "
            f"{counted(longest, 'token')} (at most document_tokens, {settings.document_tokens}); "
            "expected fewer"
        )
    with evaluated(model):
        table = effects.estimate(
            decoder_of(model, modules, name),
            sequences,
            settings,
            changes=edits,
            documents_to_change=_first(names, settings.finite_documents),
            batch_tokens=config.causal.batch_tokens,
            threads=torch.get_num_threads(),
            progress=progress,
        )
    elasticities_settings = stages.from_sections(ElasticitiesSettings, config.inference)
    return Interventions(name, table.to_pandas(), elasticities_settings)
