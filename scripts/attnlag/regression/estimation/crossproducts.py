"""Cross-products per document and layer, which suffice for least squares and its inference.

For w = [1, y, regressors] centred by c, a document g contributes S_g = Σ w w' over its rows. The
sum of S_g over all documents gives the pooled regression; sums that leave documents out or weight
them give the clustered, jackknife and cross-validated quantities without another pass over the
rows. S_g is symmetric and is stored as its upper triangle, row by row, so that element 0 is the
number of rows and the first p elements are the sums of w.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.columns import KEYS, layer_name, layer_number
from attnlag.regression.design import design
from attnlag.regression.design.design import Counts
from attnlag.regression.estimation.packed import demeaned, packed_size
from attnlag.regression.settings import BuildDesignSettings
from attnlag.regression.terms import class_of
from attnlag.storage import tables
from attnlag.storage.sums import Sums

# Largest number of documents that are read and written at once, and of their bytes.
DOCUMENTS = 250
BLOCK_BYTES = 24e6

TOTALS_KEY = b"attnlag.totals"

NO_ROWS = pa.RecordBatch.from_pylist([])


def layers_and_terms(design: pa.Schema) -> tuple[list[int], list[str]]:
    """Return the layers and the terms of a design: ``y`` first, shared terms last."""
    columns = [name.split(".", 1) for name in design.names if name.startswith("layer_")]
    layers = sorted({layer_number(layer) for layer, _ in columns})
    shared = [n for n in design.names if n not in KEYS and not n.startswith("layer_")]
    return layers, [*dict.fromkeys(term for _, term in columns), *shared]


def columns_of(names: Collection[str], layer: int, terms: Iterable[str]) -> list[str]:
    """Return the columns of the terms of a layer, given the names of a design's columns."""
    names = set(names)
    return [name if (name := f"{layer_name(layer)}.{term}") in names else term for term in terms]


def values_of(batch: pa.RecordBatch, layer: int, terms: Sequence[str]) -> np.ndarray:
    """Return the terms of a layer of a design, (terms, rows), NaN for null."""
    names = columns_of(batch.schema.names, layer, terms)
    return np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in names])


@dataclass
class DocumentProducts:
    """Cross-products of consecutive documents, in all layers."""

    documents: list[str]
    # (documents, halves, layers, packed) float64 array: ``halves`` is 2 if the halves of documents
    # are kept separate, otherwise 1.
    products: np.ndarray


