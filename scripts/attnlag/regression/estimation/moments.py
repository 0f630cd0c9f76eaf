"""Moments: sums of products by cluster and layer, which suffice for least squares.

For w = [1, y, regressors] minus a centre, the rows of a cluster have the moments S = Σ w w'. The
sum over all clusters gives a regression; sums that leave clusters out or weight them give its
clustered errors, jackknife, bootstrap and folds, without another pass over the rows. Whatever
changes the terms is a linear map of w: w P has the moments P'S P.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.columns import layer_name
from attnlag.regression.design import design
from attnlag.regression.settings import BuildDesignSettings
from attnlag.storage import tables

# Largest number of documents that are written at once, and of bytes that are written or read.
DOCUMENTS = 5000
BLOCK_BYTES = 24e6

# Moments that take less may be kept once they are read.
KEPT_BYTES = 32e6

# Smallest number of bins, whatever the budget: a jackknife or a bootstrap needs this many.
FEWEST_BINS = 100

NO_ROWS = pa.RecordBatch.from_pylist([])


@dataclass(frozen=True)
class Moments:
    """Moments of the clusters of one layer, in one or several cells."""

    layer: int
    # Elements of w after its leading 1: ``y``, then the regressors.
    terms: list[str]
    # Documents, groups of them or, beyond the memory budget, bins of them.
    clusters: list[str]
    # (p,) array: subtracted from each element of w; 0 for the leading 1.
    centre: np.ndarray
    # (cells, clusters, p, p) array. Cells are the halves of documents, or one for whole documents;
    # within each, classes of tokens if these are apart. For a regression of halves, a cell with the
    # sum of both comes first.
    s: np.ndarray
    # Number of documents with rows.
    documents: int
    # Whether the outcome is a logarithm.
    of_logs: bool = True
    # Number of layers before it in the design.
    above: int = 0
    # Number of halves: 1 for whole documents.
    halves: int = 1
    # Whether the clusters are groups of documents.
    grouped: bool = False
    # (p,) array or None: Σ w² before the means of documents were removed, if they were.
    squares: np.ndarray | None = None
    # If clusters are bins of documents, returns an iterator over the documents.
    blocks: Callable[[], Iterator["Moments"]] | None = None

    @property
    def p(self) -> int:
        return 1 + len(self.terms)

    @property
    def within(self) -> bool:
        """Whether the means of documents are removed."""
        return self.squares is not None

    @property
    def names(self) -> list[str]:
        """Terms of a regression: the constant first, unless document effects absorb it."""
        return self.terms[1:] if self.within else ["intercept", *self.terms[1:]]

    @property
    def count(self) -> int:
        """Number of clusters with rows: documents even if they share bins."""
        return int((self.s[0, :, 0, 0] > 0.5).sum()) if self.grouped else self.documents

    @property
    def bins(self) -> int | None:
        """Number of bins that documents share; None if each document is a cluster."""
        return None if self.blocks is None else len(self.clusters)

    @cached_property
    def total(self) -> np.ndarray:
        """Sums over the clusters, (cells, p, p)."""
        return self.s.sum(axis=1)

    def by_document(self) -> Iterator["Moments"]:
        """Iterate over moments with all documents, in blocks."""
        return iter([self]) if self.blocks is None else self.blocks()

    def changed(self, change: Callable[[np.ndarray], np.ndarray], **fields: Any) -> "Moments":
        """Return the moments with a linear change of ``s``, and with other fields."""
        blocks = self.blocks
        if blocks is not None:
            fields["blocks"] = lambda: (
                block.changed(change, **(fields | {"blocks": None})) for block in blocks()
            )
        return replace(self, s=change(self.s), **fields)

    def through(self, to: np.ndarray, terms: list[str]) -> "Moments":
        """Return the moments of w P for a map P, (p, new), whose first column is that of the 1."""
        if terms == self.terms:
            return self
        squares = None if self.squares is None else self.squares @ to
        fields = {"terms": terms, "centre": self.centre @ to, "squares": squares}
        return self.changed(lambda s: product(s, to), **fields)

    def recentred(self, centre: np.ndarray) -> "Moments":
        """Return the moments about another centre, exactly."""
        if np.array_equal(centre, self.centre):
            return self
        to = np.eye(self.p)
        to[0] -= centre - self.centre
        return self.changed(lambda s: product(s, to), centre=centre)

    def centred(self) -> "Moments":
        """Return the moments about the means over all rows."""
        sums = self.total.sum(axis=0)[0]
        mean = sums / max(sums[0], 1)
        mean[0] = 0
        return self.recentred(self.centre + mean)

    def whole(self) -> "Moments":
        """Return the moments of whole documents, whose halves are added up."""
        return self.changed(lambda s: s.sum(axis=0, keepdims=True), halves=1)

    def with_total(self) -> "Moments":
        """Return halves behind their sum."""
        if self.halves == 1:
            return self
        return self.changed(lambda s: np.concatenate([s.sum(axis=0, keepdims=True), s]))

    def demeaned(self) -> "Moments":
        """Remove the means of documents, in each cell; the number of rows stays."""
        sums = self.s[..., 0, :]
        s = self.s - sums[..., :, None] * (sums / np.maximum(sums[..., :1], 1))[..., None, :]
        s[..., 0, 0] = sums[..., 0]
        squares, blocks = np.diagonal(self.total[0]), self.blocks
        result = replace(self, s=s, squares=squares)
        if blocks is None:
            return result
        return _in_bins(lambda: (block.demeaned() for block in blocks()), len(s[0]), result)

    def by_group(self, group_of: Mapping[str, str]) -> "Moments":
        """Return the moments of groups of documents, in the order of the mapping."""
        groups = list(dict.fromkeys(group_of.values()))
        place = {group: index for index, group in enumerate(groups)}
        s = np.zeros((len(self.s), len(groups), self.p, self.p))
        for block in self.by_document():
            places = np.array([place[group_of[name]] for name in block.clusters], dtype=np.intp)
            np.add.at(s.swapaxes(0, 1), places, block.s.swapaxes(0, 1))
        return replace(self, clusters=groups, s=s, grouped=True, blocks=None)

    def only(self, documents: Collection[str]) -> "Moments":
        """Return the moments of some documents, in their order; few of them share no bins."""
        blocks, bins = self.blocks, self.bins
        if blocks is not None and bins is not None:
            if len(documents) <= bins:
                return joined([block.only(documents) for block in blocks()]).only(documents)
            return _in_bins(lambda: (block.only(documents) for block in blocks()), bins, self)
        place = {name: index for index, name in enumerate(self.clusters)}
        names = [name for name in documents if name in place]
        return _counted(self, names, self.s[:, [place[name] for name in names]])

    def regressed(self, *, effects: bool, group_of: Mapping[str, str] | None = None) -> "Moments":
        """Return the moments that a regression is solved from: centred, with document effects."""
        moments = self.centred().with_total()
        moments = moments.demeaned() if effects else moments
        return moments if group_of is None else moments.by_group(group_of)


def product(s: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return P'S P of symmetric matrices S, (…, p, p), for a map P, (p, new)."""
    p, new = to.shape
    half = (s.reshape(-1, p) @ to).reshape(-1, p, new)
    whole = np.swapaxes(half, 1, 2).reshape(-1, p) @ to
    return whole.reshape(*s.shape[:-2], new, new)


