"""The adjustments of a loaded model to the tokens of some texts."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from attnlag.errors import UserError
from attnlag.model import initial_weights, language_models
from attnlag.model.decoder import decoder_of
from attnlag.quantities.catalogue import QUANTITIES, Key, Values
from attnlag.quantities.columns import KEYS
from attnlag.quantities.extraction import Extractor, measure_runs
from attnlag.quantities.formats import rows_of
from attnlag.quantities.tracing import Tracer
from attnlag.storage.sequences import TokenSequence
from attnlag.study.checking import (
    checked,
    names_of,
    source_of_words,
    unknown_names,
)
from attnlag.study.inputs import evaluated, prepared
from attnlag.study.measurement import MEASURED_AT_ONCE, Measurement, sequences_of


def measure(
    model: torch.nn.Module,
    tokenizer: Any,
    texts: Sequence[str] | Mapping[str, str] | pd.Series,
    *,
    sites: str | Sequence[str] = ("attention",),
    groups: Sequence[str] | None = None,
    quantities: str | Sequence[str] = (),
    layers: Sequence[int] | None = None,
    max_length: int | None = None,
    prepend_bos: str | bool = "auto",
    batch_tokens: int = 4096,
    modules: Mapping[str, Any] | None = None,
    name: str | None = None,
    tagger: Any = None,
    progress: bool = True,
) -> Measurement:
    """Measure the adjustments of a model to each token of some texts.

    The sites are checked on the first tokens: block input + attention adjustment + MLP adjustment =
    block output. The model stays on its device and in its precision, and its weights do not change.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With or without a head, on any device, also in a wrapper of PEFT.
    tokenizer : transformers.PreTrainedTokenizerFast
        The tokenizer of the model.
    texts : sequence of str, mapping of str to str, or pandas.Series of str
        Documents, or documents by id. The ids of a sequence are "0", "1", …; those of a Series
        are its index.
    sites : str or sequence of str
        ``"attention"``, ``"mlp"``, or ``"block"`` for the sum of both.
    groups : sequence of str, optional
        A group, such as a genre, for each text.
    quantities : str or sequence of str
        What to measure besides norms: ``"vectors"`` (4 bytes × width × layers × sites per token),
        ``"geometry"``, ``"heads"``, ``"surprisal"``; and from passes over one sequence at a time,
        whose memory grows with its square, ``"sources"`` and ``"readout"``.
    layers : sequence of int, optional
        Layers to measure, as in ``[0, 15, 29]``; by default all. ``"sources"`` and ``"readout"``
        have all in any case.
    max_length : int, optional
        Longest sequence in tokens, at most the model's context length, which is the default;
        longer texts are split into windows.
    prepend_bos : {"auto", True, False}
        Whether each sequence begins with the begin-of-sequence token; ``"auto"`` does what the
        tokenizer does by default.
    batch_tokens : int
        Tokens in one forward pass, including padding.
    modules : mapping, optional
        Paths of the blocks and sublayers, for an unknown type of model.
    name : str, optional
        Name of the model; by default the last part of ``model.name_or_path``, or its class's.
    tagger : spaCy pipeline, sequence of str, or mapping, optional
        Source of words and parts of speech: a pipeline that spaCy has loaded, the words and tags of
        each text, as in ``["The/DET cat/NOUN"]``, or the keys of ``tagger`` in the configuration.
    progress : bool
        Whether a progress bar is shown.

    Raises
    ------
    UserError
        If there is no text, an argument has an unknown value, the tokenizer is not a fast one or
        has tokens that the model lacks, the tagger is unsuitable, the model has no head for
        surprisal, or the check of the sites fails.

    Examples
    --------
    >>> import torch, transformers, attnlag
    >>> config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2)
    >>> _ = torch.manual_seed(0)
    >>> model = transformers.GPT2LMHeadModel(config)
    >>> measured = attnlag.measure(model, tokenizer, ["The river ran low that summer."])
    >>> measured.norms[["token", "layer", "norm"]].head(2).round(3)
        token  layer   norm
    0     The      0  0.029
    1   river      0  0.022
    """
    sites = names_of("sites", sites)
    asked = names_of("quantities", quantities)
    problems = unknown_names("quantities", asked, MEASURED_AT_ONCE)
    if problems:
        raise UserError(problems)
    config = checked(
        {
            "extraction": {"sites": sites, "layers": layers, "batch_tokens": batch_tokens},
            "causal": None,
            "tokens": {"max_length": max_length, "prepend_bos": prepend_bos},
        },
        modules=modules,
    )
    model, name, documents, tokens = prepared(model, tokenizer, texts, groups, config.tokens, name)
    texts_by_document: dict[str, str] = {}
    groups_by_document: dict[str, str] = {}
    for document in documents:
        texts_by_document[document.id] = document.text
        groups_by_document[document.id] = document.group
    tagger_in_use = source_of_words(tagger, documents)
    weight = next(model.parameters())
    run = Run(
        name=name,
        sites=sites,
        layers=config.extraction.layers,
        config=copy.deepcopy(model.config),
        device=weight.device,
        dtype=weight.dtype,
        modules=modules,
        batch_tokens=config.extraction.batch_tokens,
        prepend_bos=prepend_bos,
    )
    measured = run.over(model, tokens, asked, progress)
    for quantity in asked:
        if QUANTITIES[quantity].without_layers:
            numbers = measured["tables"][quantity, ""].drop_columns(KEYS).to_pandas()
            tokens[list(numbers)] = numbers.astype(np.float32)
    return Measurement(
        model=name,
        texts=texts_by_document,
        groups=groups_by_document,
        tokens=tokens,
        passes={"used": {"dtype": str(weight.dtype).removeprefix("torch.")}},
        tokenizer=tokenizer,
        run=run,
        tagger=tagger_in_use,
        **measured,
    )


def _tables(extractor: Extractor, sequences: Sequence[TokenSequence]) -> dict[Key, pa.Table]:
    """Return the rows of a run's files by quantity and site, in memory."""
    computations = extractor.computations
    rows: dict[Key, list[pa.Table]] = {key: [] for key in computations}

    def keep(run: list[TokenSequence], values: Values) -> None:
        for key, computation in computations.items():
            rows[key].append(rows_of(computation, run, values[key]))

    measure_runs(sequences, extractor, keep)
    tables: dict[Key, pa.Table] = {}
    for key, runs in rows.items():
        tables[key] = pa.concat_tables(runs).unify_dictionaries()
    return tables


