"""The adjustments of a loaded model to the tokens of some texts."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from attnlag.corpus import properties as token_properties
from attnlag.corpus.alignment import Speller
from attnlag.corpus.catalogue import log_frequencies
from attnlag.corpus.documents import Document
from attnlag.corpus.sequences import Tokenized
from attnlag.corpus.tokens import adds_bos
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.model import language_models, random_weights
from attnlag.model.decoder import decoder_of
from attnlag.quantities.catalogue import QUANTITIES, Key, Values
from attnlag.quantities.columns import KEYS, array_of, layer_number, layer_numbers, layers_in
from attnlag.quantities.extraction import Extractor, measure_runs
from attnlag.quantities.formats import rows_of
from attnlag.quantities.outcomes import relative_norms
from attnlag.quantities.tracing import Tracer
from attnlag.storage.sequences import TokenSequence
from attnlag.study.checking import (
    checked,
    checked_draw,
    names_of,
    source_of_words,
    unknown_names,
)
from attnlag.study.inputs import evaluated, occurrences, prepared, sequences_of

# Quantities of forward passes, or of passes over one sequence at a time.
MEASURED_AT_ONCE = [
    name for name, each in QUANTITIES.items() if each.measured_in in ("forward", "single")
]


def _is_table(quantity: str) -> bool:
    """Return whether a measurement gives a quantity as a table of layers and tokens."""
    return quantity != "vectors" and not QUANTITIES[quantity].without_layers


@dataclass
class Measurement:
    """Adjustments of a model to the tokens of some texts."""

    model: str  # its name
    texts: dict[str, str]  # by document id
    groups: dict[str, str]  # of documents, in the same order
    # One row per token: document, window, position, token_id and token, the token's piece of the
    # text; with surprisal, also surprisal, entropy_before, entropy_next (nats) and rank.
    tokens: pd.DataFrame
    # The rows of a run's files, by quantity and site; see `table`.
    tables: dict[Key, pa.Table] = field(repr=False)
    # By quantity, the errors of its check, or why layers have none.
    remarks: dict[str, str]
    # Largest difference between block input + adjustments and block output at the first tokens,
    # relative to the size of the block output.
    identity_error: float
    tokenizer: Any = field(repr=False)
    run: "Run" = field(repr=False)  # for `untrained`
    tagger: token_properties.WordSource = field(repr=False)

    @property
    def quantities(self) -> list[str]:
        """Names of the quantities that were measured."""
        return list(dict.fromkeys(name for name, _ in self.tables))

    @property
    def sites(self) -> list[str]:
        """Names of the sites that were measured."""
        return [site for name, site in self.tables if name == "norms"]

    @property
    def layers(self) -> int:
        """Number of layers that were measured."""
        return len(self.layer_numbers)

    @property
    def layer_numbers(self) -> list[int]:
        """The layers that were measured, counted from 0."""
        return layer_numbers(self.tables["stream", ""].schema)

    @property
    def sizes(self) -> dict[str, np.ndarray]:
        """L2 norms of adjustments by site, (layers, tokens), in units of the residual stream."""
        return {site: np.stack(layers) for site, layers in self._layers_of("norms").items()}

    @property
    def stream(self) -> np.ndarray:
        """L2 norms of the residual stream that each measured block receives, (layers, tokens)."""
        return np.stack(self._layers_of("stream")[""])

    @property
    def vectors(self) -> dict[str, list[np.ndarray]]:
        """The adjustments by site, (tokens, width) for each layer; empty unless measured."""
        return self._layers_of("vectors")

    def _layers_of(self, quantity: str) -> dict[str, list[np.ndarray]]:
        """Return the array of each layer by site, with a row per token."""
        layers: dict[str, list[np.ndarray]] = {}
        for (name, site), rows in self.tables.items():
            if name == quantity:
                layers[site] = [array_of(rows[layer]) for layer in layers_in(rows.schema)]
        return layers

    @cached_property
    def norms(self) -> pd.DataFrame:
        """One row per site, layer and token: the columns of ``tokens``, ``norm`` and ``relative``.

        ``norm`` is the L2 norm of the adjustment; ``relative`` is this norm divided by that of
        the residual stream that the block receives.
        """
        return self.table("norms")

    def table(self, quantity: str) -> pd.DataFrame:
        """Return a quantity, a row per site, layer and token, beside the columns of ``tokens``.

        Parameters
        ----------
        quantity : str
            "norms" (``norm``, ``relative``), "geometry" (``parallel``, ``orthogonal``,
            ``log_growth``, ``angle``, ``cosine_previous``), "heads" (a norm for each head),
            "sources", "sinks" or "readout", with the columns of a run's files.

        Raises
        ------
        UserError
            If it was not measured, or is not a table.
        """
        names = [name for name in self.quantities if _is_table(name)]
        if quantity not in names:
            raise UserError(
                f"quantity: found '{quantity}', expected {' or '.join(names)}, which are tables "
                f"that were measured{nearest(quantity, names)}"
            )
        keys = ["document", "window", "position"]
        frames = []
        for (name, site), rows in self.tables.items():
            if name != quantity:
                continue
            if QUANTITIES[name].measured_in == "single":
                frame = rows.to_pandas().astype({"document": str})
                tokens = self.tokens[[*keys, "token"]]
                frames.append(frame.merge(tokens, on=keys, how="left").assign(site=site))
                continue
            for number, columns in groupby(layers_in(rows.schema), layer_number):
                numbers: dict[str, np.ndarray] = {}
                for column in columns:
                    values = array_of(rows[column])
                    if values.ndim > 1:
                        numbers |= {f"head_{head}": norms for head, norms in enumerate(values.T)}
                    else:
                        numbers[column.partition(".")[2] or quantity] = values
                if name == "norms":
                    received = self.stream[self.layer_numbers.index(number)]
                    relative = relative_norms(numbers["norms"], received)
                    numbers = {"norm": numbers["norms"], "relative": relative}
                frames.append(self.tokens.assign(site=site, layer=number, **numbers))
        if not frames:
            raise UserError(f"quantity: found '{quantity}', but {self.remarks[quantity]}")
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def properties(self) -> pa.Table:
        """One row per token: its word, part of speech and frequency, as a run describes them.

        Without a tagger, parts of speech are ``none``. ``properties.to_pandas()`` is a data frame.
        """
        documents: list[Tokenized] = []
        for name, sequences in groupby(sequences_of(self.tokens), lambda each: each.document):
            document = Document(name, self.groups[name], self.texts[name])
            documents.append(Tokenized(document, list(sequences)))
        (table,) = token_properties.describe(
            [documents],
            self.tagger,
            Counter(),
            speller=Speller(self.tokenizer),
            bos=int(adds_bos(self.tokenizer, self.run.prepend_bos)),
            truncated=False,
            log_frequencies=log_frequencies(occurrences(self.tokens)),
        )
        return table

    def untrained(
        self,
        documents: Sequence[str] | None = None,
        seed: int = 0,
        scale: str = "own",
        quantities: Sequence[str] | None = None,
    ) -> "Measurement":
        """Return the same measurement of the same architecture with random weights.

        Parameters
        ----------
        documents : sequence of str, optional
            Names of documents of the measurement; by default all.
        seed : int
            Seed of the weights.
        scale : str
            Scale of the weights, as in ``controls.random_weights.scales``.
        quantities : sequence of str, optional
            What to measure besides norms; by default what was measured, but for vectors and
            predictions.

        Raises
        ------
        UserError
            If an argument has an unknown value, or if transformers cannot build the model.
        """
        if documents is None:
            documents = list(self.texts)
        if quantities is None:
            quantities = []
            for name in self.quantities:
                if QUANTITIES[name].untrained and name not in ("vectors", "readout"):
                    quantities.append(name)
        problems = [
            *unknown_names(
                "documents", documents, list(self.texts), "documents that were measured"
            ),
            *unknown_names("quantities", quantities, MEASURED_AT_ONCE),
        ]
        if problems:
            raise UserError(problems)
        scale, seed = checked_draw(scale, seed)
        (found,) = self.draws(list(documents), [scale], seed, quantities)
        return found[1]

    def draws(
        self, documents: Sequence[str], scales: Sequence[str], seed: int, quantities: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], "Measurement"]]:
        """Yield what is known of each scale of random weights, and the measurement at it.

        A scale that is another's has no tokens.
        """
        used = self.tokens["document"].isin(documents)
        initial = language_models.initial_range(self.run.config.get_text_config())
        own = {"initializer_range": initial, "from": "config"}
        for draw in random_weights.draws(
            self.run.config, scales, seed, modules=self.run.modules, name=self.model
        ):
            tokens = self.tokens[used & (not draw.left_out)].reset_index(drop=True)
            if draw.left_out:
                empty = {key: rows[:0] for key, rows in self.tables.items()}
                untrained = replace(self, tokens=tokens, tables=empty)
            else:
                model = draw.model.to(self.run.device, self.run.dtype)
                measured = self.run.over(model, tokens, quantities)
                untrained = replace(self, tokens=tokens, **measured)
            yield draw.facts(own), untrained

    def __repr__(self) -> str:
        return (
            f"{self.model}: {', '.join(self.sites)} in {counted(self.layers, 'layer')}, "
            f"{counted(len(self.tokens), 'token')} of {counted(len(self.texts), 'document')}; "
            f"block input + adjustments = block output within {self.identity_error:.1e}"
        )

    def _repr_html_(self) -> str:
        by_layer = self.norms.groupby(["layer", "site"])[["norm", "relative"]].median().unstack()
        table = by_layer.to_html(float_format="{:.3g}".format, max_rows=12)
        return f"<p>{text_for('html', repr(self))}</p><p>Medians over the tokens:</p>{table}"


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
        Name of the model; by default the last part of ``model.name_or_path``.
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
