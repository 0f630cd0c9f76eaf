"""Design matrices: the outcome of each token and its regressors.

The regressors are the log norms of the same layer at preceding and following tokens, and the
covariates of ``covariates.CATALOGUE``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments.columns import KEY_FIELDS, KEYS, layers_in
from attnlag.adjustments.norms import in_batches, regressed
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.regression.covariates import (
    complete_tokens,
    layer_cells,
    shared_offsets,
    shared_terms,
    shared_values,
)
from attnlag.regression.settings import DesignSettings
from attnlag.regression.terms import Cell
from attnlag.storage import tables

# Rows of norms that are in memory at a time.
ROWS = 16_384


def _cells(lags: Sequence[int], leads: Sequence[int], covariates: Sequence[str]) -> dict[str, Cell]:
    return {
        "y": Cell(0, 0),
        **{f"lag_{lag}": Cell(0, -lag) for lag in lags},
        **{f"lead_{lead}": Cell(0, lead) for lead in leads},
        **layer_cells(covariates),
    }


def cells_of(settings: DesignSettings) -> dict[str, Cell]:
    """Return the terms that each layer has its own values of, in order, and where these are."""
    return _cells(settings.lags, settings.leads, settings.covariates)


def needed_cells(settings: DesignSettings) -> list[Cell]:
    """Return the values without which a layer drops a row, those of the common sample included."""
    needed = set(cells_of(settings).values())
    if sample := settings.sample:
        needed |= set(_cells(sample.lags, sample.leads, sample.covariates).values())
    return sorted(needed)


def tokens_before(settings: DesignSettings) -> int:
    """Return how many tokens an outcome needs before it, the dropped ones included."""
    return settings.drop_first + max(-cell.offset for cell in needed_cells(settings))


def tokens_after(settings: DesignSettings) -> int:
    """Return how many tokens an outcome needs after it."""
    return max(cell.offset for cell in needed_cells(settings))


def sequence_lengths(position: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each of consecutive whole sequences."""
    return np.diff(np.flatnonzero(position == 0), append=len(position))


def outcome_rows(position: np.ndarray, settings: DesignSettings) -> np.ndarray:
    """Return which tokens of consecutive whole sequences are outcomes and give a row.

    A token is an outcome if its sequence has ``drop_first`` tokens and as many as the furthest
    lag before it, and as many as the furthest lead after it.
    """
    lengths = sequence_lengths(position)
    last = np.repeat(lengths, lengths) - tokens_after(settings)
    return np.flatnonzero((position >= tokens_before(settings)) & (position < last))


def layer_terms(values: np.ndarray, rows: np.ndarray, settings: DesignSettings) -> np.ndarray:
    """Return the terms of which each layer has its own values.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms of consecutive whole sequences; NaN where there is none.
    rows : (outcomes,) int array
        The outcomes' places among the tokens, from ``outcome_rows``.
    settings : DesignSettings

    Returns
    -------
    terms : (terms, layers, outcomes) float64 array
        In the order of ``cells_of``, y first. All terms are NaN where one of the values that the
        row needs in that layer is NaN, and in all rows of a layer without the layer before it that
        a term needs.
    """
    layers = len(values)
    cells = cells_of(settings)
    terms = np.empty((len(cells), layers, len(rows)))
    for term, (back, offset) in zip(terms, cells.values(), strict=True):
        places = rows + offset
        for layer in range(back, layers):
            values[layer - back].take(places, out=term[layer], mode="clip")
    unusable = np.isnan(values)
    if unusable.any():
        dropped = np.zeros((layers, len(rows)), bool)
        for back, offset in needed_cells(settings):
            # The first layer has no layer before it that could lack a value.
            dropped[back:] |= unusable[: layers - back, rows + offset]
        terms[:, dropped] = np.nan
    terms[:, : max(cell.layers_before for cell in cells.values())] = np.nan
    return terms


@dataclass(frozen=True)
class Terms:
    """The rows of a design as arrays.

    Attributes
    ----------
    keys : pyarrow.Table
        What is known of each outcome.
    layers : (terms, layers, outcomes) float64 array
        As ``layer_terms`` gives them.
    shared : (shared terms, outcomes) float64 array
        As ``shared_values`` gives them.
    incomplete : int
        Outcomes that are left out for want of a covariate.
    """

    keys: pa.Table
    layers: np.ndarray
    shared: np.ndarray
    incomplete: int = 0


