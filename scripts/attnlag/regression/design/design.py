"""Design matrices: the outcome of each token and its regressors.

The regressors are the outcome of the same layer (log norms) at preceding and following tokens, and
the covariates of ``covariates.CATALOGUE``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.corpus.catalogue import FILES as SHARDED
from attnlag.errors import UserError
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.columns import KEY_FIELDS, KEYS, layer_number
from attnlag.quantities.outcomes import outcome_values
from attnlag.regression.covariates import CATALOGUE, Covariate, layer_places
from attnlag.regression.design.counts import Counts
from attnlag.regression.settings import DesignSettings
from attnlag.regression.terms import Place
from attnlag.regression.units import Unit
from attnlag.storage import tables


class Formula:
    """The terms of a regression on one corpus, and which tokens give a row.

    A token gives a row if neither the outcome nor a predictor lies outside the sequence or among
    its first ``drop_first`` tokens. One that lacks a covariate, as the first token of a text lacks
    surprisal, gives none in any layer.

    The lookups are what covariates know of the corpus, by covariate: the results of their ``read``.
    """

    def __init__(self, settings: DesignSettings, lookups: Mapping[str, Any]) -> None:
        self.settings = settings
        self.outcome = OUTCOMES[settings.outcome]
        self.lookups = dict(lookups)
        for name, entry in CATALOGUE.items():
            if entry.key:
                self.lookups[name] = getattr(settings, entry.key)
        # Terms with separate values in each layer, in order, with their places.
        self.places = {
            "y": Place(0, 0),
            **{f"lag_{lag}": Place(0, -lag) for lag in settings.lags},
            **{f"lead_{lead}": Place(0, lead) for lead in settings.leads},
            **layer_places(settings.covariates),
        }
        # Terms that all layers share, in order, with their covariates.
        self.shared: dict[str, Covariate] = {}
        self.covariates = {}
        for name, entry in CATALOGUE.items():
            if name not in settings.covariates or entry.places:
                continue
            self.covariates[name] = entry
            terms = [f"{name}_{label}" for label in entry.classes] or entry.terms
            if entry.columns:
                terms = entry.columns(self.lookups.get(name))
            self.shared |= dict.fromkeys(terms, entry)
        # (shared terms, 1) int array: the token that each describes, relative to the outcome.
        offsets_of_shared = [entry.offset for entry in self.shared.values()]
        self.offsets = np.array(offsets_of_shared, np.intp)[:, None]
        # Numbers of tokens that an outcome needs before it, including dropped ones, and after it.
        offsets = [place.offset for place in self.places.values()]
        self.before = settings.drop_first - min(offsets)
        self.after = max(offsets)
        # Number of layers before its own that an outcome needs.
        self.above = max(place.layers_before for place in self.places.values())

    @classmethod
    def read(
        cls,
        settings: DesignSettings,
        files: Mapping[str, Any],
        documents: Collection[str] | None = None,
    ) -> "Formula":
        """Read what the covariates need to know of the corpus, or of some of its documents.

        Properties of tokens are in the file of the design's shard, or in a list of all shards.
        Raise UserError if a covariate lacks its file.
        """
        lookups = {}
        for name in settings.covariates:
            entry = CATALOGUE[name]
            if not (entry.file and entry.read):
                continue
            path = files.get(entry.file)
            if not path:
                raise UserError(f"found the covariate {name} without {entry.file}, expected both")
            if entry.file in SHARDED:
                paths = [path] if isinstance(path, Path) else path
                lookups[name] = entry.read(paths, documents)
            else:
                lookups[name] = entry.read(path)
        return cls(settings, lookups)

    def schema(self, layers: Sequence[str]) -> pa.Schema:
        """Return the schema of a design: keys, terms layer by layer, then shared terms."""
        names = [f"{layer}.{term}" for layer in layers for term in self.places]
        names += self.shared
        return pa.schema([*KEY_FIELDS, *((name, pa.float64()) for name in names)])

    def outcomes(self, position: np.ndarray) -> np.ndarray:
        """Return the tokens of consecutive whole sequences with enough tokens around them.

        They are (outcomes,) indices into ``position``, (tokens,), which begins at 0 in each.
        """
        lengths = sequence_lengths(position)
        last = np.repeat(lengths, lengths) - self.after
        return np.flatnonzero((position >= self.before) & (position < last))

    def layer_terms(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the terms with separate values in each layer, (terms, layers, outcomes).

        All terms of a row are NaN in a layer where a value that the row needs is NaN, and in a
        layer that lacks a preceding layer that it needs. ``values`` are (layers, tokens), NaN if
        undefined, and ``rows`` the indices of the outcomes.
        """
        layers = len(values)
        terms = np.empty((len(self.places), layers, len(rows)))
        for term, (back, offset) in zip(terms, self.places.values(), strict=True):
            tokens = rows + offset
            for layer in range(back, layers):
                values[layer - back].take(tokens, out=term[layer], mode="clip")
        terms[:, : self.above] = np.nan
        if np.isnan(values).any():
            terms[:, np.isnan(terms).any(axis=0)] = np.nan
        return terms

    def shared_values(self, keys: pa.Table) -> np.ndarray:
        """Return the values of each token for the terms that all layers share, (terms, tokens)."""
        values = [np.zeros((0, keys.num_rows))]
        for name, entry in self.covariates.items():
            assert entry.values is not None
            values.append(entry.values(keys, self.lookups.get(name)))
        return np.concatenate(values)

    def shared_terms(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the terms that all layers share of outcomes, (terms, outcomes)."""
        return np.take_along_axis(values, rows + self.offsets, axis=1)

    def complete(self, position: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return which tokens of consecutive whole sequences give a row of the design, as indices.

        ``position`` is (tokens,), and ``values`` are `shared_values`, (shared terms, tokens). The
        indices are (rows,). Further results are the `shared_terms` of the rows, (shared terms,
        rows), and the outcomes that are left out because they lack a covariate.
        """
        rows = self.outcomes(position)
        shared = self.shared_terms(values, rows)
        # The first token of a sequence has no previous token.
        shared[position[rows] + self.offsets < 0] = np.nan
        complete = ~np.isnan(shared).any(axis=0)
        return rows[complete], shared[:, complete], rows[~complete]


def sequence_lengths(position: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each of consecutive whole sequences, (sequences,) int.

    ``position`` is (tokens,) and begins at 0 in each.
    """
    return np.diff(np.flatnonzero(position == 0), append=len(position))


def layers_and_terms(design: pa.Schema) -> tuple[list[int], list[str]]:
    """Return the layers and the terms of a design: ``y`` first, shared terms last."""
    layers = set()
    # Terms in their order.
    own: dict[str, None] = {}
    shared = []
    for name in design.names:
        if name.startswith("layer_"):
            layer, term = name.split(".", 1)
            layers.add(layer_number(layer))
            own[term] = None
        elif name not in KEYS:
            shared.append(name)
    return sorted(layers), [*own, *shared]


def columns_of(names: Collection[str], unit: Unit, terms: Iterable[str]) -> list[str]:
    """Return the columns of the terms of a unit, given the names of a design's columns."""
    names = set(names)
    columns = []
    for term in terms:
        own = f"{unit.column}.{term}"
        columns.append(own if own in names else term)
    return columns


def values_of(batch: pa.RecordBatch, unit: Unit, terms: Sequence[str]) -> np.ndarray:
    """Return the terms of a unit of a design, (terms, rows), NaN for null."""
    names = columns_of(batch.schema.names, unit, terms)
    return np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in names])


