"""What was measured of a model: in a notebook, or by a run. It needs no torch."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attnlag.corpus import properties as token_properties
from attnlag.corpus.alignment import Speller
from attnlag.corpus.catalogue import log_frequencies
from attnlag.corpus.documents import Document
from attnlag.corpus.sequences import Tokenized
from attnlag.corpus.tokens import adds_bos, token_counts
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.quantities.catalogue import QUANTITIES, Key
from attnlag.quantities.columns import array_of, layer_number, layer_numbers, layers_in
from attnlag.quantities.outcomes import relative_norms
from attnlag.storage.sequences import TokenSequence
from attnlag.study.checking import checked_draw, unknown_names

if TYPE_CHECKING:
    from attnlag.study.measuring import Run

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
    # relative to the size of the block output; None if a run has stored it.
    identity_error: float | None
    # Settings of the passes that bear on the precision of the numbers, as the record of a run has
    # them: ``{"used": {"dtype": "float32"}}``.
    passes: Mapping[str, Any] = field(repr=False)
    tokenizer: Any = field(repr=False)
    run: "Run | None" = field(repr=False)  # for `untrained`; None if it is stored
    tagger: token_properties.WordSource = field(repr=False)
    # Properties of tokens, as a run has stored them.
    stored_properties: pa.Table | None = field(default=None, repr=False)

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
        if self.stored_properties is not None:
            return self.stored_properties
        assert self.run is not None  # the properties of a stored measurement are stored
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
                if QUANTITIES[name].in_control and name not in ("vectors", "readout"):
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

        A scale that is another's has no tokens. Raise UserError if this measurement is a run's.
        """
        if self.run is None:
            raise UserError(
                "random weights: found a measurement that a run has stored, expected one of "
                "attnlag.measure, which has the model; or the run's own table untrained_scales"
            )
        yield from self.run.draws(self, documents, scales, seed, quantities)

    def __repr__(self) -> str:
        text = (
            f"{self.model}: {', '.join(self.sites)} in {counted(self.layers, 'layer')}, "
            f"{counted(len(self.tokens), 'token')} of {counted(len(self.texts), 'document')}"
        )
        if self.identity_error is None:
            return text
        return f"{text}; block input + adjustments = block output within {self.identity_error:.1e}"

    def _repr_html_(self) -> str:
        by_layer = self.norms.groupby(["layer", "site"])[["norm", "relative"]].median().unstack()
        table = by_layer.to_html(float_format="{:.3g}".format, max_rows=12)
        return f"<p>{text_for('html', repr(self))}</p><p>Medians over the tokens:</p>{table}"


def sequences_of(tokens: pd.DataFrame) -> list[TokenSequence]:
    """Return the sequences of tokens, in their order."""
    windows: Any = tokens.groupby(["document", "window"], sort=False)["token_id"]
    sequences: list[TokenSequence] = []
    for (name, window), ids in windows:
        sequences.append(TokenSequence(name, int(window), ids.to_numpy()))
    return sequences


def occurrences(tokens: pd.DataFrame) -> pa.Table:
    """Return how often each token occurs in all texts."""
    ids = pa.array([tokens["token_id"].astype(np.int32)], pa.list_(pa.int32()))
    return token_counts([pa.record_batch({"input_ids": ids})])