def terms_of(
    values: np.ndarray, keys: pa.Table, settings: DesignSettings, facts: Mapping[str, Any]
) -> Terms:
    """Return the design of consecutive whole sequences.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms, NaN where there is none.
    keys : pyarrow.Table
        The keys of each token.
    settings : DesignSettings
    facts : mapping
        From ``covariates.read_facts``.
    """
    position = keys["position"].to_numpy()
    rows = outcome_rows(position, settings)
    shared = shared_values(keys, settings, facts)
    offsets = shared_offsets(settings, facts)
    complete = complete_tokens(keys, settings, facts)[rows]
    of_rows = np.empty((len(shared), len(rows)))
    for row, column, offset in zip(of_rows, shared, offsets, strict=True):
        column.take(rows + offset, out=row, mode="clip")
        # The first token of a sequence has none before it.
        row[position[rows] + offset < 0] = np.nan
    complete &= ~np.isnan(of_rows).any(axis=0)
    rows, of_rows = rows[complete], of_rows[:, complete]
    return Terms(
        keys.take(rows),
        layer_terms(values, rows, settings),
        of_rows,
        int(np.count_nonzero(~complete)),
    )


def schema(layers: Sequence[str], settings: DesignSettings, facts: Mapping[str, Any]) -> pa.Schema:
    """Return the schema of a design: the keys, then the terms layer by layer, then the shared."""
    names = [f"{layer}.{term}" for layer in layers for term in cells_of(settings)]
    names += shared_terms(settings, facts)
    return pa.schema([*KEY_FIELDS, *((name, pa.float64()) for name in names)])


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Return how a design's columns are encoded: what repeats is packed, logs of norms are not.

    No two logs are alike: trying to pack them takes four times as long as writing them does,
    and the next stage three times as long to read, for a file that is smaller by a tenth.
    """
    packed = [name for name in schema.names if not name.startswith("layer_")]
    return {
        "use_dictionary": packed,
        "compression": {name: "zstd" if name in packed else "none" for name in schema.names},
        "write_statistics": False,
    }


@dataclass
class Counts:
    """What a design left out, and why.

    Attributes
    ----------
    sequences, short_sequences : int
        Sequences seen, and those too short to give a row.
    longest_sequence, fewest_tokens : int
        Tokens of the longest sequence, and of the shortest that gives a row.
    zero_norms, nonfinite_norms : dict of str to int
        Norms without a logarithm, per layer; only layers that have any.
    incomplete_rows : int
        Rows that were left out in all layers for want of a covariate.
    dropped_rows : dict of str to int
        Rows that such a norm took from a layer, as outcome or as a predictor. The first layer
        does not count as dropped where it has no row for want of a layer before.
    first_unusable : dict of str to str
        The first such norm of a layer and its place, in words.
    """

    sequences: int = 0
    short_sequences: int = 0
    longest_sequence: int = 0
    fewest_tokens: int = 0
    incomplete_rows: int = 0
    zero_norms: dict[str, int] = field(default_factory=dict)
    nonfinite_norms: dict[str, int] = field(default_factory=dict)
    dropped_rows: dict[str, int] = field(default_factory=dict)
    first_unusable: dict[str, str] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """Return what is counted, without what is said in words."""
        counts = asdict(self)
        del counts["first_unusable"]
        return counts


def _add(counts: dict[str, int], layers: Sequence[str], numbers: np.ndarray) -> None:
    for layer, number in zip(layers, numbers.tolist(), strict=True):
        if number:
            counts[layer] = counts.get(layer, 0) + number


def whole_sequences(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the same rows, cut where a sequence begins; one that goes on waits for its end."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        starts = np.flatnonzero(batch.column("position").to_numpy() == 0)
        if waiting and len(starts):
            yield pa.Table.from_batches([*waiting, batch.slice(0, starts[0])])
            waiting = [batch.slice(starts[0])]
        else:
            waiting.append(batch)
    if waiting:
        yield pa.Table.from_batches(waiting)


def designs(
    batches: Iterable[pa.RecordBatch],
    settings: DesignSettings,
    counts: Counts,
    facts: Mapping[str, Any],
) -> Iterator[pa.Table]:
    """Yield the design of consecutive batches of norms, or of another outcome.

    A token gives a row where neither the outcome nor a predictor is one of the first
    ``drop_first`` of its sequence or lies outside it. A zero or non-finite norm empties the
    cells of its layer, and of the layer after where that one uses it, in the rows it touches. A
    token without a value of a covariate, as the surprisal of a text's first token, leaves its row
    out of all layers.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Norms in corpus order; a sequence may go on in the next batch.
    settings : DesignSettings
    counts : Counts
        Filled while the batches are read.
    facts : mapping
        From ``covariates.read_facts``.

    Yields
    ------
    design : pyarrow.Table
        ``schema``: natural logs of norms, null where the layer drops the row.
    """
    outcome = OUTCOMES[settings.outcome]
    without_layer_before = max(cell.layers_before for cell in cells_of(settings).values())
    for table in whole_sequences(batches):
        layers = layers_in(table.schema)
        # The batches bring dictionaries of their own; this makes them one.
        keys = table.select(KEYS).combine_chunks()
        values = np.empty((len(layers), table.num_rows))
        zero, nonfinite = np.zeros((2, len(layers)), np.int64)
        expected = keys["position"].to_numpy() >= outcome.first_position
        for index, layer in enumerate(layers):
            norms = table[layer].to_numpy()
            values[index] = regressed(outcome, norms)
            zero[index] = np.count_nonzero(norms == 0) if outcome.logarithm else 0
            # A first token has no token before that it could be compared with.
            nonfinite[index] = np.count_nonzero(~np.isfinite(norms[expected]))
            if zero[index] + nonfinite[index] and layer not in counts.first_unusable:
                row = int(np.argmax(np.isnan(values[index]) & expected))
                counts.first_unusable[layer] = (
                    f"{norms[row]:g} in the document '{keys['document'][row]}', position "
                    f"{keys['position'][row]}"
                )
        terms = terms_of(values, keys, settings, facts)

        lengths = sequence_lengths(keys["position"].to_numpy())
        least = tokens_before(settings) + 1 + tokens_after(settings)
        counts.sequences += len(lengths)
        counts.short_sequences += int((lengths < least).sum())
        counts.longest_sequence = max(counts.longest_sequence, int(lengths.max()))
        counts.fewest_tokens = least
        counts.incomplete_rows += terms.incomplete
        _add(counts.zero_norms, layers, zero)
        _add(counts.nonfinite_norms, layers, nonfinite)
        dropped = np.isnan(terms.layers[0]).sum(axis=1)
        dropped[:without_layer_before] = 0
        _add(counts.dropped_rows, layers, dropped)

        columns = terms.keys.columns
        for index in range(len(layers)):
            empty = np.isnan(terms.layers[0, index])
            mask = empty if empty.any() else None
            columns += [pa.array(term[index], mask=mask) for term in terms.layers]
        columns += [pa.array(term) for term in terms.shared]
        yield pa.table(columns, schema=schema(layers, settings, facts))


def write(
    norms: Path,
    stream: Path | None,
    path: Path,
    settings: DesignSettings,
    facts: Mapping[str, Any],
) -> tuple[int, Counts]:
    """Write the design of a file of norms, and return its number of rows and what it left out.

    Parameters
    ----------
    norms : Path
        The norms, or what else is regressed.
    stream : Path or None
        Norms of the residual stream, for relative norms or a sample held in common with a
        regression of such.
    path : Path
        The file to write.
    settings : DesignSettings
    facts : mapping
        From ``covariates.read_facts``.
    """
    outcome = OUTCOMES[settings.outcome]
    columns = schema(list(outcome.columns(pq.read_schema(norms).names)), settings, facts)
    record = tables.read_provenance(norms)
    record = tables.provenance(record, "design", asdict(settings), "numpy")
    counts = Counts()
    rows = 0
    with tables.parquet_writer(
        path, columns.with_metadata(tables.metadata(record)), **parquet_options(columns)
    ) as writer:
        batches = in_batches(outcome, norms, stream, ROWS, "design")
        for table in designs(batches, settings, counts, facts):
            writer.write_table(table)
            rows += table.num_rows
        # What was left out is known only now, when the schema is written already.
        writer.add_key_value_metadata({tables.COUNTS_KEY: json.dumps(counts.numbers())})
    return rows, counts