def _counted(moments: Moments, clusters: list[str], s: np.ndarray) -> Moments:
    """Return moments of other documents."""
    documents = int((s[..., 0, 0].sum(axis=0) > 0.5).sum())
    return replace(moments, clusters=clusters, s=s, documents=documents)


def joined(parts: Sequence[Moments]) -> Moments:
    """Return the moments of the clusters of several, about the centre of the largest."""
    if len(parts) == 1:
        return parts[0]
    # Those without rows have no means that could be their centre.
    largest = max(parts, key=lambda part: part.documents)
    clusters = [name for part in parts for name in part.clusters]
    s = np.concatenate([part.recentred(largest.centre).s for part in parts], axis=1)
    return _counted(largest, clusters, s)


def _in_bins(blocks: Callable[[], Iterator[Moments]], bins: int | None, like: Moments) -> Moments:
    """Return the moments of bins of documents: document i is in bin i modulo their number."""
    assert bins is not None
    s, begun, documents = np.zeros((len(like.s), bins, *like.s.shape[2:])), 0, 0
    for block in blocks():
        places = np.arange(begun, begun + len(block.clusters)) % bins
        np.add.at(s.swapaxes(0, 1), places, block.s.swapaxes(0, 1))
        begun, documents = begun + len(places), documents + block.documents
    names = [f"bin {place}" for place in range(bins)]
    return replace(like, clusters=names, s=s, documents=documents, blocks=blocks)


