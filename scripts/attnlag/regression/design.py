"""Design matrices: the log norm of each token beside what may predict it.

The values of one layer at the tokens before and after, those of the layer before, and
covariates of the token itself: where it stands, how frequent it is, which group it is from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from attnlag.adjustments.columns import KEY_FIELDS, KEYS, layers_in
from attnlag.adjustments.norms import log_norms
from attnlag.regression.covariates import CorpusFacts, shared_names, shared_terms
from attnlag.regression.specification import Specification


def sequence_lengths(position: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each of consecutive whole sequences."""
    return np.diff(np.flatnonzero(position == 0), append=len(position))


def outcome_rows(position: np.ndarray, specification: Specification) -> np.ndarray:
    """Return which tokens of consecutive whole sequences are outcomes: give a row.

    A token is one where its sequence has ``drop_first`` tokens, and then as many as the
    furthest lag, before it, and as many as the furthest lead after it.
    """
    lengths = sequence_lengths(position)
    first = specification.drop_first + specification.before
    last = np.repeat(lengths, lengths) - specification.after
    return np.flatnonzero((position >= first) & (position < last))


def layer_terms(values: np.ndarray, rows: np.ndarray, specification: Specification) -> np.ndarray:
    """Return the terms of which each layer has its own values.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms of consecutive whole sequences; NaN where there is none.
    rows : (outcomes,) int array
        The outcomes' places among the tokens, from ``outcome_rows``.
    specification : Specification

    Returns
    -------
    terms : (terms, layers, outcomes) float64 array
        Of ``specification.cells``, y first. All terms are NaN where one of the values that the
        row needs in that layer is, and throughout the first layer if a term is of the layer
        before.
    """
    layers = len(values)
    cells = specification.cells
    terms = np.empty((len(cells), layers, len(rows)))
    for term, (back, offset) in zip(terms, cells.values(), strict=True):
        places = rows + offset
        for layer in range(back, layers):
            values[layer - back].take(places, out=term[layer], mode="clip")
    unusable = np.isnan(values)
    if unusable.any():
        dropped = np.zeros((layers, len(rows)), bool)
        for back, offset in specification.needed:
            # The first layer has no layer before it that could lack a value.
            dropped[back:] |= unusable[: layers - back, rows + offset]
        terms[:, dropped] = np.nan
    if "previous_layer" in specification.covariates:
        terms[:, 0] = np.nan
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
        As ``shared_terms`` gives them.
    """

    keys: pa.Table
    layers: np.ndarray
    shared: np.ndarray


def terms_of(
    values: np.ndarray, keys: pa.Table, specification: Specification, facts: CorpusFacts
) -> Terms:
    """Return the design of consecutive whole sequences.

    Parameters
    ----------
    values : (layers, tokens) float64 array
        Log norms, NaN where there is none.
    keys : pyarrow.Table
        The keys of each token.
    specification : Specification
    facts : CorpusFacts
    """
    rows = outcome_rows(keys["position"].to_numpy(), specification)
    keys = keys.take(rows)
    return Terms(
        keys,
        layer_terms(values, rows, specification),
        shared_terms(keys, specification, facts),
    )


def schema(
    layers: Sequence[str], specification: Specification, groups: Sequence[str] = ()
) -> pa.Schema:
    """Return the schema of a design: the keys, then the terms layer by layer, then the shared."""
    names = [f"{layer}.{term}" for layer in layers for term in specification.cells]
    names += shared_names(specification, groups)
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
    specification: Specification,
    counts: Counts,
    facts: CorpusFacts | None = None,
) -> Iterator[pa.Table]:
    """Yield the design of consecutive batches of norms.

    A token gives a row where neither the outcome nor a predictor is one of the first
    ``drop_first`` of its sequence or lies outside it. A zero or non-finite norm empties the
    cells of its layer, and of the layer after where that one uses it, in the rows it touches.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Norms in corpus order; a sequence may go on in the next batch.
    specification : Specification
    counts : Counts
        Filled while the batches are read.
    facts : CorpusFacts, optional
        Needed for the covariates ``log_frequency`` and ``group``.

    Yields
    ------
    design : pyarrow.Table
        ``schema``: natural logs of norms, null where the layer drops the row.
    """
    facts = facts or CorpusFacts()
    previous_layer = "previous_layer" in specification.covariates
    for table in whole_sequences(batches):
        layers = layers_in(table.schema)
        # The batches bring dictionaries of their own; this makes them one.
        keys = table.select(KEYS).combine_chunks()
        values = np.empty((len(layers), table.num_rows))
        zero, nonfinite = np.zeros((2, len(layers)), np.int64)
        for index, layer in enumerate(layers):
            norms = table[layer].to_numpy()
            values[index] = log_norms(norms)
            zero[index] = np.count_nonzero(norms == 0)
            nonfinite[index] = np.count_nonzero(~np.isfinite(norms))
            if zero[index] + nonfinite[index] and layer not in counts.first_unusable:
                row = int(np.argmax(np.isnan(values[index])))
                counts.first_unusable[layer] = (
                    f"{norms[row]:g} in the document '{keys['document'][row]}', position "
                    f"{keys['position'][row]}"
                )
        terms = terms_of(values, keys, specification, facts)

        lengths = sequence_lengths(keys["position"].to_numpy())
        least = specification.drop_first + specification.before + specification.after + 1
        counts.sequences += len(lengths)
        counts.short_sequences += int((lengths < least).sum())
        counts.longest_sequence = max(counts.longest_sequence, int(lengths.max(initial=0)))
        counts.fewest_tokens = least
        _add(counts.zero_norms, layers, zero)
        _add(counts.nonfinite_norms, layers, nonfinite)
        dropped = np.isnan(terms.layers[0]).sum(axis=1)
        if previous_layer:
            dropped[0] = 0
        _add(counts.dropped_rows, layers, dropped)

        columns = terms.keys.columns
        for index in range(len(layers)):
            empty = np.isnan(terms.layers[0, index])
            mask = empty if empty.any() else None
            columns += [pa.array(term[index], mask=mask) for term in terms.layers]
        columns += [pa.array(term) for term in terms.shared]
        yield pa.table(columns, schema=schema(layers, specification, facts.groups))
