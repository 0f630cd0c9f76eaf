"""Moments of a design: summed in one pass over its rows, written to a file, and read by layer."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations_with_replacement, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.columns import layer_name
from attnlag.quantities.outcomes import in_batches
from attnlag.regression.design import design
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation.moments import Moments, joined, unpacked, with_clusters
from attnlag.regression.units import Unit
from attnlag.storage import tables

# Largest number of documents that are written at once, and of bytes that are written or read.
DOCUMENTS = 5000
BLOCK_BYTES = 24e6

# Moments that take less may be kept once they are read.
KEPT_BYTES = 32e6

# Documents, and their packed moments, (documents, cells, layers, packed).
Block = tuple[list[str], np.ndarray]


@dataclass(frozen=True)
class RowPartition:
    """The cells into which the rows of a document fall: halves, classes of tokens, or both."""

    halves: bool = False
    classes: int = 1
    # Returns the class of each row of a design, NaN if it is in none.
    class_of_row: Callable[[pa.RecordBatch], np.ndarray] | None = None

    @property
    def cells(self) -> int:
        """Number of cells of a document."""
        return 2 * self.classes if self.halves else self.classes

    def cell_of_row(self, batch: pa.RecordBatch, sizes: np.ndarray) -> np.ndarray:
        """Return the cell of each row of a batch, (rows,); NaN if it is in no class.

        The batch has whole documents, whose numbers of rows are ``sizes``.
        """
        cell = np.zeros(len(batch))
        if self.class_of_row is not None:
            cell = self.class_of_row(batch)
        if not self.halves:
            return cell
        # The first half takes the odd row.
        sizes_of_halves = np.stack([(sizes + 1) // 2, sizes // 2], axis=1).ravel()
        half = np.repeat(np.arange(2 * len(sizes)) % 2, sizes_of_halves)
        return cell + self.classes * half


def sum_products(
    rows: Iterable[pa.RecordBatch],
    units: Sequence[Unit],
    terms: Sequence[str],
    partition: RowPartition,
) -> tuple[np.ndarray, Iterator[Block]]:
    """Return a centre, (units, p), and an iterator over the moments of documents about it.

    The rows are in batches of whole documents. The centre has the means of the first batch, and 0
    for the leading 1. These are close enough to the overall means for the sums to stay precise, and
    are known before the rest is read.
    """
    batches = filter(len, rows)
    first = list(islice(batches, 1))
    centre = np.zeros((len(units), 1 + len(terms)))
    for batch in first:
        for place, unit in enumerate(units):
            values = design.values_of(batch, unit, terms)
            values = values[:, ~np.isnan(values[0])]
            if values.size:
                centre[place, 1:] = values.mean(axis=1)
    sum_batch = partial(_sum_batch, units=units, terms=terms, centre=centre, partition=partition)
    # A generator, or the list itself, would hold a batch while the next is made.
    return centre, map(sum_batch, chain(iter(first), batches))


def _sum_batch(
    batch: pa.RecordBatch,
    units: Sequence[Unit],
    terms: Sequence[str],
    centre: np.ndarray,
    partition: RowPartition,
) -> Block:
    """Return the moments of whole documents."""
    documents, starts = tables.runs(batch)
    sizes = np.diff(starts, append=len(batch))
    document = np.repeat(np.arange(len(documents)), sizes)
    # (rows,): the cell of each row among those of all documents; NaN, without a class, comes last.
    cell = partition.cells * document + partition.cell_of_row(batch, sizes)
    order = np.argsort(cell, kind="stable")[: np.count_nonzero(~np.isnan(cell))]
    cell = cell[order].astype(np.int64)
    # The first row of each cell that has rows.
    segments = np.flatnonzero(np.diff(cell, prepend=-1))
    p = 1 + len(terms)
    sums = np.zeros((len(units), p * (p + 1) // 2, len(documents) * partition.cells))
    w = np.empty((p, len(order)))
    for unit, unit_centre, unit_sums in zip(units, centre, sums, strict=True):
        design.values_of(batch, unit, terms).take(order, axis=1, out=w[1:], mode="clip")
        w[1:] -= unit_centre[1:, None]
        # In a dropped row everything is zero, including the leading 1.
        valid = ~np.isnan(w[1])
        w[0] = valid
        w[1:, ~valid] = 0
        for place, (i, j) in enumerate(combinations_with_replacement(w, 2)):
            # The first p pairs have the leading 1, or 0 in a row where j is 0.
            product = i * j if place >= p else j
            unit_sums[place, cell[segments]] = np.add.reduceat(product, segments)
    by_cell = sums.transpose(2, 0, 1).reshape(len(documents), partition.cells, *sums.shape[:2])
    return documents, by_cell


def _gathered(blocks: Iterable[Block], at_once: float = np.inf) -> Iterator[Block]:
    """Yield documents in blocks of a number or more; the last may be smaller."""
    names: list[str] = []
    sums: list[np.ndarray] = []
    for documents, block in blocks:
        names += documents
        sums.append(block)
        if len(names) >= at_once:
            yield names, np.concatenate(sums)
            names = []
            sums = []
    if names:
        yield names, np.concatenate(sums)


def moments_of_design(
    rows: Iterable[pa.RecordBatch], schema: pa.Schema, partition: RowPartition, **fields: Any
) -> list[Moments]:
    """Return the moments of each layer of a design in memory.

    ``fields`` are further ones of `Moments`, equal in all layers.
    """
    layers, terms = design.layers_and_terms(schema)
    return _moments_of_units(rows, list(map(Unit, layers)), terms, partition, **fields)


def moments_of_numbers(
    batches: Iterable[pa.RecordBatch],
    formula: Formula,
    units: Sequence[Unit],
    halves: bool = False,
    precision: str = "bfloat16",
) -> list[Moments]:
    """Return the moments of each unit of the design of batches of norms or other numbers.

    The batches have whole documents: the keys, then a column for each unit.
    """
    rows = design.designs(batches, formula, design.Counts())
    return _moments_of_units(
        rows,
        units,
        [*formula.places, *formula.shared],
        RowPartition(halves),
        outcome_is_logarithm=formula.outcome.logarithm,
        precision=precision,
    )


def _moments_of_units(
    rows: Iterable[pa.RecordBatch],
    units: Sequence[Unit],
    terms: list[str],
    partition: RowPartition,
    **fields: Any,
) -> list[Moments]:
    centre, blocks = sum_products(rows, units, terms, partition)
    packed = centre.shape[1] * (1 + centre.shape[1]) // 2
    none: Block = [], np.zeros((0, partition.cells, len(units), packed))
    names, sums = next(_gathered(blocks), none)
    moments = []
    for place, unit in enumerate(units):
        unit_sums = sums[:, :, place]
        moments.append(
            _moments_of_unit(unit, terms, centre[place], names, unit_sums, above=place, **fields)
        )
    return moments


def _moments_of_unit(
    unit: Unit,
    terms: list[str],
    centre: np.ndarray,
    names: list[str],
    packed: np.ndarray,
    **fields: Any,
) -> Moments:
    """Return the moments of a unit from packed ones, (clusters, cells, packed)."""
    s = unpacked(np.ascontiguousarray(packed.swapaxes(0, 1)), 1 + len(terms))
    moments = Moments(unit.layer, terms, names, centre, s, 0, part=unit.part, **fields)
    return with_clusters(moments, names, s)


def write_design(
    norms: Path, stream: Path | None, path: Path, made: Path, formula: Formula, *, halves: bool
) -> design.Counts:
    """Write the design of a file of norms and its moments, in one pass; return its counts.

    The files are written to ``path`` and ``made``. ``stream`` has the norms of the residual stream,
    for relative norms, and ``halves`` keeps the two halves of a document apart.

    Logs of norms, which are all different, stay uncompressed: compression would save a tenth of the
    space, and take four times as long to write and three times as long to read.
    """
    counts = design.Counts()
    schema = formula.schema(list(formula.outcome.columns(pq.read_schema(norms).names)))
    record = tables.provenance(tables.read_provenance(norms), "design", formula.settings, "numpy")
    packed = [name for name in schema.names if not name.startswith("layer_")]
    with tables.parquet_writer(
        path,
        schema,
        record,
        use_dictionary=packed,
        compression=dict.fromkeys(schema.names, "none") | dict.fromkeys(packed, "zstd"),
        write_statistics=False,
    ) as writer:
        # The rows are written as the sums below ask for them.
        def written_on_the_way(rows: pa.RecordBatch) -> pa.RecordBatch:
            writer.write_batch(rows)
            return rows

        batches = in_batches(formula.outcome, norms, stream, tables.ROWS_AT_ONCE, "design")
        rows = map(written_on_the_way, design.designs(batches, formula, counts))
        record = tables.provenance(record, "crossproducts", {"halves": halves}, "numpy")
        write(rows, schema, made, record, RowPartition(halves))
        # The counts are known only after all rows are written.
        writer.add_key_value_metadata(counts.metadata())
    return counts


def write(
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    record: dict[str, Any],
    partition: RowPartition,
) -> int:
    """Write the moments of a design, with a column per layer; return the number of documents.

    The documents of one batch of rows are in memory at a time. The description of the numbers is
    added to the record as ``crossproducts``.
    """
    layers, terms = design.layers_and_terms(schema)
    p = 1 + len(terms)
    documents = 0
    shape = (partition.cells, len(layers), p * (p + 1) // 2)
    columns = _table([], np.zeros((0, *shape)), layers).schema
    at_once = min(DOCUMENTS, BLOCK_BYTES // (8 * np.prod(shape)))
    centre, blocks = sum_products(rows, list(map(Unit, layers)), terms, partition)
    facts = {
        "terms": terms,
        "layers": layers,
        "centre": centre.tolist(),
        "halves": 1 + partition.halves,
        "cells": partition.cells,
    }
    with tables.parquet_writer(
        path,
        columns,
        {**record, "crossproducts": facts},
        # For fast reading; a dictionary of distinct numbers is as large as the numbers.
        compression="lz4",
        use_dictionary=["document"],
        use_byte_stream_split=[f"{layer_name(layer)}.list.element" for layer in layers],
    ) as writer:
        for names, sums in _gathered(blocks, at_once):
            writer.write_table(_table(names, sums, layers))
            documents += len(names)
    return documents


def _table(names: Sequence[str], sums: np.ndarray, layers: Sequence[int]) -> pa.Table:
    """Return packed moments with a row per document and cell.

    ``n`` is the largest number of rows of a layer.
    """
    documents, cells, _, packed = sums.shape
    codes = pa.array(np.repeat(np.arange(documents, dtype=np.int32), cells))
    counts = np.rint(sums[..., 0].max(axis=2, initial=0)).astype(np.int64)
    columns = {
        "document": pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string())),
        "n": pa.array(counts.reshape(-1)),
    }
    for place, layer in enumerate(layers):
        own = pa.array(np.ascontiguousarray(sums[:, :, place]).reshape(-1))
        columns[layer_name(layer)] = pa.FixedSizeListArray.from_arrays(own, packed)
    return pa.table(columns)


class Stored(Sequence[Moments]):
    """The layers of a design, in order, each of which is read on use from the files of all shards.

    A document is in one shard. Each iteration reads all files again, unless ``keep`` has kept the
    layers that were read, which it does if all take less than `KEPT_BYTES`.
    """

    def __init__(self, paths: Sequence[str | Path], *, keep: bool = False) -> None:
        self.files = []
        self.facts = []
        rows = 0
        for path in paths:
            metadata = pq.read_metadata(path)
            rows += metadata.num_rows
            self.files.append((path, metadata))
            self.facts.append(tables.read_provenance(path)["crossproducts"])
        self.record = tables.read_provenance(paths[0])
        self.outcome_is_logarithm = OUTCOMES[self.record.settings("design")["outcome"]].logarithm
        self.layers = self.facts[0]["layers"]
        self.terms = self.facts[0]["terms"]
        self.cells = self.facts[0]["cells"]
        p = 1 + len(self.terms)
        self.packed = p * (p + 1) // 2
        self.documents = rows // self.cells
        # A regression of halves has their sum too.
        cells = self.cells + (self.facts[0]["halves"] == 2)
        needed = self.documents * len(self.layers) * cells * self.packed * 8
        self.keep = keep and needed <= KEPT_BYTES
        self._cache: dict[int, Moments] = {}

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        if index in self._cache:
            return self._cache[index]
        moments = joined(list(self._documents(index)))
        if self.keep:
            self._cache[index] = moments
        return moments

    def __iter__(self) -> Iterator[Moments]:
        for index in range(len(self)):
            yield self[index]

    def _documents(self, index: int) -> Iterator[Moments]:
        """Yield the documents of a layer, in blocks about one centre; without any, an empty one."""
        unit = Unit(self.layers[index])
        fields = {
            "outcome_is_logarithm": self.outcome_is_logarithm,
            "above": index,
            "precision": self.record.precision,
        }
        largest = int(np.argmax([metadata.num_rows for _, metadata in self.files]))
        centres = [np.array(facts["centre"])[index] for facts in self.facts]
        rows = max(1, int(BLOCK_BYTES // (8 * self.cells * self.packed))) * self.cells
        if not self.documents:
            none = np.zeros((0, self.cells, self.packed))
            yield _moments_of_unit(unit, self.terms, centres[largest], [], none, **fields)
        for (path, metadata), centre in zip(self.files, centres, strict=True):
            file = pq.ParquetFile(path, metadata=metadata, pre_buffer=False)
            columns = ["document", unit.column]
            for batch in file.iter_batches(rows, columns=columns, use_threads=False):
                names = batch["document"].take(pa.array(np.arange(0, len(batch), self.cells)))
                sums = batch[unit.column].flatten().to_numpy()
                sums = sums.reshape(len(names), self.cells, self.packed)
                block = _moments_of_unit(
                    unit, self.terms, centre, names.to_pylist(), sums, **fields
                )
                yield block.recentred(centres[largest])