def rows_of_documents(batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    """Return the number of rows of each document of a design, in order."""
    counts: list[int] = []
    last = None
    for batch in batches:
        names, starts = runs(batch)
        lengths = np.diff([*starts, batch.num_rows]).tolist()
        if names and names[0] == last:
            counts[-1] += lengths.pop(0)
        counts += lengths
        last = names[-1] if names else last
    return np.array(counts, dtype=np.int64)


def runs(batch: pa.RecordBatch) -> tuple[list[str], np.ndarray]:
    """Return the documents of a batch, in order, and the first row of each."""
    column = batch.column("document")
    codes = column.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return [column.dictionary[code].as_py() for code in codes[starts]], starts


def centre_of(batch: pa.RecordBatch, schema: pa.Schema) -> np.ndarray:
    """Return the means of a batch: (layers, p), 0 for the leading 1.

    They are close enough to the overall means for the sums to stay precise, and are known before
    the rest is read.
    """
    layers, terms = layers_and_terms(schema)
    centre = np.zeros((len(layers), 1 + len(terms)))
    for place, layer in enumerate(layers if batch.num_rows else []):
        values = values_of(batch, layer, terms)
        valid = ~np.isnan(values[0])
        if valid.any():
            centre[place, 1:] = [
                # Terms of classes are not centred, so that their zeros stay zeros.
                0 if class_of(term) else row[valid].mean()
                for term, row in zip(terms, values, strict=True)
            ]
    return centre


def products_by_document(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    centre: np.ndarray,
    rows: np.ndarray | None = None,
) -> Iterator[DocumentProducts]:
    """Sum the cross-products of a design in a single pass; yield the documents of each batch.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Consecutive rows of a design; the rows of a document are contiguous.
    centre : (layers, p) array
        Subtracted from each element of w.
    rows : int array, optional
        Number of rows of each document; given to keep the two halves of a document separate. The
        first half takes the odd row.
    """
    layers, terms = layers_and_terms(schema)
    halves = 1 if rows is None else 2
    open_document: str | None = None
    open_products = np.zeros((halves, len(layers), packed_size(1 + len(terms))))
    passed = 0  # rows of the open document that have been read
    begun = 0  # documents that have begun, the open one included
    for batch in batches:
        if not batch.num_rows:
            continue
        documents, starts = runs(batch)
        goes_on = documents[0] == open_document
        begun -= goes_on
        first = starts.copy()
        first[0] -= passed if goes_on else 0
        of_row = np.repeat(np.arange(len(documents)), np.diff(starts, append=batch.num_rows))
        half = np.zeros(batch.num_rows, dtype=np.int64)
        if rows is not None:
            middle = (rows[begun : begun + len(documents)] + 1) // 2
            half[np.arange(batch.num_rows) >= (first + middle)[of_row]] = 1
        segments = np.flatnonzero(np.diff(2 * of_row + half, prepend=-1))
        products = np.zeros((len(documents), *open_products.shape))
        products[of_row[segments], half[segments]] = _sums(batch, layers, terms, centre, segments)
        if goes_on:
            products[0] += open_products
        elif open_document is not None:
            documents = [open_document, *documents]
            products = np.concatenate([open_products[None], products])
        passed = batch.num_rows - first[-1]
        begun += len(starts)
        open_document, open_products = documents[-1], products[-1]
        if len(documents) > 1:
            yield DocumentProducts(documents[:-1], products[:-1])
    if open_document is not None:
        yield DocumentProducts([open_document], open_products[None])


def _gathered(blocks: Iterable[DocumentProducts]) -> Iterator[DocumentProducts]:
    """Yield the documents in blocks of `documents_at_once` or more; the last may be smaller."""
    names: list[str] = []
    products: list[np.ndarray] = []
    for block in blocks:
        names += block.documents
        products.append(block.products)
        if len(names) >= documents_at_once(block.products[0].size):
            yield DocumentProducts(names, np.concatenate(products))
            names, products = [], []
    if names:
        yield DocumentProducts(names, np.concatenate(products))


def documents_at_once(numbers: int) -> int:
    """Return the number of documents to handle at once, given the amount of numbers of each."""
    return int(np.clip(BLOCK_BYTES // (8 * numbers), 1, DOCUMENTS))


def _sums(
    batch: pa.RecordBatch,
    layers: Sequence[int],
    terms: Sequence[str],
    centre: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """Return the packed cross-products of segments of a batch: (segments, layers, packed)."""
    count = len(terms)
    classes = [class_of(term) for term in terms]
    sums = np.zeros((len(layers), packed_size(1 + count), len(starts)))
    for layer, from_centre, of_layer in zip(layers, centre, sums, strict=True):
        w = values_of(batch, layer, terms) - from_centre[1:, None]
        # In a dropped row everything is zero, including the leading 1.
        valid = ~np.isnan(w[0])
        w[:, ~valid] = 0
        np.add.reduceat(valid, starts, dtype=np.float64, out=of_layer[0])
        for place in range(count):
            np.add.reduceat(w[place], starts, out=of_layer[1 + place])
        pairs = combinations_with_replacement(range(count), 2)
        for place, (i, j) in enumerate(pairs, start=1 + count):
            # No token belongs to two classes.
            if classes[i] and classes[j] and classes[i] != classes[j]:
                continue
            np.add.reduceat(w[i] * w[j], starts, out=of_layer[place])
    return sums.transpose(2, 0, 1)


def schema_of(packed: int, halves: int) -> pa.Schema:
    """Return the schema of a file of cross-products."""
    half = [pa.field("half", pa.int8())] if halves == 2 else []
    return pa.schema(
        [
            pa.field("document", pa.dictionary(pa.int32(), pa.string())),
            pa.field("layer", pa.int32()),
            *half,
            pa.field("n", pa.int64()),
            pa.field("products", pa.list_(pa.float64(), packed)),
        ]
    )


def to_table(block: DocumentProducts, layers: Sequence[int]) -> pa.Table:
    """Return a block as a table with a row per document, half (if kept separate) and layer."""
    documents, halves, _, packed = block.products.shape
    names = pa.array(np.repeat(np.arange(documents, dtype=np.int32), halves * len(layers)))
    columns = {
        "document": pa.DictionaryArray.from_arrays(names, pa.array(block.documents, pa.string())),
        "layer": pa.array(np.tile(np.array(layers, np.int32), documents * halves)),
        "n": pa.array(np.rint(block.products[..., 0]).astype(np.int64).reshape(-1)),
        "products": pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(block.products).reshape(-1)), packed
        ),
    }
    if halves == 2:
        half = np.tile(np.repeat(np.array([0, 1], np.int8), len(layers)), documents)
        columns["half"] = pa.array(half)
    schema = schema_of(packed, halves)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def write(
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    record: dict[str, Any],
    rows_of_document: np.ndarray | None = None,
) -> "Totals":
    """Write the cross-products of a design with their sums, block by block; return the sums.

    One batch of rows is in memory at a time.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch
        The design of a shard, in order.
    record : dict
        The provenance, to which the description of the numbers is added as ``crossproducts``.
    rows_of_document : int array, optional
        Number of rows of each document; given to keep the two halves of a document separate.
    """
    layers, terms = layers_and_terms(schema)
    halves, packed = 1 if rows_of_document is None else 2, packed_size(1 + len(terms))
    rows = iter(rows)
    first = next((batch for batch in rows if batch.num_rows), NO_ROWS)
    centre = centre_of(first, schema)
    facts = {"terms": terms, "layers": layers, "halves": halves, "centre": centre.tolist()}
    columns = schema_of(packed, halves)
    totals = totals_of([], halves, len(layers), packed)
    blocks = products_by_document(chain([first], rows), schema, centre, rows_of_document)
    with tables.parquet_writer(
        path,
        columns.with_metadata(tables.metadata({**record, "crossproducts": facts})),
        **tables.encoding(columns),
    ) as writer:
        for block in _gathered(blocks):
            writer.write_table(to_table(block, layers))
            totals += Totals.of(block.products)
        # The sums over documents are known only after the schema is written.
        writer.add_key_value_metadata({TOTALS_KEY: totals.to_json()})
    return totals


def of_norms(
    norms: Path,
    stream: Path | None,
    path: Path,
    made: Path,
    settings: BuildDesignSettings,
    facts: Mapping[str, Any],
) -> Counts:
    """Write the design of a file of norms and its cross-products, in one pass over the norms.

    Parameters
    ----------
    stream : Path or None
        As for `design.written`.
    path, made : Path
        The files of the design and of the cross-products.

    Returns
    -------
    counts : Counts
        What is in the design, and what it leaves out.
    """
    counts = Counts()
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


@dataclass
class Shard:
    """The cross-products of one shard, read from disk on each use."""

    # Elements of w after its leading 1: ``y``, then the regressors.
    terms: list[str]
    layers: list[int]
    # 1, or 2 if the halves of documents are kept separate.
    halves: int
    # (layers, p) array
    centre: np.ndarray
    totals: "Totals"
    # Returns an iterator over the documents of the shard, in blocks.
    batches: Callable[[], Iterator[DocumentProducts]]
    # The columns of the design that each merged term is the sum of (`merging`).
    merged: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Whether the outcome is a logarithm.
    of_logs: bool = True

    def mapped(self, change: Callable[[np.ndarray], np.ndarray], **changes: Any) -> "Shard":
        """Return the shard with the products of each document changed."""

        def batches() -> Iterator[DocumentProducts]:
            for block in self.batches():
                yield DocumentProducts(block.documents, change(block.products))

        return replace(self, batches=batches, **changes)


@dataclass
class Totals(Sums):
    """Sums over the documents of a shard, with the centre of the shard."""

    # Number of documents, including those without rows.
    clusters: int
    # (layers,) int array: number of documents with rows.
    documents: np.ndarray
    # (parts, layers, packed) array: Σ S_g over all rows and, if halves are kept separate, over the
    # first and second halves.
    pooled: np.ndarray
    # (parts, layers, packed) array: the same with the means of each document removed, separately in
    # each of its halves.
    within: np.ndarray

    @classmethod
    def of(cls, products: np.ndarray) -> "Totals":
        """Return the sums over (documents, halves, layers, packed) cross-products."""
        parts = parts_of(products)
        within = demeaned(parts, int(np.sqrt(2 * products.shape[-1]))).sum(axis=0)
        documents = (parts[:, 0, :, 0] > 0).sum(axis=0)
        return cls(len(products), documents, parts.sum(axis=0), within)

    def to_json(self) -> str:
        return json.dumps({name: np.asarray(value).tolist() for name, value in vars(self).items()})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Totals":
        facts = json.loads(text)
        clusters = facts.pop("clusters")
        return cls(clusters, **{name: np.array(value) for name, value in facts.items()})


def totals_of(blocks: Iterable[DocumentProducts], halves: int, layers: int, packed: int) -> Totals:
    """Return the sums over all documents of some blocks."""
    none = Totals.of(np.zeros((0, halves, layers, packed)))
    return sum((Totals.of(block.products) for block in blocks), none)


def shard_of_rows(
    rows: Sequence[pa.RecordBatch], schema: pa.Schema, halves: int, **facts: Any
) -> Shard:
    """Return the cross-products of rows that are in memory; other facts become fields."""
    layers, terms = layers_and_terms(schema)
    centre = centre_of(rows[0] if rows else NO_ROWS, schema)
    lengths = rows_of_documents(rows) if halves == 2 else None
    blocks = list(products_by_document(rows, schema, centre, lengths))
    totals = totals_of(blocks, halves, len(layers), packed_size(1 + len(terms)))
    return Shard(terms, layers, halves, centre, totals, lambda: iter(blocks), **facts)


def read_shard(path: str | Path) -> Shard:
    """Return one shard's cross-products; its documents are read only on use."""
    made = tables.read_provenance(path)
    record = made["crossproducts"]
    outcome = OUTCOMES[made.settings("design")["outcome"]]
    terms, layers, halves = record["terms"], record["layers"], record["halves"]
    rows = len(layers) * halves

    def blocks() -> Iterator[DocumentProducts]:
        file = pq.ParquetFile(path, pre_buffer=False)
        at_once = documents_at_once(rows * packed_size(1 + len(terms)))
        for batch in file.iter_batches(at_once * rows, columns=["document", "products"]):
            names = batch.column("document").take(pa.array(np.arange(0, batch.num_rows, rows)))
            packed = batch.column("products").flatten().to_numpy()
            shape = (len(names), halves, len(layers), packed_size(1 + len(terms)))
            yield DocumentProducts(names.to_pylist(), packed.reshape(shape))
            pa.default_memory_pool().release_unused()

    totals = Totals.from_json(pq.read_metadata(path).metadata[TOTALS_KEY])
    return Shard(
        terms,
        layers,
        halves,
        np.array(record["centre"]),
        totals,
        blocks,
        of_logs=outcome.logarithm,
    )


def without_halves(shard: Shard) -> Shard:
    """Return the shard with the two halves of each document added up."""
    if shard.halves == 1:
        return shard
    totals = shard.totals
    totals = replace(totals, pooled=totals.pooled[:1], within=totals.within[:1])
    return shard.mapped(
        lambda products: products.sum(axis=1, keepdims=True), halves=1, totals=totals
    )


def of_documents(shard: Shard, documents: Collection[str]) -> Shard:
    """Return the shard with only some of its documents."""

    def batches() -> Iterator[DocumentProducts]:
        for block in shard.batches():
            places = [p for p, document in enumerate(block.documents) if document in documents]
            if places:
                names = [block.documents[place] for place in places]
                yield DocumentProducts(names, block.products[places])

    totals = totals_of(batches(), shard.halves, *shard.totals.pooled.shape[1:])
    return replace(shard, totals=totals, batches=batches)


def parts_of(products: np.ndarray) -> np.ndarray:
    """Return the sums over all rows, then the halves if they are kept separate, along axis 1."""
    if products.shape[1] == 1:
        return products
    return np.concatenate([products.sum(axis=1, keepdims=True), products], axis=1)