@dataclass(frozen=True)
class Run:
    """How a model is run."""

    name: str  # the model's
    sites: Sequence[str]
    layers: Sequence[int] | None  # None: all
    config: Any  # of the model
    device: torch.device
    dtype: torch.dtype
    modules: Mapping[str, Any] | None
    batch_tokens: int
    prepend_bos: str | bool

    def draws(
        self,
        measurement: Measurement,
        documents: Sequence[str],
        scales: Sequence[str],
        seed: int,
        quantities: Sequence[str],
    ) -> Iterator[tuple[dict[str, Any], Measurement]]:
        """Yield what is known of each scale of random weights, and the measurement at it."""
        used = measurement.tokens["document"].isin(documents)
        texts = {name: text for name, text in measurement.texts.items() if name in documents}
        initial = language_models.initial_range(self.config.get_text_config())
        own = {"initializer_range": initial, "from": "config"}
        for draw in initial_weights.draws(
            self.config, scales, seed, modules=self.modules, name=self.name
        ):
            tokens = measurement.tokens[used & (not draw.left_out)].reset_index(drop=True)
            if draw.left_out:
                empty = {key: rows[:0] for key, rows in measurement.tables.items()}
                untrained = replace(measurement, texts=texts, tokens=tokens, tables=empty)
            else:
                model = draw.model.to(self.device, self.dtype)
                measured = self.over(model, tokens, quantities)
                untrained = replace(measurement, texts=texts, tokens=tokens, **measured)
            yield draw.facts(own), untrained

    def over(
        self, model: Any, tokens: pd.DataFrame, quantities: Sequence[str], progress: bool = False
    ) -> dict[str, Any]:
        """Run a model over tokens; return the fields of a `Measurement` that hold what it gives."""
        sequences = sequences_of(tokens)
        forward = ["norms"]
        single: list[str] = []
        for name in quantities:
            plan = forward if QUANTITIES[name].measured_in == "forward" else single
            plan.append(name)
        bar = tqdm(
            total=len(tokens),
            unit="token",
            desc=f"{self.name}: tokens",
            disable=not progress,
            delay=2,
        )
        with evaluated(model), bar:
            decoder = decoder_of(model, self.modules, self.name)
            extractor = Extractor(
                decoder,
                quantities=forward,
                sites=self.sites,
                layers=self.layers,
                batch_tokens=self.batch_tokens,
                threads=torch.get_num_threads(),
                progress=bar.update,
            )
            tables = _tables(extractor, sequences)
            remarks = extractor.remarks()
            if single:
                tracer = Tracer(decoder, self.sites)
                tracer.trace({(document, window): ids for document, window, ids in sequences})
                for key, traced in tracer.tables().items():
                    if key[0] in single:
                        tables[key] = traced
                remarks |= tracer.remarks(single)
        error = float(extractor.identity_error or 0.0)
        return {"tables": tables, "remarks": remarks, "identity_error": error}