def full(packed: np.ndarray, p: int) -> np.ndarray:
    """Return symmetric matrices, (…, p, p), from their upper triangles, row by row."""
    upper = np.zeros((p, p), dtype=np.intp)
    upper[np.triu_indices(p)] = np.arange(p * (p + 1) // 2)
    return packed[..., np.maximum(upper, upper.T)]


# --- sums over a design --------------------------------------------------------------------

# Returns the class of each row of a design, NaN if it is in none.
ClassOf = Callable[[pa.RecordBatch], np.ndarray]


def rows_of_documents(batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    """Return the number of rows of each document of a design, in order."""
    counts: list[int] = []
    last = None
    for batch in batches:
        names, starts = tables.runs(batch)
        lengths = np.diff([*starts, batch.num_rows]).tolist()
        if names and names[0] == last:
            counts[-1] += lengths.pop(0)
        counts += lengths
        last = names[-1] if names else last
    return np.array(counts, dtype=np.int64)


def _centre_of(batch: pa.RecordBatch, schema: pa.Schema) -> np.ndarray:
    """Return the means of a batch: (layers, p), 0 for the leading 1.

    They are close enough to the overall means for the sums to stay precise, and are known before
    the rest is read.
    """
    layers, terms = design.layers_and_terms(schema)
    centre = np.zeros((len(layers), 1 + len(terms)))
    for place, layer in enumerate(layers if batch.num_rows else []):
        values = design.values_of(batch, layer, terms)
        valid = ~np.isnan(values[0])
        if valid.any():
            centre[place, 1:] = [row[valid].mean() for row in values]
    return centre


def _by_document(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    centre: np.ndarray,
    lengths: np.ndarray | None = None,
    classes: int = 1,
    class_of: ClassOf | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield documents with their packed moments, (documents, cells, layers, packed).

    The rows of a document are contiguous, and may span batches. The parameters are those of
    `write`.
    """
    layers, terms = design.layers_and_terms(schema)
    p = 1 + len(terms)
    shape = classes * (1 if lengths is None else 2), len(layers), p * (p + 1) // 2
    last: str | None = None
    open_sums = np.zeros(shape)
    passed = begun = 0  # rows of the last document that were read; documents that have begun
    for batch in batches:
        if not batch.num_rows:
            continue
        documents, starts = tables.runs(batch)
        goes_on = documents[0] == last
        begun -= goes_on
        first = starts.copy()
        first[0] -= passed if goes_on else 0
        of_row = np.repeat(np.arange(len(documents)), np.diff(starts, append=batch.num_rows))
        cell = np.zeros(batch.num_rows)
        if lengths is not None:
            # The first half takes the odd row.
            middle = (lengths[begun : begun + len(documents)] + 1) // 2
            cell[np.arange(batch.num_rows) >= (first + middle)[of_row]] = classes
        if class_of is not None:
            cell += class_of(batch)
        used = np.flatnonzero(~np.isnan(cell))
        cell = of_row[used] * shape[0] + cell[used].astype(np.int64)
        order = np.argsort(cell, kind="stable")
        cell, order = cell[order], used[order]
        sums = np.zeros((len(documents), *shape))
        if len(order):
            segments = np.flatnonzero(np.diff(cell, prepend=-1))
            at = np.divmod(cell[segments], shape[0])
            sums[at] = _segments(batch, layers, terms, centre, order, segments)
        if goes_on:
            sums[0] += open_sums
        elif last is not None:
            documents, sums = [last, *documents], np.concatenate([open_sums[None], sums])
        passed, begun = batch.num_rows - first[-1], begun + len(starts)
        last, open_sums = documents[-1], sums[-1]
        if len(documents) > 1:
            yield documents[:-1], sums[:-1]
    if last is not None:
        yield [last], open_sums[None]


def _segments(
    batch: pa.RecordBatch,
    layers: Sequence[int],
    terms: Sequence[str],
    centre: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """Return the packed moments of segments of rows in an order: (segments, layers, packed)."""
    p, in_order = 1 + len(terms), np.array_equal(order, np.arange(batch.num_rows))
    sums = np.zeros((len(layers), p * (p + 1) // 2, len(starts)))
    w = np.empty((p, len(order)))
    for layer, from_centre, of_layer in zip(layers, centre, sums, strict=True):
        values = design.values_of(batch, layer, terms)
        w[1:] = values if in_order else values[:, order]
        w[1:] -= from_centre[1:, None]
        # In a dropped row everything is zero, including the leading 1.
        valid = ~np.isnan(w[1])
        w[0], w[1:, ~valid] = valid, 0
        for place, (i, j) in enumerate(combinations_with_replacement(w, 2)):
            np.add.reduceat(i * j if place >= p else j, starts, out=of_layer[place])
    return sums.transpose(2, 0, 1)


def of_rows(
    rows: Sequence[pa.RecordBatch],
    schema: pa.Schema,
    halves: int = 1,
    classes: int = 1,
    class_of: ClassOf | None = None,
    **fields: Any,
) -> list[Moments]:
    """Return the moments of each layer of a design in memory; other fields are set as given."""
    layers, terms = design.layers_and_terms(schema)
    centre = _centre_of(rows[0] if rows else NO_ROWS, schema)
    lengths = rows_of_documents(rows) if halves == 2 else None
    blocks = list(_by_document(rows, schema, centre, lengths, classes, class_of))
    p = 1 + len(terms)
    none = np.zeros((0, halves * classes, len(layers), p * (p + 1) // 2))
    sums = np.concatenate([none, *(block for _, block in blocks)])
    names = [name for documents, _ in blocks for name in documents]
    return [
        _layer(layer, terms, own, names, sums[:, :, place], halves=halves, above=place, **fields)
        for place, (layer, own) in enumerate(zip(layers, centre, strict=True))
    ]


def _layer(
    layer: int,
    terms: list[str],
    centre: np.ndarray,
    names: list[str],
    packed: np.ndarray,
    **fields: Any,
) -> Moments:
    """Return the moments of a layer from packed ones, (clusters, cells, packed)."""
    s = full(np.ascontiguousarray(packed.swapaxes(0, 1)), 1 + len(terms))
    return _counted(Moments(layer, terms, names, centre, s, 0, **fields), names, s)


# --- files ---------------------------------------------------------------------------------


def of_norms(
    norms: Path,
    stream: Path | None,
    path: Path,
    made: Path,
    settings: BuildDesignSettings,
    facts: Mapping[str, Any],
) -> design.Counts:
    """Write the design of a file of norms and its moments, in one pass over the norms.

    Parameters
    ----------
    stream : Path or None
        As for `design.written`.
    path, made : Path
        The files of the design and of the moments.

    Returns
    -------
    counts : Counts
        What is in the design, and what it leaves out.
    """
    counts = design.Counts()
    layers = list(OUTCOMES[settings.design.outcome].columns(pq.read_schema(norms).names))
    schema = design.schema(layers, settings.design, facts)
    record = tables.provenance(tables.read_provenance(norms), "design", settings.design, "numpy")
    recorded = schema.with_metadata(tables.metadata(record))
    rows = design.written(norms, stream, path, recorded, settings.design, facts, counts)
    lengths = None
    if settings.halves:
        lengths = rows_of_documents(design.outcome_keys(norms, settings.design, facts))
    record = tables.provenance(record, "crossproducts", {"halves": settings.halves}, "numpy")
    write(tables.rebatched(rows, tables.ROWS_AT_ONCE), schema, made, record, lengths)
    return counts


def write(
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    record: dict[str, Any],
    lengths: np.ndarray | None = None,
    classes: int = 1,
    class_of: ClassOf | None = None,
) -> int:
    """Write the moments of a design, with a column per layer; return the number of documents.

    One batch of rows is in memory at a time.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch
        The design of a shard, in order.
    record : dict
        The provenance, to which the description of the numbers is added as ``crossproducts``.
    lengths : int array, optional
        Number of rows of each document; given to keep the two halves of a document apart.
    class_of : callable, optional
        Returns the class of each row, below ``classes``, to keep these apart.
    """
    layers, terms = design.layers_and_terms(schema)
    rows = iter(rows)
    first = next((batch for batch in rows if batch.num_rows), NO_ROWS)
    centre, halves = _centre_of(first, schema), 1 if lengths is None else 2
    facts = {"terms": terms, "layers": layers, "centre": centre.tolist()}
    facts |= {"halves": halves, "cells": halves * classes}
    p, count = 1 + len(terms), 0
    columns = file_schema(layers, p)
    of_document = 8 * facts["cells"] * len(layers) * p * (p + 1) // 2
    at_once = min(DOCUMENTS, int(BLOCK_BYTES // of_document))
    blocks = _by_document(chain([first], rows), schema, centre, lengths, classes, class_of)
    with tables.parquet_writer(
        path,
        columns.with_metadata(tables.metadata({**record, "crossproducts": facts})),
        **tables.encoding(columns),
    ) as writer:
        for names, sums in _gathered(blocks, at_once):
            writer.write_table(to_table(names, sums, columns))
            count += len(names)
    return count


def _gathered(
    blocks: Iterable[tuple[list[str], np.ndarray]], at_once: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield documents in blocks of a number or more; the last may be smaller."""
    names: list[str] = []
    sums: list[np.ndarray] = []
    for documents, block in blocks:
        names += documents
        sums.append(block)
        if len(names) >= at_once:
            yield names, np.concatenate(sums)
            names, sums = [], []
    if names:
        yield names, np.concatenate(sums)


def file_schema(layers: Sequence[int], p: int) -> pa.Schema:
    """Return the schema of a file of moments; ``n`` is the largest number of rows of a layer."""
    packed = pa.list_(pa.float64(), p * (p + 1) // 2)
    names = pa.field("document", pa.dictionary(pa.int32(), pa.string()))
    return pa.schema([names, ("n", pa.int64()), *((layer_name(n), packed) for n in layers)])


def to_table(names: Sequence[str], sums: np.ndarray, schema: pa.Schema) -> pa.Table:
    """Return (clusters, cells, layers, packed) moments with a row per cluster and cell."""
    clusters, cells, layers, packed = sums.shape
    codes = pa.array(np.repeat(np.arange(clusters, dtype=np.int32), cells))
    columns = [pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))]
    counts = np.rint(sums[..., 0].max(axis=2, initial=0)).astype(np.int64)
    columns.append(pa.array(counts.reshape(-1)))
    for layer in range(layers):
        own = pa.array(np.ascontiguousarray(sums[:, :, layer]).reshape(-1))
        columns.append(pa.FixedSizeListArray.from_arrays(own, packed))
    return pa.table(columns, schema=schema)


class Stored(Sequence[Moments]):
    """The layers of shards in files, each of which is read on use.

    Parameters
    ----------
    paths : sequence of Path
        Shards of one design, in order; a document is in only one of them.
    budget : float
        Bytes for the moments of all layers. If the documents need more, they share as many bins as
        fit. The bins do not depend on the shards.
    keep : bool
        Whether to keep what was read, if all layers take less than `KEPT_BYTES`.
    """

    def __init__(
        self, paths: Sequence[str | Path], budget: float = np.inf, *, keep: bool = False
    ) -> None:
        self.files = [(path, pq.read_metadata(path)) for path in paths]
        self.facts = [tables.read_provenance(path)["crossproducts"] for path in paths]
        made = tables.read_provenance(paths[0])
        self.of_logs = OUTCOMES[made.settings("design")["outcome"]].logarithm
        self.layers, self.terms = self.facts[0]["layers"], self.facts[0]["terms"]
        self.halves, self.cells = self.facts[0]["halves"], self.facts[0]["cells"]
        p, self.budget, self.keep = 1 + len(self.terms), budget, keep
        parts = self.cells + (self.halves == 2)
        self.kept: dict[int, Moments] = {}
        self.needed = len(self.layers) * parts * p * (p + 1) // 2 * 8

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        if index in self.kept:
            return self.kept[index]
        count = sum(metadata.num_rows for _, metadata in self.files) // self.cells
        if count * self.needed <= self.budget:
            of_files = (list(self._of(index, place)) for place in range(len(self.files)))
            moments = joined([joined(blocks) for blocks in of_files])
            if self.keep and count * self.needed <= KEPT_BYTES:
                self.kept[index] = moments
            return moments
        bins = min(count, max(FEWEST_BINS, int(self.budget // self.needed)))
        like = next(self._documents(index))
        return _in_bins(lambda: self._documents(index), bins, like)

    def _documents(self, index: int) -> Iterator[Moments]:
        largest = int(np.argmax([metadata.num_rows for _, metadata in self.files]))
        centre = np.array(self.facts[largest]["centre"])[index]
        for place in range(len(self.files)):
            yield from (block.recentred(centre) for block in self._of(index, place))

    def _of(self, index: int, place: int) -> Iterator[Moments]:
        """Yield the documents of a layer in one file, in blocks; none are a block too."""
        path, metadata = self.files[place]
        centre, layer = np.array(self.facts[place]["centre"])[index], self.layers[index]
        packed = (1 + len(self.terms)) * (2 + len(self.terms)) // 2
        fields = {"of_logs": self.of_logs, "halves": self.halves, "above": index}
        file = pq.ParquetFile(path, metadata=metadata, pre_buffer=False)
        rows = max(1, int(BLOCK_BYTES // (8 * self.cells * packed))) * self.cells
        columns = ["document", layer_name(layer)]
        none = np.zeros((0, self.cells, packed))
        if not metadata.num_rows:
            yield _layer(layer, self.terms, centre, [], none, **fields)
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            names = batch["document"].take(pa.array(np.arange(0, batch.num_rows, self.cells)))
            values = batch[layer_name(layer)].flatten().to_numpy()
            sums = values.reshape(len(names), self.cells, packed)
            yield _layer(layer, self.terms, centre, names.to_pylist(), sums, **fields)
