"""Cross-products per document and layer: all that least squares and its inference need.

For w = [1, y, lags] centred by c, a document g contributes S_g = Σ w w' over its rows. Sums of
S_g over documents give the pooled regression, leaving documents out or weighting them gives the
clustered, jackknife and cross-validated quantities, with no second look at the rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.tables import read_provenance


@dataclass
class Stack:
    """Cross-products of every layer and document.

    Attributes
    ----------
    terms : list of str
        What w holds after its leading 1: ``y``, then the regressors.
    layers : list of int
    documents : list of str
    products : (layers, documents, p, p) float64 array
        S_g, p = 1 + len(terms), of w centred by ``centre``.
    centre : (layers, p) float64 array
        What was subtracted from each element of w; 0 for the leading 1.
    """

    terms: list[str]
    layers: list[int]
    documents: list[str]
    products: np.ndarray
    centre: np.ndarray


def terms_of(design: pa.Schema) -> tuple[list[int], list[str]]:
    """Return the layers and the terms (``y`` first) that a design's columns hold."""
    columns = [name.split(".") for name in design.names if name.startswith("layer_")]
    layers = sorted({int(layer.removeprefix("layer_")) for layer, _ in columns})
    terms = list(dict.fromkeys(term for _, term in columns))
    return layers, terms


def _values(batch: pa.RecordBatch, layers: Sequence[int], term: str) -> np.ndarray:
    """Return one term of all layers as a (rows, layers) float64 array, NaN where dropped."""
    columns = [
        batch.column(f"layer_{layer:02d}.{term}").to_numpy(zero_copy_only=False) for layer in layers
    ]
    return np.column_stack(columns)


def accumulate(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Stack:
    """Sum the cross-products of a design, read once, batch by batch.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Consecutive rows of a design; those of one document stand together.
    schema : pyarrow.Schema
        The design's.

    Returns
    -------
    stack : Stack
        Centred by the means of the first batch: near enough to the overall means for the sums
        to keep their digits, and known before the rest is read.
    """
    layers, terms = terms_of(schema)
    p = 1 + len(terms)
    centre: np.ndarray | None = None
    documents: list[str] = []
    parts: list[np.ndarray] = []  # (documents of the batch, layers, packed) each
    for batch in batches:
        if not batch.num_rows:
            continue
        values = [_values(batch, layers, term) for term in terms]
        valid = ~np.isnan(values[0])
        if centre is None:
            counts = np.maximum(valid.sum(axis=0), 1)
            means = [np.where(valid, value, 0).sum(axis=0) / counts for value in values]
            centre = np.column_stack([np.zeros(len(layers)), *means])
        # A dropped row is a row of zeros, its leading 1 included.
        w = [valid.astype(np.float64)]
        w += [
            np.where(valid, value - centre[:, index + 1], 0) for index, value in enumerate(values)
        ]
        names = batch.column("document")
        codes = names.indices.to_numpy()
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        sums = np.stack(
            [
                np.add.reduceat(w[i] * w[j], starts, axis=0)
                for i, j in combinations_with_replacement(range(p), 2)
            ],
            axis=-1,
        )
        found = [names.dictionary[code].as_py() for code in codes[starts]]
        if documents and documents[-1] == found[0]:
            parts[-1][-1] += sums[0]
            found, sums = found[1:], sums[1:]
        documents += found
        if len(sums):
            parts.append(sums)
    if centre is None:
        return Stack(
            terms, layers, [], np.zeros((len(layers), 0, p, p)), np.zeros((len(layers), p))
        )
    packed = np.concatenate(parts).transpose(1, 0, 2)
    return Stack(terms, layers, documents, unpacked(packed, p), centre)


def unpacked(packed: np.ndarray, p: int) -> np.ndarray:
    """Return symmetric (…, p, p) matrices from their upper triangles, row by row, (…, packed)."""
    products = np.empty((*packed.shape[:-1], p, p))
    rows, columns = np.triu_indices(p)
    products[..., rows, columns] = packed
    products[..., columns, rows] = packed
    return products


def recentred(products: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move cross-products to another centre, exactly: S becomes T S T'.

    Parameters
    ----------
    products : (layers, documents, p, p) array
    shift : (layers, p) array
        New centre minus old centre; 0 for the leading 1.

    Returns
    -------
    products : (layers, documents, p, p) array
    """
    p = products.shape[-1]
    transform = np.broadcast_to(np.eye(p), (len(shift), p, p)).copy()
    transform[:, 1:, 0] = -shift[:, 1:]
    return transform[:, None] @ products @ transform.transpose(0, 2, 1)[:, None]


def merged(stacks: Sequence[Stack]) -> Stack:
    """Return the stack of all documents, centred by the overall means of each layer.

    Parameters
    ----------
    stacks : sequence of Stack
        Of one design, in the order of its shards; a document is in one of them only.
    """
    sums = np.stack([stack.products[:, :, 0, :].sum(axis=1) for stack in stacks])
    n = sums[:, :, :1]
    totals = (sums + n * np.stack([stack.centre for stack in stacks])).sum(axis=0)
    centre = totals / np.maximum(n.sum(axis=0), 1)
    centre[:, 0] = 0
    moved = [recentred(stack.products, centre - stack.centre) for stack in stacks]
    documents = [document for stack in stacks for document in stack.documents]
    first = stacks[0]
    return Stack(first.terms, first.layers, documents, np.concatenate(moved, axis=1), centre)


def to_table(stack: Stack) -> pa.Table:
    """Return a stack as a table: layer, document, n, and the packed upper triangle of S_g."""
    layers, documents, p, _ = stack.products.shape
    rows, columns = np.triu_indices(p)
    packed = np.ascontiguousarray(stack.products[..., rows, columns])
    counts = np.rint(stack.products[..., 0, 0]).astype(np.int64)
    return pa.table(
        {
            "layer": pa.array(np.repeat(np.array(stack.layers, np.int32), documents)),
            "document": pa.array(stack.documents * layers, pa.string()).dictionary_encode(),
            "n": pa.array(counts.reshape(-1)),
            "products": pa.FixedSizeListArray.from_arrays(
                pa.array(packed.reshape(-1)), packed.shape[-1]
            ),
        }
    )


def centre_record(stack: Stack) -> dict[str, object]:
    """Return what a file's provenance needs besides the table: the terms and the centre."""
    return {"terms": stack.terms, "layers": stack.layers, "centre": stack.centre.tolist()}


def read_stack(path: str | Path) -> Stack:
    """Read one shard's cross-products."""
    record = read_provenance(path)["crossproducts"]
    table = pq.read_table(path)
    terms, layers = record["terms"], record["layers"]
    documents = table["document"].to_pylist()[: table.num_rows // len(layers)]
    p = 1 + len(terms)
    packed = table["products"].combine_chunks().flatten().to_numpy()
    packed = packed.reshape(len(layers), len(documents), p * (p + 1) // 2)
    return Stack(terms, layers, documents, unpacked(packed, p), np.array(record["centre"]))