def designs(
    batches: Iterable[pa.RecordBatch], formula: Formula, counts: Counts
) -> Iterator[pa.RecordBatch]:
    """Yield the design of batches of norms or of another outcome, each of whole documents.

    A zero or non-finite norm empties the cells of the rows that use it, in its layer and in the
    next layer if that uses it: they are null. ``counts`` is filled on the way.
    """
    return map(partial(_design_of, formula, counts), batches)


def _design_of(formula: Formula, counts: Counts, batch: pa.RecordBatch) -> pa.RecordBatch:
    layers = [name for name in batch.schema.names if name not in KEYS]
    keys = pa.Table.from_batches([batch.select(KEYS)])
    values = np.empty((len(layers), batch.num_rows))
    for index, layer in enumerate(layers):
        norms = batch[layer].to_numpy(zero_copy_only=False)
        values[index] = outcome_values(formula.outcome, norms)
        counts.add_norms(layer, norms, values[index], keys, formula.outcome)
    position = keys["position"].to_numpy()
    rows, shared, incomplete = formula.complete(position, formula.shared_values(keys))
    terms = formula.layer_terms(values, rows)
    counts.incomplete_rows += len(incomplete)
    counts.add_sequences(sequence_lengths(position), formula.before + 1 + formula.after)
    counts.add_dropped(layers[formula.above :], terms[0, formula.above :])

    columns = batch.select(KEYS).take(pa.array(rows)).columns
    for index in range(len(layers)):
        empty = np.isnan(terms[0, index])
        mask = empty if empty.any() else None
        columns += [pa.array(term[index], mask=mask) for term in terms]
    columns += map(pa.array, shared)
    return pa.record_batch(columns, schema=formula.schema(layers))


def design_writer(
    path: Path, schema: pa.Schema, record: dict[str, Any]
) -> AbstractContextManager[pq.ParquetWriter]:
    """Return a context with the writer of a design, given its provenance.

    Logs of norms, which are all different, stay uncompressed: compression would save a tenth of the
    space, and take four times as long to write and three times as long to read. Without room for
    the file, UserError is raised.
    """
    compressed = [name for name in schema.names if not name.startswith("layer_")]
    return tables.parquet_writer(
        path,
        schema,
        record,
        use_dictionary=compressed,
        compression=dict.fromkeys(schema.names, "none") | dict.fromkeys(compressed, "zstd"),
        write_statistics=False,
    )
